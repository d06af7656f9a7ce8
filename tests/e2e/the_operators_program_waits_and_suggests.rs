use std::process::Command;

use harness::{ADMIN_PASSWORD, ADMIN_USER, Done, binary, run, run_with_input};
use serde_json::Value;
use tempfile::TempDir;

use crate::lodger::{Lodger, ODD_PASSWORD};
use crate::the_operators_program_does_its_work::Home;

fn logged_in(lodger: &Lodger, name: &str, password: &str) -> Home {
    let home = Home(TempDir::new().unwrap());
    let url = lodger.station.server.url();
    let login = ["login", &url, "--username", name, "--password-stdin"];
    run_with_input(
        &mut home.command(&login),
        format!("{password}\n").as_bytes(),
    )
    .ok();
    home
}

/// Exit status, and what was said.
fn told(done: &Done) -> (i32, &str) {
    (done.code, &done.stderr)
}

#[test]
fn work_on_hosts_is_waited_for_and_a_near_miss_names_what_was_meant() {
    let lodger = Lodger::with_device("sloop");
    let admin = logged_in(&lodger, ADMIN_USER, ADMIN_PASSWORD);
    let short_id = lodger.short_id.as_str();

    // The work is done when the command ends, and the last line says so.
    let stopped = admin.run(&["host", "stop", short_id]);
    assert_eq!(lodger.status(), "stopped", "{stopped:?}");
    assert!(told(&stopped).1.contains("succeeded after"), "{stopped:?}");
    let started = admin.json(&["host", "start", "sloop"]);
    assert_eq!(started["tasks"][0]["status"], "succeeded");
    assert_eq!(started["tasks"][0]["last_error_summary"], "");
    let queued = admin.json(&["host", "stop", short_id, "--no-wait"]);
    let task = queued["tasks"][0]["task_id"].as_str().unwrap();
    let waited = admin.json(&["task", "wait", task]);
    assert_eq!(waited["tasks"][0]["kind"], "stop_host");
    assert_eq!(lodger.status(), "stopped");
    let shown = admin.run(&["task", "show", &task[..8]]).ok();
    assert!(shown.contains(short_id) && shown.contains(task), "{shown}");
    assert_eq!(admin.run(&["task", "wait", "nonsense"]).code, 3);

    // A container has nothing to run on here: the task's code and words are the command's.
    let made = admin.json(&["host", "create", "--user", &lodger.username]);
    let cell = made["short_id"].as_str().unwrap();
    let unbound = admin.run(&["host", "start", cell]);
    assert_eq!(unbound.code, 1);
    assert!(
        unbound.stderr.contains("egress_binding_missing"),
        "{unbound:?}"
    );
    let exit = [
        "egress",
        "create",
        "--label",
        "exit",
        "--address",
        "203.0.113.10",
    ];
    admin.run(&exit).ok();
    admin.run(&["egress", "bind", cell, "exit"]).ok();
    let engineless = admin.run(&["host", "start", cell]);
    assert_eq!(engineless.code, 1);
    let words = "no container engine is configured on node local (host_action_failed)";
    assert!(engineless.stderr.contains(words), "{engineless:?}");
    admin.run(&["egress", "unbind", cell, "exit"]).ok();
    assert_eq!(admin.run(&["egress", "unbind", cell]).code, 3);

    // Nearly right is told what was meant; only what is like it is named.
    for (line, meant) in [
        (&["device", "show", "sloup"][..], Some("sloop")),
        (&["ssh", "sloup", "--", "true"], Some("sloop")),
        (&["expose", "slop", "80"], Some("sloop")),
        (&["user", "show", "admim"], Some("admin")),
        (&["egress", "show", "exot"], Some("exit")),
        (&["host", "show", "zzzzzz"], None),
    ] {
        let refused = admin.run(line);
        let (code, said) = told(&refused);
        assert_eq!(code, 3, "{refused:?}");
        match meant {
            Some(name) => assert!(said.contains(&format!("did you mean {name}?")), "{said}"),
            None => assert!(!said.contains("did you mean"), "{said}"),
        }
    }
    let filtered = admin.json(&["event", "list", "--host", short_id, "--limit", "2"]);
    let events = filtered["events"].as_array().unwrap();
    assert_eq!(events.len(), 2);
    let next = admin.json(&["event", "list", "--host", short_id, "--offset", "1"]);
    assert_eq!(next["events"][0]["id"], events[1]["id"]);

    bash_completes_names(&admin, short_id);
}

/// With the script that the program prints, in a real bash.
fn bash_completes_names(home: &Home, short_id: &str) {
    const PRESS_TAB: &str = r#"
        source <(moorline completions bash)
        COMP_WORDS=(moorline "$@") COMP_CWORD=$# COMPREPLY=()
        complete -p moorline | grep -q _moorline_with_names || exit 9
        _moorline_with_names moorline "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let folder = binary("moorline").parent().unwrap().to_owned();
    let path = std::env::var("PATH").unwrap();
    for (line, wanted) in [
        (&["host", "start", ""][..], short_id),
        (&["device", "show", "sl"], "sloop"),
        (&["ssh", "sl"], "sloop"),
        (&["user", "show", "adm"], "admin"),
        (&["host", "create", "--user", "lod"], "lodger-of-sloop"),
        (&["host", "reb"], "rebuild"),
    ] {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", PRESS_TAB, "bash"])
            .args(line)
            .env("PATH", format!("{}:{path}", folder.display()))
            .env("HOME", home.0.path())
            .env("XDG_CONFIG_HOME", home.0.path().join("config"));
        let offered = run(&mut bash).ok();
        assert!(
            offered.lines().any(|name| name == wanted),
            "{line:?}: {offered}"
        );
    }
}

#[test]
fn a_user_sees_and_rebuilds_their_host_and_changes_their_password() {
    let lodger = Lodger::with_device("punt");
    let user = logged_in(&lodger, &lodger.username, ODD_PASSWORD);
    let short_id = lodger.short_id.as_str();
    let hosts = user.json(&["host", "list"]);
    assert_eq!(hosts["hosts"][0]["short_id"], short_id);
    let listed = user.run(&["host", "list"]).ok();
    assert!(
        listed.contains(short_id) && listed.contains("punt"),
        "{listed}"
    );
    let sheet = user.run(&["host", "show", "punt"]).ok();
    assert!(
        sheet.contains(&format!("ssh {short_id}@127.0.0.1")),
        "{sheet}"
    );
    // What is not theirs to do is refused, not hidden behind other words.
    assert_eq!(user.run(&["task", "list"]).code, 4);
    assert_eq!(user.run(&["host", "stop", short_id]).code, 4);

    // A key of their own, made by the server, opens the host by name.
    let made = user.json(&["key", "generate", "--to", "own"]);
    assert_eq!(made["key"]["purpose"], "inbound");
    assert_eq!(user.run(&["key", "generate", "--to", "own"]).code, 2);
    let file = user.0.path().join("own");
    let file = file.to_str().unwrap();
    let opened = user.run(&["ssh", "punt", "-i", file, "--", "echo", "here"]);
    assert_eq!(opened.ok(), "here\n");

    // The login goes on with the new password; the old one is refused.
    let lines = format!("{ODD_PASSWORD}\nanother password\n");
    let change = ["change-password", "--password-stdin"];
    run_with_input(&mut user.command(&change), lines.as_bytes()).ok();
    assert_eq!(user.json(&["whoami"])["username"], lodger.username.as_str());
    let again = run_with_input(&mut user.command(&change), lines.as_bytes());
    assert_eq!(again.code, 4, "{again:?}");

    let before: Value = lodger.station.operator.device("punt").forwards[0]
        .public_port
        .into();
    let queued = user.json(&["host", "rebuild", "punt"]);
    lodger.wait_done(queued["tasks"][0]["task_id"].as_str().unwrap());
    let after: Value = lodger.station.operator.device("punt").forwards[0]
        .public_port
        .into();
    assert_ne!(before, after);
}
