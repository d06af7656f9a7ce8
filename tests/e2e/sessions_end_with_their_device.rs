use std::io::Read as _;
use std::net::TcpStream;
use std::time::Duration;

use harness::{Api, KeyPair, Running, Ssh, eventually, free_port, run};
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::Value;

use crate::station::Station;

/// What an operator has open on a device.
struct Open {
    session: Running,
    sftp: Running,
    /// Leads to the device's sshd.
    jump: TcpStream,
    /// Holds the way of `jump`.
    _forward: Running,
}

impl Open {
    fn on(station: &Station, device: &str) -> Self {
        let folder = station.folder();
        let marker = folder.join(format!("{device}.marker"));
        let line = format!("touch {}; exec sleep 600", marker.display());
        let by_name = station.by_name(device);
        let session = start(&by_name, &[&line], "session", folder);
        eventually("the session is on the device", || marker.exists());
        // The log of sftp begins with the version that the device answers.
        let hello = "printf '\\0\\0\\0\\5\\1\\0\\0\\0\\3'; exec sleep 120";
        let client = format!("{} -s {} sftp", by_name.as_text(), by_name.target());
        let line = format!("exec {client} < <({hello})");
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &line]);
        let sftp = Running::start("sftp", &command, &folder.join("sftp.log"));
        eventually("sftp answers", || !sftp.log().is_empty());
        let local = free_port();
        let way = format!("{local}:{device}:22");
        let forward = start(&by_name, &["-N", "-L", &way], "forward", folder);
        let mut jump = None;
        eventually("the jump leads to the device", || {
            jump = banner(local);
            jump.is_some()
        });
        Self {
            session,
            sftp,
            jump: jump.unwrap(),
            _forward: forward,
        }
    }

    fn ends(&mut self, what: &str) {
        eventually(&format!("{what}: the session ended"), || {
            self.session.ended().is_some()
        });
        eventually(&format!("{what}: sftp ended"), || {
            self.sftp.ended().is_some()
        });
        eventually(&format!("{what}: the jump ended"), || {
            let mut rest = [0; 64];
            matches!(self.jump.read(&mut rest), Ok(0))
        });
    }
}

fn start(ssh: &Ssh, words: &[&str], name: &str, folder: &std::path::Path) -> Running {
    Running::start(
        name,
        &ssh.command(words),
        &folder.join(format!("{name}.log")),
    )
}

/// A connection on which an sshd has said who it is.
fn banner(port: u16) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut start = [0; 4];
    stream.read_exact(&mut start).ok()?;
    (&start == b"SSH-").then_some(stream)
}

/// How the sessions ended that the log of the account holds.
fn endings(station: &Station) -> Vec<Value> {
    let path = "/v1/admin/sessions-log";
    let list = station.operator.send(Method::GET, path, None).json();
    let sessions = list["sessions"].as_array().unwrap().iter();
    sessions.map(|session| session["ending"].clone()).collect()
}

/// The end of each of them is in the log.
fn all_are_noted(station: &Station) {
    eventually("the log says that they ended", || {
        let endings = endings(station);
        endings.len() == 3 && endings.iter().all(Value::is_string)
    });
}

/// Registers the key of the station's device to another account.
fn move_away(station: &Station) {
    station.server.admin(&["account", "create", "movers"]).ok();
    let line = ["account", "binding-token", "--account", "movers"];
    let token = station.server.admin(&line).ok();
    let key = KeyPair::at(&station.device.state().join("device_key"));
    let public = run(std::process::Command::new("ssh-keygen")
        .arg("-yf")
        .arg(key.private_file()))
    .ok();
    let form = [
        ("public_key", public.trim()),
        ("key_binding_token", token.trim()),
    ];
    let url = format!("{}/linkKey", station.server.url());
    let answer = Api::client().post(url).form(&form).send().unwrap();
    assert_eq!(answer.text().unwrap(), r#"{"status":"ok"}"#);
}

#[test]
fn sessions_end_when_their_device_moves_to_another_account() {
    let mut station = Station::with_device("mover");
    let mut open = Open::on(&station, "mover");
    move_away(&station);
    open.ends("moved");
    let said = open.session.log();
    assert!(said.contains("device was moved"), "{said}");
    eventually("the log says why", || {
        endings(&station) == ["device was moved"; 3]
    });
    // The device stays as it is, in the other account.
    station.device.assert_alive();
    let done = station.by_name("mover").run("true");
    assert_ne!(done.code, 0, "{done:?}");
}

#[test]
fn a_session_does_not_begin_while_its_device_moves() {
    let station = Station::with_device("slow");
    // The device's sshd takes the connection, and says nothing until the device is gone.
    let sshd = station.device.sshd().process();
    sshd.signal(Signal::SIGSTOP);
    let marker = station.folder().join("marker");
    let line = format!("touch {}", marker.display());
    let by_name = station.by_name("slow");
    let mut session = start(&by_name, &[&line], "late", station.folder());
    eventually("the operator is logged in", || {
        station.server.log().contains("operator logged in")
    });
    move_away(&station);
    sshd.signal(Signal::SIGCONT);
    eventually("the session ended", || session.ended().is_some());
    let said = session.log();
    assert!(said.contains("device was moved"), "{said}");
    assert!(!marker.exists(), "nothing ran on it");
    assert_eq!(endings(&station), [Value::Null; 0]);
}

#[test]
fn sessions_end_when_their_device_is_blocked() {
    let station = Station::with_device("shut");
    let mut open = Open::on(&station, "shut");
    station.operator.set_state("shut", "blocked");
    open.ends("blocked");
    all_are_noted(&station);
}

#[test]
fn sessions_end_when_their_device_is_deleted() {
    let station = Station::with_device("gone");
    let mut open = Open::on(&station, "gone");
    let path = "/v1/admin/devices/gone";
    let deleted = station.operator.send(Method::DELETE, path, None);
    assert_eq!(deleted.status, 204, "{}", deleted.text);
    open.ends("deleted");
    all_are_noted(&station);
}
