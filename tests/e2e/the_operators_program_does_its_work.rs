use std::process::Command;

use harness::{
    ADMIN_PASSWORD, ADMIN_USER, Done, KeyPair, TestDevice, TestServer, binary, run, run_with_input,
};
use serde_json::Value;
use tempfile::TempDir;

/// An operator's home, with nothing in it.
pub(crate) struct Home(pub(crate) TempDir);

impl Home {
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("moorline"));
        command
            .args(arguments)
            .env("HOME", self.0.path())
            .env("XDG_CONFIG_HOME", self.0.path().join("config"))
            .env_remove("SSH_AUTH_SOCK")
            .current_dir(self.0.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        run(&mut self.command(arguments))
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.run(&[arguments, &["--json"]].concat()).ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }
}

#[test]
fn an_operator_logs_in_looks_around_and_reaches_a_device_by_plain_ssh() {
    let server = TestServer::start();
    let mut device = TestDevice::enrolled(&server, "yawl");
    let home = Home(TempDir::new().unwrap());

    // Nobody is logged in yet, then with the wrong password, then with the right one.
    assert_eq!(home.run(&["device", "list"]).code, 3);
    let login = [
        "login",
        &server.url(),
        "--username",
        ADMIN_USER,
        "--password-stdin",
    ];
    assert_eq!(
        run_with_input(&mut home.command(&login), b"wrong\n").code,
        4
    );
    run_with_input(
        &mut home.command(&login),
        format!("{ADMIN_PASSWORD}\n").as_bytes(),
    )
    .ok();
    assert_eq!(home.json(&["whoami"])["username"], ADMIN_USER);

    let devices = home.json(&["device", "list"]);
    let listed = devices["devices"]
        .as_array()
        .or_else(|| devices.as_array())
        .unwrap();
    assert_eq!(listed.len(), 1);
    assert!(home.run(&["device", "list"]).ok().contains("yawl"));
    assert!(home.run(&["device", "show", "yawl"]).ok().contains("yawl"));
    assert_eq!(home.run(&["device", "show", "nothing"]).code, 3);

    // A key, then plain ssh by name through the configuration that is written.
    std::fs::create_dir(home.0.path().join(".ssh")).unwrap();
    let key = KeyPair::make(&home.0.path().join(".ssh/id_ed25519"));
    home.run(&["key", "add", key.public_file().to_str().unwrap()])
        .ok();
    assert!(home.run(&["key", "list"]).ok().contains("SHA256:"));
    // ssh itself looks for keys in the home that the user database names, not in $HOME.
    let identity = key.private_file().to_str().unwrap();
    let ssh = |line: &[&str]| home.run(&[&["ssh", "-i", identity], line].concat());
    let by_program = ssh(&["yawl", "--", "echo", "through the program"]);
    assert_eq!(by_program.ok(), "through the program\n");

    home.run(&["ssh-config", "--yes"]).ok();
    let config = home.0.path().join(".ssh/config");
    let plain = run(Command::new("ssh")
        .arg("-F")
        .arg(&config)
        .args(["-oBatchMode=yes", "-oIdentitiesOnly=yes"])
        .arg(format!("-oIdentityFile={}", key.private_file().display()))
        .args(["yawl", "echo by plain ssh; exit 6"])
        .env("HOME", home.0.path()));
    assert_eq!(
        (plain.stdout.as_str(), plain.code),
        ("by plain ssh\n", 6),
        "{plain:?}"
    );

    // Renamed, blocked, unblocked, removed.
    home.run(&["device", "rename", "yawl", "ketch"]).ok();
    assert!(ssh(&["ketch", "--", "true"]).code == 0);
    home.run(&["device", "block", "ketch"]).ok();
    assert_ne!(ssh(&["ketch", "--", "true"]).code, 0);
    home.run(&["device", "unblock", "ketch"]).ok();
    device.stop();
    home.run(&["device", "rm", "ketch", "--yes"]).ok();
    assert_eq!(home.run(&["device", "show", "ketch"]).code, 3);

    // An API key: made, used, listed, revoked.
    let made = home.json(&[
        "api-key",
        "create",
        "--name",
        "line-1",
        "--scope",
        "device:create,device:read",
    ]);
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(
        server.api(secret).create(&[("prefix", "x")])["client_name"],
        "x000001"
    );
    assert!(!home.run(&["api-key", "list"]).ok().contains(secret));
    home.run(&["api-key", "revoke", "line-1"]).ok();
    assert_eq!(server.api(secret).call("device_list", &[]).error().0, 32);

    home.run(&["key", "rm", &fingerprint(&key)]).ok();
    home.run(&["logout"]).ok();
    assert_ne!(home.run(&["device", "list"]).code, 0);
}

fn fingerprint(key: &KeyPair) -> String {
    let shown = run(Command::new("ssh-keygen").arg("-lf").arg(key.public_file())).ok();
    shown.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn an_operator_manages_api_clients() {
    let server = TestServer::start();
    let home = Home(TempDir::new().unwrap());
    let login = [
        "login",
        &server.url(),
        "--username",
        ADMIN_USER,
        "--password-stdin",
    ];
    let password = format!("{ADMIN_PASSWORD}\n");
    run_with_input(&mut home.command(&login), password.as_bytes()).ok();
    let client = |line: &[&str]| home.json(&[&["api-client"], line].concat());
    let code = |line: &[&str]| home.run(&[&["api-client"], line].concat()).code;

    // Made with its key, which enrols devices.
    let made = client(&[
        "create",
        "--friendly-name",
        "Camera line 3",
        "--tags",
        "factory,line3",
        "--prefix",
        "cam",
        "--uses",
        "5",
    ]);
    assert_eq!(made["apiClient"]["name"], "camera_line_3");
    let first = made["apiKey"]["secret"].as_str().unwrap();
    let enrolled = server.api(first).create(&[]);
    assert_eq!(enrolled["client_name"], "cam000001");

    // Listed by tags, shown, changed; a secret is where the key is asked for and nowhere else.
    let names = |line: &[&str]| -> Vec<String> {
        let listed = client(&[&["list"], line].concat());
        let listed = listed["apiClients"].as_array().unwrap();
        let names = listed.iter().map(|client| client["name"].as_str());
        names.map(|name| name.unwrap().to_owned()).collect()
    };
    assert_eq!(names(&[]), ["root", "first-devices", "camera_line_3"]);
    assert_eq!(names(&["--tags", "-factory"]), ["root", "first-devices"]);
    let shown = home.run(&["api-client", "show", "CAMERA_LINE_3"]).ok();
    assert!(
        shown.contains("factory,line3") && !shown.contains(first),
        "{shown}"
    );
    let line = [
        "update",
        "camera_line_3",
        "--description",
        "x",
        "--tags",
        "none",
        "--lock",
    ];
    let changed = client(&line);
    assert_eq!(
        (&changed["description"], &changed["locked"]),
        (&"x".into(), &true.into())
    );
    assert!(changed.get("tags").is_none());
    assert_eq!(code(&["update", "camera_line_3", "--name", "other"]), 1);
    assert_eq!(code(&["rm", "camera_line_3", "--yes"]), 1);
    client(&["update", "camera_line_3", "--unlock"]);

    // Its key: shown, changed with the other limits kept, made anew, refused when it is gone.
    let key = client(&["key", "show", "camera_line_3"]);
    assert_eq!(
        (key["secret"].as_str(), &key["limits"]["uses"]),
        (Some(first), &4.into())
    );
    let set = [
        "key",
        "set",
        "camera_line_3",
        "--rate-limit",
        "-1",
        "--uses",
        "9",
    ];
    let set = client(&set);
    assert_eq!(
        set["limits"],
        serde_json::json!({"prefix": "cam", "uses": 9})
    );
    assert_eq!(
        (set["rateLimit"].as_i64(), set["secret"].as_str()),
        (Some(-1), Some(first))
    );
    assert_eq!(
        code(&["key", "regenerate", "camera_line_3"]),
        2,
        "nobody is here to answer"
    );
    let renewed = client(&["key", "regenerate", "camera_line_3", "--yes"]);
    let second = renewed["secret"].as_str().unwrap();
    assert_eq!(server.api(first).call("device_list", &[]).error().0, 32);
    assert_eq!(server.api(second).devices().len(), 1);
    home.run(&["api-client", "rm", "camera_line_3", "--yes"])
        .ok();
    assert_eq!(server.api(second).call("device_list", &[]).error().0, 32);
    assert_eq!(code(&["show", "camera_line_3"]), 3);
}

#[test]
fn every_shell_gets_its_completion_and_a_server_that_is_away_is_said_to_be() {
    let home = Home(TempDir::new().unwrap());
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            home.run(&["completions", shell]).ok().contains("moorline"),
            "{shell}"
        );
    }
    let nobody = format!("http://127.0.0.1:{}", harness::free_port());
    let login = ["login", &nobody, "--username", "x", "--password-stdin"];
    assert_eq!(run_with_input(&mut home.command(&login), b"y\n").code, 5);
}
