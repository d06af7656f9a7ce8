use std::os::unix::fs::PermissionsExt as _;

use harness::{Ssh, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use crate::lodger::{Lodger, on_terminal};
use crate::station::me;

fn sessions(lodger: &Lodger, query: &str) -> Vec<Value> {
    let path = format!("/v1/admin/sessions-log?{query}");
    let list = lodger.call(Method::GET, &path, &Value::Null);
    list["sessions"].as_array().unwrap().clone()
}

/// Stock ssh to the device's own sshd, by `ssh -J`.
fn jump(lodger: &Lodger) -> Ssh {
    let station = &lodger.station;
    let known_hosts = station.folder().join("both");
    let lines = format!(
        "{}{} {}\n",
        station.server.known_hosts(),
        "noted",
        station.device.sshd().host_key()
    );
    std::fs::write(&known_hosts, lines).unwrap();
    let gateway = Ssh::new(
        station.server.host(),
        station.server.ssh_port(),
        harness::ADMIN_USER,
        &known_hosts,
    )
    .key(&station.key);
    let command = format!("{} -W %h:%p {}", gateway.as_text(), gateway.target());
    Ssh::new("noted", 22, &me(), &known_hosts)
        .key(&station.key)
        .option(&format!("ProxyCommand={command}"))
        .option("HostKeyAlias=noted")
}

#[test]
fn what_operators_do_is_noted_and_recorded() {
    let lodger = Lodger::with_device("noted");
    lodger.station.device.sshd().authorize(&lodger.station.key);

    // Every way in is in the log.
    assert_eq!(
        lodger.station.by_name("noted").run("echo by name").ok(),
        "by name\n"
    );
    assert_eq!(lodger.by_password().run("echo by proxy").ok(), "by proxy\n");
    assert_eq!(jump(&lodger).run("echo by jump").ok(), "by jump\n");
    eventually("three sessions are noted with their ends", || {
        let noted = sessions(&lodger, "");
        noted.len() == 3 && noted.iter().all(|session| session["ending"] == "closed")
    });
    let noted = sessions(&lodger, "");
    let ways: Vec<&str> = noted
        .iter()
        .map(|session| session["way_in"].as_str().unwrap())
        .collect();
    assert_eq!(ways, ["jump", "proxy", "gateway"], "newest first");
    assert_eq!(noted[1]["username"], lodger.username.as_str());
    assert_eq!(noted[1]["host_id"], lodger.host_id.as_str());
    assert_eq!(noted[2]["username"], harness::ADMIN_USER);
    for session in &noted {
        assert_eq!(session["target"], "noted");
        assert_eq!(session["peer"], "127.0.0.1");
        assert_eq!(session["recorded"], false);
        assert!(session["sent_bytes"].as_u64().unwrap() >= 8, "{session}");
    }
    assert_eq!(
        sessions(&lodger, &format!("user_id={}", lodger.user_id)).len(),
        1
    );
    assert_eq!(sessions(&lodger, "device=noted&limit=2").len(), 2);
    assert_eq!(sessions(&lodger, "device=other").len(), 0);

    // Recording is demanded: it is done, and there is no way around it.
    let demand = json!({"recording_required": true});
    lodger.call(Method::PATCH, "/v1/admin/devices/noted", &demand);
    let around = jump(&lodger).run("true");
    assert_ne!(around.code, 0, "{around:?}");
    lodger.call(
        Method::PATCH,
        &lodger.host_path(),
        &json!({"direct_tcpip_allowed": true}),
    );
    let ssh = lodger.by_password();
    let mut forward = ssh.program("ssh");
    let port = lodger.station.device.sshd().port();
    forward.args(["-W", &format!("127.0.0.1:{port}"), ssh.target()]);
    let forward = harness::run_with_input(&mut forward, b"");
    assert!(!forward.stdout.contains("SSH-2.0"), "{forward:?}");

    let shell = lodger.station.by_name("noted").command(&["-tt"]);
    let words: Vec<String> = std::iter::once(shell.get_program())
        .chain(shell.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let done = on_terminal(
        &words.join(" "),
        &[
            ("[$#] $", "stty -echo; echo shown: $((40 + 2))\n"),
            ("shown: 42[\\s\\S]*[$#] $", "read hidden\n"),
            ("", "typed and not shown\n"),
            ("[$#] $", "exit 0\n"),
        ],
    );
    assert!(done.stdout.contains("shown: 42"), "{done:?}");
    let recorded = || {
        let found = sessions(&lodger, "").into_iter().next().unwrap();
        (found["recorded"] == true && found["ending"] == "closed").then_some(found)
    };
    eventually("the session is recorded", || recorded().is_some());
    let session = recorded().unwrap();
    let id = session["id"].as_str().unwrap();
    let file = lodger
        .station
        .server
        .data()
        .join("recordings")
        .join(format!("{id}.cast"));
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let path = format!("/v1/admin/sessions-log/{id}/recording");
    let cast = lodger.station.operator.send(Method::GET, &path, None);
    assert_eq!(cast.status, 200, "{}", cast.text);
    assert_eq!(cast.text, std::fs::read_to_string(&file).unwrap());
    let mut lines = cast.text.lines();
    let head: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(head["version"], 2);
    let shown: String = lines
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event[1] == "o")
        .map(|event| event[2].as_str().unwrap().to_owned())
        .collect();
    assert!(shown.contains("shown: 42"), "{shown}");
    assert!(!shown.contains("typed and not shown"), "{shown}");
    let read = lodger.call(
        Method::GET,
        "/v1/admin/events?type=session.recording.read",
        &Value::Null,
    );
    assert_eq!(read["total"], 1);

    the_operators_program_shows_it(&lodger, id);
}

fn the_operators_program_shows_it(lodger: &Lodger, session: &str) {
    let home = lodger.station.folder().join("home");
    std::fs::create_dir(&home).unwrap();
    let command = |arguments: &[&str]| {
        let mut command = std::process::Command::new(harness::binary("moorline"));
        command
            .args(arguments)
            .env("HOME", &home)
            .env("XDG_CONFIG_HOME", home.join("config"));
        command
    };
    let url = lodger.station.server.url();
    let login = [
        "login",
        &url,
        "--username",
        harness::ADMIN_USER,
        "--password-stdin",
    ];
    let password = format!("{}\n", harness::ADMIN_PASSWORD);
    harness::run_with_input(&mut command(&login), password.as_bytes()).ok();
    let run = |arguments: &[&str]| harness::run(&mut command(arguments)).ok();
    let list: Value = serde_json::from_str(&run(&["session", "list", "--json"])).unwrap();
    assert_eq!(list["sessions"][0]["id"], session);
    assert!(run(&["session", "list", "--device", "noted"]).contains("proxy"));
    let shown = run(&["session", "replay", session, "--raw"]);
    assert!(shown.starts_with("{\"version\":2") && shown.contains("shown: 42"));
    run(&[
        "device", "policy", "noted", "--record", "off", "--jump", "off",
    ]);
    let sheet = run(&["device", "show", "noted"]);
    assert!(
        sheet.contains("not recorded, no direct connections"),
        "{sheet}"
    );

    let hosts = run(&["host", "list"]);
    assert!(
        hosts.contains(&lodger.short_id) && hosts.contains("running"),
        "{hosts}"
    );
    assert!(run(&["host", "show", &lodger.short_id]).contains("ssh "));
    run(&["host", "stop", &lodger.short_id]);
    lodger.wait_status("stopped");
    assert!(run(&["task", "list"]).contains("stop_host"));
    assert_eq!(
        run(&["host", "rotate-password", &lodger.short_id])
            .trim()
            .len(),
        8
    );
    run(&["host", "rm", "--yes", &lodger.short_id]);
    let made = [
        "host",
        "create",
        "--user",
        &lodger.username,
        "--device",
        "noted",
        "--json",
    ];
    let made: Value = serde_json::from_str(&run(&made)).unwrap();
    assert_eq!(made["host"]["kind"], "device");
}
