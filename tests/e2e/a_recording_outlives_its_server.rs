use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use harness::{
    ADMIN_PASSWORD, ADMIN_USER, Api, Disk, Running, Ssh, binary, eventually, run, run_with_input,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::lodger::{on_terminal, terminal};
use crate::station::Station;

const DEMAND: &str = "recording_required";

fn demand(station: &Station, device: &str) {
    let path = format!("/v1/admin/devices/{device}");
    let set = station
        .operator
        .send(Method::PATCH, &path, Some(&json!({ DEMAND: true })));
    assert_eq!(set.status, 200, "{}", set.text);
}

fn latest(station: &Station) -> Value {
    let path = "/v1/admin/sessions-log?limit=1";
    let answer = station.operator.send(Method::GET, path, None);
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["sessions"][0].clone()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// `ssh` as a line for a shell.
fn line_of(ssh: &Ssh, arguments: &[&str]) -> String {
    let command = ssh.command(arguments);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    words.join(" ")
}

/// Events of a recording that is asciicast v2: seconds, kind, text.
fn events(cast: &str, columns: u64, rows: u64) -> Vec<(f64, String, String)> {
    let mut lines = cast.lines();
    let head: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(head["version"], 2, "{head}");
    assert_eq!(
        (&head["width"], &head["height"]),
        (&json!(columns), &json!(rows))
    );
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let began = head["timestamp"].as_u64().unwrap();
    assert!((now - 600..=now).contains(&began), "{head}");
    let events: Vec<(f64, String, String)> = lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    assert!(events.is_sorted_by(|one, next| one.0 <= next.0));
    for (_, kind, text) in &events {
        assert!(["o", "r", "m"].contains(&kind.as_str()), "{kind} {text}");
    }
    events
}

#[test]
fn what_was_recorded_outlives_a_killed_server() {
    let mut station = Station::with_device("taped");
    demand(&station, "taped");
    let here = station.folder().to_path_buf();
    let go = here.join("go");
    // The window gets another size in mid-session, when the session says so.
    let ssh = line_of(&station.by_name("taped"), &["-tt"]);
    let line = format!(
        "stty cols 90 rows 30; mkfifo {go}; (read word < {go}; stty cols 120 rows 50 < /dev/tty) & {ssh}; true",
        go = go.display()
    );
    let typed = format!(
        "echo go > {}; until [ \"$(stty size)\" = '50 120' ]; do :; done; echo seen: $((40 + 2)); touch {}; read stay\n",
        go.display(),
        here.join("seen").display()
    );
    let command = terminal(&line, &[("[$#] $", &typed)]);
    let session = Running::start("terminal", &command, &here.join("terminal.log")).with_children();
    eventually("the session is under way", || here.join("seen").exists());
    let id = latest(&station)["id"].as_str().unwrap().to_owned();
    let folder = station.server.data().join("recordings");
    let file = folder.join(format!("{id}.cast"));
    eventually("what was shown is in the file", || {
        let cast = std::fs::read_to_string(&file).unwrap_or_default();
        cast.contains("seen: 42")
    });
    assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    let path = format!("/v1/admin/sessions-log/{id}/recording");
    // It can be looked at while it goes on.
    assert_eq!(station.operator.send(Method::GET, &path, None).status, 200);

    station.server.kill();
    station.server.launch();
    drop(session);
    let noted = latest(&station);
    assert_eq!(
        (&noted["id"], &noted["recorded"]),
        (&json!(id), &json!(true))
    );
    assert_eq!(noted["ending"], "node lost");
    let cast = station.operator.send(Method::GET, &path, None);
    assert_eq!(cast.status, 200, "{}", cast.text);
    let events = events(&cast.text, 90, 30);
    let shown: String = events
        .iter()
        .filter(|(_, kind, _)| kind == "o")
        .map(|(_, _, text)| text.as_str())
        .collect();
    assert!(shown.contains("seen: 42"), "{shown}");
    let resized = events
        .iter()
        .position(|(_, kind, text)| kind == "r" && text == "120x50");
    assert!(resized.is_some(), "{events:?}");

    strangers_get_nothing(&station, &id);
    the_operators_program_plays_it(&station, &id);
}

/// Neither a plain user, nor an administrator of another account, nor who is not logged in.
fn strangers_get_nothing(station: &Station, id: &str) {
    let token_of = |name: &str, password: &str| -> String {
        let body = json!({"username": name, "password": password});
        let url = format!("{}/v1/auth/login", station.server.url());
        let answer = Api::client().post(url).json(&body).send().unwrap();
        let answer: Value = answer.json().unwrap();
        answer["token"].as_str().unwrap().to_owned()
    };
    let password = "a good password";
    let user = json!({"username": "udo", "password": password});
    let made = station
        .operator
        .send(Method::POST, "/v1/admin/users", Some(&user));
    assert_eq!(made.status, 201, "{}", made.text);
    station
        .server
        .admin(&["account", "create", "strangers"])
        .ok();
    let arguments = [
        "admin",
        "user",
        "create",
        "--username",
        "stranger",
        "--role",
        "admin",
        "--account",
        "strangers",
        "--password-stdin",
    ];
    let mut command = Command::new(binary("moorline-server"));
    command
        .args(arguments)
        .arg("--data-dir")
        .arg(station.server.data());
    run_with_input(&mut command, format!("{password}\n").as_bytes()).ok();
    let user = token_of("udo", password);
    let stranger = token_of("stranger", password);
    for rest in ["", "/recording"] {
        let url = format!("{}/v1/admin/sessions-log/{id}{rest}", station.server.url());
        for (token, status) in [(Some(&user), 403), (Some(&stranger), 404), (None, 401)] {
            let mut request = Api::client().get(&url);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let answer = request.send().unwrap();
            assert_eq!(answer.status().as_u16(), status, "{url}");
            assert!(!answer.text().unwrap().contains("seen"));
        }
    }
}

fn the_operators_program_plays_it(station: &Station, id: &str) {
    let home = station.folder().join("home");
    std::fs::create_dir(&home).unwrap();
    let moorline = |arguments: &[&str]| {
        let mut command = Command::new(binary("moorline"));
        command
            .args(arguments)
            .env("HOME", &home)
            .env("XDG_CONFIG_HOME", home.join("config"))
            .current_dir(&home);
        command
    };
    let url = station.server.url();
    let login = ["login", &url, "--username", ADMIN_USER, "--password-stdin"];
    let password = format!("{ADMIN_PASSWORD}\n");
    run_with_input(&mut moorline(&login), password.as_bytes()).ok();
    let line = |rest: &str| {
        let program = binary("moorline");
        format!(
            "HOME='{0}' XDG_CONFIG_HOME='{0}/config' '{1}' session replay {id} {rest}",
            home.display(),
            program.display()
        )
    };

    // On a terminal it is played, and Ctrl-C stops it in the longest pause.
    let played = on_terminal(&line("--speed 50 --idle-limit 0.1"), &[("seen: 42", "")]);
    assert_eq!(played.code, 0, "{played:?}");
    assert!(played.stdout.contains("seen: 42"), "{played:?}");
    let stopped = on_terminal(&line("--speed 0.05 --idle-limit 60"), &[("[$#] ", "\u{3}")]);
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert!(stopped.stdout.contains("stopped"), "{stopped:?}");

    // Into a pipe it goes only as it is.
    let piped = run(&mut moorline(&["session", "replay", id]));
    assert_eq!((piped.code, piped.stdout.as_str()), (2, ""), "{piped:?}");
    assert!(piped.stderr.contains("hint:"), "{piped:?}");
    let raw = run(&mut moorline(&["session", "replay", id, "--raw"])).ok();
    assert!(raw.starts_with("{\"version\":2"), "{raw}");
    run(&mut moorline(&["session", "download", id])).ok();
    let kept = home.join(format!("{id}.cast"));
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), raw);
    assert_eq!(mode(&kept), 0o600);
    let out = run(&mut moorline(&["session", "download", id, "--to", "-"])).ok();
    assert_eq!(out, raw);

    let list = |more: &[&str]| -> u64 {
        let line = [&["session", "list", "--json"], more].concat();
        let list: Value = serde_json::from_str(&run(&mut moorline(&line)).ok()).unwrap();
        list["total"].as_u64().unwrap()
    };
    assert_eq!(
        list(&["--device", "taped", "--user", ADMIN_USER, "--since", "1h"]),
        1
    );
    let nobody = [
        &["--user", "udo"][..],
        &["--open"],
        &["--since", "0s"],
        &["--device", "x"],
    ];
    for none in nobody {
        assert_eq!(list(none), 0, "{none:?}");
    }
    let shown = run(&mut moorline(&["session", "show", id])).ok();
    assert!(
        shown.contains("node lost") && shown.contains("taped"),
        "{shown}"
    );
    let unknown = "00000000-0000-4000-8000-000000000000";
    for command in ["show", "download"] {
        let refused = run(&mut moorline(&["session", command, unknown]));
        assert_eq!(refused.code, 3, "{refused:?}");
    }
    let wrong = run(&mut moorline(&["session", "list", "--since", "yesterday"]));
    assert_eq!(wrong.code, 2, "{wrong:?}");
}

#[test]
fn a_session_ends_when_its_recording_finds_no_room() {
    let mut station = Station::with_device("full");
    demand(&station, "full");
    // Only what starts from here on sees the disk.
    station.server.stop();
    let disk = Disk::mount(&station.server.data().join("recordings"));
    station.server.launch();
    station.operator.wait_online("full", None);
    assert_eq!(station.by_name("full").run("echo room").ok(), "room\n");

    disk.fill(8);
    let line = "n=0; while [ $n -lt 20000 ]; do n=$((n + 1)); echo a line of some length, number $n; done; echo end";
    let done = station.by_name("full").run(line);
    assert_ne!(done.code, 0);
    assert!(
        done.stderr.contains("cannot be recorded any more"),
        "{}",
        done.stderr
    );
    assert!(!done.stdout.ends_with("end\n"));
    eventually("the log says why", || {
        latest(&station)["ending"] == "recording could not go on"
    });
    disk.free();
    assert_eq!(station.by_name("full").run("echo room").ok(), "room\n");
}
