use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Done, Front, Way, eventually, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::lodger::{Lodger, ODD_PASSWORD, on_terminal, terminal, text};

const PASSWORD: &str = "password of them";
/// What is the same in [`ODD_PASSWORD`], in JSON or not.
const TELLING: &str = "`id` 'x' %s";
/// A shell is waiting for a line.
const PROMPT: &str = "[$#] $";

/// What is piped into a shell, with words before it.
fn piped(before: &str, url: &str) -> String {
    format!("{before} curl -sSL {url} | bash")
}

fn sign_in(line: &str, name: &str, password: &str) -> Done {
    let (name, password) = (format!("{name}\n"), format!("{password}\n"));
    on_terminal(line, &[("Username: ", &name), ("Password: ", &password)])
}

fn ends(done: &Done, code: i32, words: &str) {
    assert_eq!(done.code, code, "{done:?}");
    assert!(done.stdout.contains(words), "{words}: {done:?}");
}

/// A user of that name; its id.
fn user(lodger: &Lodger, name: &str) -> String {
    let body = json!({"username": name, "password": PASSWORD});
    text(
        &lodger.call(Method::POST, "/v1/admin/users", &body)["user"],
        "id",
    )
}

/// A host of the user that is a device nobody switched on; its path.
fn silent_host(lodger: &Lodger, user: &str) -> String {
    let server = &lodger.station.server;
    let device = server
        .api(&server.full_key(&format!("maker-{user}")))
        .create(&[]);
    let wish = json!({"user_id": user, "device_id": device["client_id"]});
    let made = lodger.call(Method::POST, "/v1/admin/hosts", &wish);
    lodger.wait_done(&text(&made, "task_id"));
    format!("/v1/admin/hosts/{}", text(&made["host"], "id"))
}

/// Answers every request with `body`.
fn canned(status: &str, body: &str) -> Front {
    let words = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // A test's worth of memory.
    Front::new(Way::Answer(words.leak()))
}

#[test]
fn every_exit_status_of_the_bootstrap_is_the_documented_one() {
    let lodger = Lodger::with_device("ended");
    let url = lodger.url("/v1/bootstrap/script");
    let line = piped("export POLL_INTERVAL=1;", &url);

    let late = user(&lodger, "late");
    let soon = run(Command::new("date").args(["-u", "-d", "2 seconds", "+%FT%TZ"])).ok();
    let path = format!("/v1/admin/users/{late}/expiry");
    lodger.call(Method::PUT, &path, &json!({"expires_at": soon.trim()}));
    let login = json!({"username": "late", "password": PASSWORD});
    eventually("the time is over", || {
        let answer = lodger
            .station
            .operator
            .send(Method::POST, "/v1/auth/login", Some(&login));
        answer.status == 403
    });
    ends(&sign_in(&line, "late", PASSWORD), 12, "account has expired");

    let wish = json!({"user_id": user(&lodger, "boxed")});
    let made = lodger.call(Method::POST, "/v1/admin/hosts", &wish);
    lodger.wait_done(&text(&made, "task_id"));
    ends(
        &sign_in(&line, "boxed", PASSWORD),
        16,
        "no egress IP is bound to the host",
    );

    // A device that does not come: the wait is over first, then the start has failed.
    silent_host(&lodger, &user(&lodger, "silent"));
    let hasty = piped("export POLL_INTERVAL=1 POLL_TIMEOUT=02;", &url);
    let timed_out = sign_in(&hasty, "silent", PASSWORD);
    ends(&timed_out, 15, "SSH is not ready yet, try again later");
    assert!(!timed_out.stdout.contains("ssh_not_ready"), "{timed_out:?}");
    ends(&sign_in(&line, "silent", PASSWORD), 15, "(ssh_not_ready)");

    let full = silent_host(&lodger, &user(&lodger, "full"));
    let act = |action: &str| {
        let path = format!("{full}/{action}");
        lodger
            .station
            .operator
            .send(Method::POST, &path, None)
            .status
    };
    assert_eq!(act("start"), 202);
    eventually("no more work is taken", || act("stop") == 500);
    ends(
        &sign_in(&line, "full", PASSWORD),
        14,
        "the host could not be started",
    );

    for (before, words) in [
        ("export POLL_INTERVAL=soon;", "are seconds"),
        ("export POLL_TIMEOUT=-1;", "are seconds"),
    ] {
        ends(&on_terminal(&piped(before, &url), &[]), 1, words);
    }
    // Nothing is typed: the end of input.
    let nothing = on_terminal(&line, &[("Username: ", "\x04")]);
    ends(&nothing, 1, "no username was given");
}

#[test]
fn what_stands_before_the_server_is_told_apart() {
    let lodger = Lodger::with_device("fronted");
    let server = &lodger.station.server;
    let script = lodger.url("/v1/bootstrap/script");
    let by = |front: &Front, more: &str| {
        let before = format!(
            "export BOOTSTRAP_API=http://127.0.0.1:{} {more};",
            front.port()
        );
        sign_in(&piped(&before, &script), "x", "x")
    };
    let gateway = canned("502 Bad Gateway", "<html>Bad Gateway</html>");
    ends(&by(&gateway, ""), 2, "answers with HTTP 502");
    let other = canned(
        "503 Later",
        r#"{"error_code":"network_error","message":"no way"}"#,
    );
    ends(&by(&other, ""), 1, "no way (network_error)");
    let portal = canned("200 OK", "<html>Log in to the hotel</html>");
    ends(&by(&portal, ""), 1, "the server's answer cannot be used");

    // The interval is kept: a look at once, one after each interval, and one that ends the wait.
    let waiting = r#"{"task_id":"0-0","stage_text":"wait","task_status":"running"}"#;
    let waiting = canned("200 OK", waiting);
    ends(
        &by(&waiting, "POLL_INTERVAL=2 POLL_TIMEOUT=4"),
        15,
        "try again later",
    );
    let looks = waiting.asked();
    let looks = looks
        .iter()
        .filter(|line| line.starts_with("GET /v1/bootstrap/tasks/0-0 "));
    assert!((2..=3).contains(&looks.count()), "{:?}", waiting.asked());

    // Another server on the port of the SSH proxy: its key is not the one that was told.
    let sshd = lodger.station.device.sshd();
    let known_hosts = server.known_hosts();
    let (_, key) = known_hosts.trim().split_once(' ').unwrap();
    let (port, address) = (sshd.port(), "127.0.0.1");
    let answer = json!({"task_id": "0-0", "stage_text": "x", "task_status": "succeeded", "ready": true,
        "host": address, "port": port, "user": "ab12cd", "host_key": key, "status": "ready",
        "ssh_host": address, "ssh_port": port, "ssh_user": "ab12cd", "ssh_host_key": key,
        "ssh_pass": "abcdefghijklmnopqrstuvwx"});
    let false_door = canned("200 OK", &answer.to_string());
    let refused = by(&false_door, "");
    ends(&refused, 255, "verification failed");
    // The login password was asked for, and no other.
    assert_eq!(refused.stdout.matches("ssword:").count(), 1, "{refused:?}");
    // The same for an entry; its script knows but one server.
    let entry = |front: &Front| {
        let url = lodger.url("/entry/ab12cd");
        let line = format!(
            "curl -sSL {url} | sed 's#{}#http://127.0.0.1:{}#' | bash",
            server.url(),
            front.port()
        );
        on_terminal(&line, &[("Password: ", "x\n")])
    };
    ends(&entry(&false_door), 255, "verification failed");
    ends(&entry(&gateway), 2, "answers with HTTP 502");
    ends(
        &entry(&portal),
        1,
        "the answer of the server cannot be used",
    );
    drop(portal);
    let gone = Front::new(Way::Answer(""));
    ends(&entry(&gone), 2, "does not answer");
}

/// Programs called `names`, in a folder of their own.
fn only(folder: &Path, names: &[&str]) -> PathBuf {
    std::fs::create_dir(folder).unwrap();
    for name in names {
        let found = run(Command::new("which").arg(name)).ok();
        symlink(found.trim(), folder.join(name)).unwrap();
    }
    folder.to_owned()
}

#[test]
fn what_is_missing_is_named() {
    let lodger = Lodger::with_device("missed");
    let folder = TempDir::new().unwrap();
    let scripts = [
        ("bootstrap", lodger.url("/v1/bootstrap/script")),
        ("entry", lodger.url(&format!("/entry/{}", lodger.short_id))),
    ];
    let nothing = only(&folder.path().join("nothing"), &[]);
    let curl = only(&folder.path().join("curl"), &["curl"]);
    let bash = run(Command::new("which").arg("bash")).ok();
    for (name, url) in &scripts {
        let file = folder.path().join(name);
        run(Command::new("curl")
            .args(["-sSL", "--noproxy", "*", "-o"])
            .arg(&file)
            .arg(url))
        .ok();
        run(Command::new("shellcheck").arg(&file)).ok();
        let with = |path: &Path| run(Command::new(bash.trim()).arg(&file).env("PATH", path));
        for (path, words) in [
            (&nothing, "curl is not installed"),
            (&curl, "ssh is not installed"),
        ] {
            let done = with(path);
            assert_eq!(done.code, 1, "{done:?}");
            assert_eq!(done.stderr, format!("moorline: {words}\n"));
        }
        // No terminal at all.
        let line = piped("", url);
        let done = run(Command::new("setsid").args(["--wait", "bash", "-c", &line]));
        assert_eq!(done.code, 1, "{done:?}");
        assert_eq!(done.stderr, "moorline: there is no terminal to ask on\n");
    }

    // An ssh that asks no program, and no sshpass.
    let tools = ["bash", "curl", "stty", "mktemp", "rm", "chmod", "cat"];
    let old = only(&folder.path().join("old"), &tools);
    let shim = "#!/bin/sh\necho OpenSSH_8.3p1 >&2\n";
    std::fs::write(old.join("ssh"), shim).unwrap();
    std::fs::set_permissions(old.join("ssh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let line = piped(&format!("export PATH={};", old.display()), &scripts[1].1);
    let done = on_terminal(&line, &[("Password: ", &format!("{ODD_PASSWORD}\n"))]);
    ends(
        &done,
        1,
        "ssh is older than 8.4: install a newer one, or sshpass",
    );
}

/// The processes whose environment has `mark`, with what others may read of them.
fn marked(mark: &str) -> Vec<(i32, String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        // It may be gone by now.
        let read = |name: &str| {
            let bytes = std::fs::read(entry.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (command, environment) = (read("cmdline"), read("environ"));
        if environment.split('\0').any(|one| one == mark) {
            found.push((id, command, environment));
        }
    }
    found
}

/// Whether the words of a command, each ended by a NUL, are those of an ssh that asks for a terminal.
fn is_ssh(command: &str) -> bool {
    let mut words = command.split('\0');
    let program = words.next().unwrap_or_default();
    Path::new(program).ends_with("ssh") && words.any(|word| word == "-t")
}

#[test]
fn the_scripts_show_no_secret_and_leave_nothing_behind() {
    let lodger = Lodger::with_device("cleaned");
    let folder = TempDir::new().unwrap();
    let shim = folder.path().join("shim");
    std::fs::create_dir(&shim).unwrap();
    let ssh = run(Command::new("which").arg("ssh")).ok();
    let words = format!(
        "#!/bin/sh\n[ \"$1\" = -V ] && {{ echo OpenSSH_7.9p1 >&2; exit; }}\nexec {} \"$@\"\n",
        ssh.trim()
    );
    std::fs::write(shim.join("ssh"), words).unwrap();
    std::fs::set_permissions(shim.join("ssh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let entry = lodger.url(&format!("/entry/{}", lodger.short_id));
    let bootstrap = lodger.url("/v1/bootstrap/script");
    assert!(ODD_PASSWORD.contains(TELLING));
    let login = format!("{ODD_PASSWORD}\n");
    let username = format!("{}\n", lodger.username);
    let entry_password = format!("{}\n", lodger.entry_password);
    let by_entry = [
        ("Password: ", login.as_str()),
        (PROMPT, "echo in: $((40 + 2))\n"),
    ];
    let by_bootstrap = [
        ("Username: ", username.as_str()),
        ("Password: ", login.as_str()),
        ("[Pp]assword: ", entry_password.as_str()),
        (PROMPT, "echo in: $((40 + 2))\n"),
    ];
    // With sshpass, without, and the other script; each ended by the loss of its terminal.
    let path = format!("PATH={}:$PATH", shim.display());
    for (number, (more, url, turns)) in [
        ("", &entry, &by_entry[..]),
        (path.as_str(), &entry, &by_entry[..]),
        ("", &bootstrap, &by_bootstrap[..]),
    ]
    .into_iter()
    .enumerate()
    {
        // Somebody whose own variables have the names of the script's, and who has all of them exported.
        let own = folder.path().join(format!("tmp {number}"));
        std::fs::create_dir(&own).unwrap();
        let mark = format!("MOORLINE_TEST_MARK={number}{}", lodger.short_id);
        let before = format!(
            "export secret=1 answer=1 password=1 text=1 TMPDIR='{}' {mark} {more}; set -a; export SHELLOPTS;",
            own.display()
        );
        let mut typist = terminal(&piped(&before, url), turns);
        typist.stdout(std::process::Stdio::null());
        let mut typist = typist.spawn().unwrap();
        eventually("a shell is open", || {
            let devices = marked(&mark);
            devices.iter().any(|(_, command, _)| is_ssh(command))
                && std::fs::read_dir(&own).unwrap().count() == 1
                && in_use(&lodger)
        });
        let ours = std::fs::read_to_string("/proc/self/environ").unwrap();
        let seen = marked(&mark);
        assert!(seen.len() >= 2, "{seen:?}");
        for (_, command, environment) in &seen {
            let all = format!("{command}\0{environment}");
            assert!(!all.contains(TELLING), "{all}");
            for shown in all.split(['\0', '=', '"']) {
                assert_ne!(shown, lodger.entry_password, "{command}");
                let plain = shown.bytes().all(|byte| byte.is_ascii_alphanumeric());
                // Names of options have no digits.
                let drawn = plain && shown.bytes().any(|byte| byte.is_ascii_digit());
                let one_time = shown.len() == 24 && drawn && !ours.contains(shown);
                assert!(!one_time, "{shown} in {all}");
            }
        }
        typist.kill().unwrap();
        typist.wait().unwrap();
        eventually("nothing is left", || {
            marked(&mark).is_empty() && std::fs::read_dir(&own).unwrap().count() == 0
        });
        eventually("the session is closed", || !in_use(&lodger));
    }
}

/// Whether somebody is logged in to the lodger's host.
fn in_use(lodger: &Lodger) -> bool {
    let log = lodger.call(Method::GET, "/v1/admin/sessions-log", &Value::Null);
    let sessions = log["sessions"].as_array().unwrap();
    sessions.iter().any(|session| session["ended_at"].is_null())
}

#[test]
fn a_signal_at_the_prompt_gives_the_terminal_back() {
    let lodger = Lodger::with_device("signalled");
    let url = lodger.url(&format!("/entry/{}", lodger.short_id));
    // What is typed is shown again when the script is gone.
    let after = "; echo status ${PIPESTATUS[1]}; stty -a </dev/tty | grep -ow -e '-*echo'";
    for (typed, status) in [("\x03", 130), ("\x1c", 131)] {
        let line = format!("trap : INT QUIT; {}{after}", piped("", &url));
        let done = on_terminal(&line, &[("Password: ", typed)]);
        assert!(
            done.stdout.contains(&format!("status {status}\r\n")),
            "{done:?}"
        );
        assert!(done.stdout.ends_with("\r\necho\r\n"), "{done:?}");
    }
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 143)] {
        let mark = format!("MOORLINE_TEST_MARK={signal}{}", lodger.short_id);
        let line = format!("curl -sSL {url} | {mark} bash{after}");
        let mut typist = terminal(&line, &[]);
        let done = std::thread::scope(|scope| {
            let done = scope.spawn(|| run(&mut typist));
            eventually("the password is asked for", || hidden(&mark).is_some());
            kill(Pid::from_raw(hidden(&mark).unwrap()), signal).unwrap();
            done.join().unwrap()
        });
        assert!(
            done.stdout.contains(&format!("status {status}\r\n")),
            "{done:?}"
        );
        assert!(done.stdout.ends_with("\r\necho\r\n"), "{done:?}");
    }
}

/// The script with that mark, once its terminal does not show what is typed.
fn hidden(mark: &str) -> Option<i32> {
    let (id, ..) = marked(mark)
        .into_iter()
        .find(|(_, command, _)| command == "bash\0")?;
    let terminal = std::fs::read_link(format!("/proc/{id}/fd/2")).ok()?;
    let told = run(Command::new("stty").arg("-a").arg("-F").arg(terminal));
    told.stdout.contains(" -echo ").then_some(id)
}
