use std::path::Path;
use std::process::Command;

use harness::{Done, Running, Ssh, eventually, run};

use crate::station::Station;

#[test]
fn exit_codes_output_and_errors_come_back_apart() {
    let station = Station::with_device("codes");
    let ssh = station.by_name("codes");

    for code in [0, 1, 7, 255] {
        assert_eq!(ssh.run(&format!("exit {code}")).code, code);
    }
    let done = ssh.run("echo out; echo err >&2; exit 3");
    assert_eq!(
        (done.stdout.as_str(), done.stderr.as_str(), done.code),
        ("out\n", "err\n", 3)
    );
    // What a signal ended has no exit code: ssh says 255, as it does without a gateway.
    assert_eq!(ssh.run("kill -KILL $$").code, 255);

    // Input reaches the program, and its end too.
    let text = "line\n".repeat(100_000);
    assert_eq!(
        ssh.run_with_input("wc -l", text.as_bytes()).ok().trim(),
        "100000"
    );
    let back = ssh.run_with_input("cat", text.as_bytes()).ok();
    assert_eq!(back.len(), text.len());
    // A command may end while its input stays open.
    assert_eq!(ssh.run("head -c 0 /dev/null; exit 5").code, 5);

    // The environment that the device's sshd accepts is passed on, and a shell without a command reads its input.
    let mut with_environment = ssh
        .clone()
        .option("SendEnv=MOORLINE_TEST")
        .command(&["echo $MOORLINE_TEST"]);
    with_environment.env("MOORLINE_TEST", "there");
    assert_eq!(run(&mut with_environment).ok(), "there\n");
    let shell = harness::run_with_input(&mut ssh.command(&["-T"]), b"echo from a shell\nexit 4\n");
    assert!(shell.stdout.contains("from a shell"), "{shell:?}");
    assert_eq!(shell.code, 4);
}

/// Runs `line` on a terminal; once it says `ready`, `then` is done to the terminal.
fn on_terminal(ssh: &Ssh, then: &str, line: &str) -> Done {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/terminal.py");
    let inner = ssh.command(&["-tt", line]);
    let mut command = Command::new("python3");
    command
        .arg(script)
        .arg(then)
        .arg(inner.get_program())
        .args(inner.get_args());
    run(&mut command)
}

#[test]
fn a_terminal_has_the_size_of_the_operators_window_and_follows_it() {
    let station = Station::with_device("screen");
    let line = "stty size; trap 'stty size; exit 7' WINCH; echo ready; \
                i=0; while [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done";
    let done = on_terminal(&station.by_name("screen"), "resize", line);
    assert!(done.stdout.contains("24 80"), "{done:?}");
    assert!(done.stdout.contains("50 132"), "{done:?}");
    assert_eq!(done.code, 7, "{done:?}");
}

#[test]
fn an_interrupt_typed_on_the_terminal_reaches_the_program() {
    let station = Station::with_device("typed");
    let line = "trap 'echo interrupted; exit 9' INT; echo ready; \
                i=0; while [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done";
    let done = on_terminal(&station.by_name("typed"), "interrupt", line);
    assert!(done.stdout.contains("interrupted"), "{done:?}");
    assert_eq!(done.code, 9, "{done:?}");
}

#[test]
fn files_are_copied_with_scp_sftp_and_rsync() {
    let station = Station::with_device("files");
    let ssh = station.by_name("files");
    let here = station.folder().join("here");
    let there = station.folder().join("there");
    for folder in [&here, &there] {
        std::fs::create_dir(folder).unwrap();
    }
    let original: Vec<u8> = (0..3_000_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    std::fs::write(here.join("original"), &original).unwrap();
    let same =
        |name: &str| assert_eq!(std::fs::read(there.join(name)).unwrap(), original, "{name}");
    let target = ssh.target();
    let remote = |name: &str| format!("{target}:{}", there.join(name).display());

    // scp by the sftp protocol, then by its own old one.
    run(ssh
        .program("scp")
        .arg(here.join("original"))
        .arg(remote("scp")))
    .ok();
    same("scp");
    run(ssh
        .program("scp")
        .arg("-O")
        .arg(here.join("original"))
        .arg(remote("old-scp")))
    .ok();
    same("old-scp");
    run(ssh.program("scp").arg(remote("scp")).arg(here.join("back"))).ok();
    assert_eq!(std::fs::read(here.join("back")).unwrap(), original);

    let batch = format!(
        "put {} {}\nls {}\n",
        here.join("original").display(),
        there.join("sftp").display(),
        there.display()
    );
    let mut sftp = ssh.program("sftp");
    sftp.args(["-b", "-"]).arg(target);
    let listed = harness::run_with_input(&mut sftp, batch.as_bytes()).ok();
    same("sftp");
    assert!(listed.contains("old-scp"), "{listed}");

    let source = format!("{}/", here.display());
    let goal = format!("{}/", remote("rsync"));
    run(Command::new("rsync").args(["-a", "-e", &ssh.as_text(), &source, &goal])).ok();
    same("rsync/original");
}

#[test]
fn many_sessions_share_one_connection_and_a_slow_reader_holds_up_none() {
    let station = Station::with_device("shared");
    let socket = station.folder().join("control");
    let ssh = station
        .by_name("shared")
        .option(&format!("ControlPath={}", socket.display()));
    let master = Running::start(
        "ssh master",
        &ssh.clone().option("ControlMaster=yes").command(&["-N"]),
        &station.folder().join("master.log"),
    );
    eventually("the shared connection is up", || socket.exists());
    run(ssh.program("ssh").args(["-O", "check", ssh.target()])).ok();

    // One that never reads what it asked for.
    let mut slow = ssh
        .command(&["yes 0123456789abcdef | head -c 200000000"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();

    std::thread::scope(|scope| {
        for number in 0..16 {
            let ssh = &ssh;
            scope.spawn(move || {
                for round in 0..3 {
                    let text = format!("{number} {round}");
                    assert_eq!(ssh.run(&format!("echo {text}")).ok().trim(), text);
                }
            });
        }
    });
    assert!(
        slow.try_wait().unwrap().is_none(),
        "the slow one was to be still there"
    );
    slow.kill().unwrap();
    slow.wait().unwrap();
    drop(master);
}

#[test]
fn separate_connections_at_once_all_get_their_session() {
    let station = Station::with_device("crowd");
    let ssh = station.by_name("crowd");
    std::thread::scope(|scope| {
        for number in 0..12 {
            let ssh: &Ssh = &ssh;
            scope.spawn(move || {
                assert_eq!(
                    ssh.run(&format!("sleep 0.2; echo {number}")).ok().trim(),
                    number.to_string()
                );
            });
        }
    });
}

#[test]
fn a_device_that_is_away_is_said_to_be_away() {
    let mut station = Station::with_device("away");
    station.device.stop();
    station.operator.wait_offline("away");
    let done = station.by_name("away").run("true");
    assert_ne!(done.code, 0);
    assert!(
        done.stderr.contains("Failed to connect to device"),
        "{done:?}"
    );
    let unknown = station.by_name("nowhere").run("true");
    assert_ne!(unknown.code, 0);
}
