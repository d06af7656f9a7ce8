use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use moorline_protocol::Secret;
use moorline_protocol::operator::DeviceState;
use moorline_protocol::script::BEGIN;
use uuid::Uuid;

use super::*;
use crate::registry::model::{
    AccessPolicy, AccountId, DeviceId, ForwardId, NodeStatus, Timestamp, Wanted,
};

/// The shells that devices have.
const SHELLS: [&[&str]; 2] = [&["dash"], &["busybox", "sh"]];

fn rendered(shows_dbid: bool) -> String {
    let forward = Forward::first(ForwardId(5), "eu1".into(), 22, 40022);
    let device = Device {
        number: 7,
        id: DeviceId(Uuid::from_u128(7)),
        account: AccountId(1),
        name: "cam000001".into(),
        state: DeviceState::Active,
        wanted: Wanted::Open,
        allow_clientless: false,
        public_key: None,
        dbid: Secret::new("abcdefghij0123456789".into()),
        username: None,
        hostname: None,
        hardware: None,
        region: "eu1".into(),
        sshd_host_keys: Vec::new(),
        ip_link_protection: false,
        max_connections_per_minute: 10,
        created_at: Timestamp(0),
        last_seen_at: None,
        last_end: None,
        last_up_at: None,
        bytes: 0,
        bytes_since: None,
        redirect_token: String::new(),
        policy: AccessPolicy {
            recording_required: false,
            direct_tcpip_allowed: true,
        },
        forwards: vec![forward.clone()],
    };
    let node = Node {
        name: "eu1".into(),
        public_host: "127.0.0.1".into(),
        // Discard: nothing listens there.
        ssh_port: 9,
        host_key:
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"
                .into(),
        status: NodeStatus::Active,
        names_domain: None,
        ports: (40_000, 49_999),
    };
    let server = Identity {
        api_url: "http://127.0.0.1:9".into(),
        gateway_key: Some("ssh-ed25519 AAAA".into()),
        api_pin: Some("sha256/AAAA".into()),
        ..Identity::default()
    };
    render(&Facts {
        device: &device,
        node: &node,
        forward: &forward,
        shows_dbid,
        server: &server,
    })
}

struct Sandbox {
    folder: tempfile::TempDir,
    script: PathBuf,
}

impl Sandbox {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.sh");
        fs::write(&path, script).unwrap();
        Self {
            folder,
            script: path,
        }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn command(&self, shell: &[&str], words: &[&str]) -> Command {
        let mut command = Command::new(shell[0]);
        command
            .args(&shell[1..])
            .arg(&self.script)
            .args(words)
            .env("MOORLINE_STATE_DIR", self.state())
            .env_remove("MOORLINE_SSH")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, shell: &[&str], words: &[&str]) -> (i32, String, String) {
        let output = self.command(shell, words).output().unwrap();
        let Output {
            status,
            stdout,
            stderr,
        } = output;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (status.code().unwrap(), text(&stdout), text(&stderr))
    }
}

#[test]
fn the_constants_are_those_of_the_contract() {
    let script = rendered(true);
    assert!(script.starts_with(&format!("#!/bin/sh\n{BEGIN}\n")));
    let constants = Constants::parse(&script).unwrap();
    let expected = [
        ("SCRIPT_VERSION", "1"),
        ("HOST_UUID", "00000000-0000-0000-0000-000000000007"),
        ("CLIENT_NAME", "cam000001"),
        ("REGION", "eu1"),
        ("SERVER_HOST", "127.0.0.1"),
        ("SERVER_PORT", "9"),
        ("SSH_USER", "00000000-0000-0000-0000-000000000007"),
        ("REMOTE_PORT", "40022"),
        ("FORWARD_PORT", "22"),
        ("API_URL", "http://127.0.0.1:9"),
        ("USER_ID", "1"),
        ("PORTS_ID", "5"),
        ("DB_SERVER_KEY", "abcdefghij0123456789"),
        ("GATEWAY_KEY", "ssh-ed25519 AAAA"),
        ("API_PIN", "sha256/AAAA"),
    ];
    for (name, value) in expected {
        assert_eq!(constants.get(name), Some(value), "{name}");
    }
    assert!(
        constants
            .get("SERVER_HOST_KEY")
            .unwrap()
            .starts_with("ssh-ed25519 ")
    );
    let hidden = rendered(false);
    assert!(hidden.contains("\nDB_SERVER_KEY=''\n"));
    assert!(!hidden.contains("abcdefghij0123456789"));
}

#[test]
fn the_shells_take_it_and_shellcheck_finds_nothing() {
    let device = Sandbox::new(&rendered(true));
    for shell in SHELLS {
        let mut command = Command::new(shell[0]);
        let checked = command
            .args(&shell[1..])
            .arg("-n")
            .arg(&device.script)
            .status();
        assert!(checked.unwrap().success(), "{shell:?}");
    }
    let found = Command::new("shellcheck")
        .args(["-s", "dash"])
        .arg(&device.script)
        .output();
    let found = found.expect("shellcheck is installed by the set-up step");
    assert!(
        found.status.success(),
        "{}",
        String::from_utf8_lossy(&found.stdout)
    );
}

#[test]
fn words_have_their_exit_statuses() {
    for shell in SHELLS {
        let device = Sandbox::new(&rendered(true));
        assert_eq!(device.run(shell, &["status"]).0, 3);
        assert_eq!(device.run(shell, &["status"]).1, "not running\n");
        assert_eq!(device.run(shell, &["stop"]).0, 0);
        for words in [&["sing"][..], &["start", "now"], &["Start"], &[""]] {
            let (code, out, err) = device.run(shell, words);
            assert_eq!((code, out.as_str()), (2, ""), "{words:?}");
            assert!(err.contains("usage:"));
        }
    }
}

#[test]
fn it_starts_once_tells_how_it_stands_and_stops_with_its_ssh() {
    for shell in SHELLS {
        let device = Sandbox::new(&rendered(true));
        let (code, _, err) = device.run(shell, &["start"]);
        assert_eq!(code, 0, "{err}");
        let pid = fs::read_to_string(device.state().join("client.pid")).unwrap();
        assert_eq!(device.run(shell, &["start"]).0, 0);
        assert_eq!(
            fs::read_to_string(device.state().join("client.pid")).unwrap(),
            pid
        );
        assert_eq!(
            device.run(shell, &[]).0,
            1,
            "a second one does not run beside it"
        );
        assert_eq!(
            device.run(shell, &["status"]),
            (1, "not connected\n".into(), String::new())
        );
        assert_eq!(device.run(shell, &["stop"]).0, 0);
        assert_eq!(device.run(shell, &["status"]).0, 3);
        let number = pid.split(' ').next().unwrap();
        // Nobody may have collected its exit status yet.
        let stat = fs::read_to_string(Path::new("/proc").join(number).join("stat"));
        assert!(stat.is_err() || stat.unwrap().contains(") Z "));
    }
}

#[test]
fn a_pid_file_of_another_life_does_not_count() {
    for shell in SHELLS {
        let device = Sandbox::new(&rendered(true));
        fs::create_dir(device.state()).unwrap();
        let ours = format!("{} another-boot/1\n", std::process::id());
        fs::write(device.state().join("client.pid"), ours).unwrap();
        assert_eq!(device.run(shell, &["status"]).0, 3);
        assert_eq!(device.run(shell, &["start"]).0, 0);
        assert_eq!(device.run(shell, &["status"]).0, 1);
        assert_eq!(device.run(shell, &["stop"]).0, 0);
    }
}

#[test]
fn a_key_pair_is_made_once_and_its_failed_upload_is_told() {
    for shell in SHELLS {
        let device = Sandbox::new(&rendered(true));
        let (code, _, err) = device.run(shell, &["createkeypair"]);
        assert_eq!(code, 1, "nobody listens: {err}");
        let key = fs::read(device.state().join("device_key")).unwrap();
        let public = fs::read_to_string(device.state().join("device_key.pub")).unwrap();
        assert!(
            crate::registry::model::PublicKey::parse(&public).is_ok(),
            "{public}"
        );
        assert_eq!(device.run(shell, &["createkeypair"]).0, 1);
        assert_eq!(fs::read(device.state().join("device_key")).unwrap(), key);
        let left: Vec<_> = fs::read_dir(device.state())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("upload"))
            .collect();
        assert!(left.is_empty(), "the form holds a secret: {left:?}");
        let hidden = Sandbox::new(&rendered(false));
        let (code, _, err) = hidden.run(shell, &["createkeypair"]);
        assert!(code == 1 && err.contains("DB_SERVER_KEY"), "{err}");
    }
}

#[test]
fn it_installs_itself_for_every_init_system_and_removes_every_trace() {
    let systems: [(&str, &[&str], &str); 5] = [
        (
            "systemd",
            &["lib/systemd/system/"],
            "etc/systemd/system/moorline-client.service",
        ),
        (
            "procd",
            &["etc/rc.common", "etc/init.d/"],
            "etc/rc.d/S95moorline-client",
        ),
        (
            "openrc",
            &["sbin/openrc-run", "etc/init.d/"],
            "etc/runlevels/default/moorline-client",
        ),
        (
            "sysvinit",
            &["etc/rc2.d/", "etc/init.d/"],
            "etc/rc2.d/S95moorline-client",
        ),
        ("busybox", &["etc/init.d/"], "etc/init.d/S95moorline-client"),
    ];
    for shell in SHELLS {
        for (name, there, made) in systems {
            let device = Sandbox::new(&rendered(true));
            let root = device.folder.path().join("root");
            for path in there {
                plant(&root, path);
            }
            let before = listing(&root);
            let run = |word| {
                let command = device
                    .command(shell, &[word])
                    .env("MOORLINE_ROOT", &root)
                    .output();
                let output = command.unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{name} {word}: {said}");
                said
            };
            assert!(run("install").contains(name));
            assert!(fs::symlink_metadata(root.join(made)).is_ok(), "{name}");
            run("install");
            run("uninstall");
            let state = device.state().strip_prefix("/").unwrap().to_owned();
            let after: Vec<_> = listing(&root)
                .into_iter()
                .filter(|path| path.is_file() || path.is_symlink())
                .filter(|path| !path.starts_with(root.join(&state)))
                .collect();
            let before: Vec<_> = before.into_iter().filter(|path| path.is_file()).collect();
            assert_eq!(after, before, "{name}");
        }
    }
}

fn plant(root: &Path, path: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let whole = root.join(path);
    if path.ends_with('/') {
        fs::create_dir_all(whole).unwrap();
    } else {
        fs::create_dir_all(whole.parent().unwrap()).unwrap();
        fs::write(&whole, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&whole, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn listing(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(listing(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}
