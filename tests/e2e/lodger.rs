use std::path::Path;
use std::process::Command;

use harness::{Done, Ssh, eventually, run};
use reqwest::Method;
use serde_json::{Value, json};

use crate::station::Station;

/// What no shell and no JSON may stumble over.
pub(crate) const ODD_PASSWORD: &str = r#"qu"ote \back\\ $HOME `id` 'x' %s ü"#;

/// A user whose host is the device of a station, which runs.
pub(crate) struct Lodger {
    pub(crate) station: Station,
    pub(crate) user_id: String,
    pub(crate) username: String,
    pub(crate) user_short_id: String,
    pub(crate) host_id: String,
    pub(crate) short_id: String,
    pub(crate) entry_password: String,
}

impl Lodger {
    pub(crate) fn with_device(name: &str) -> Self {
        let station = Station::with_device(name);
        let username = format!("lodger-of-{name}");
        let body = json!({"username": username, "password": ODD_PASSWORD});
        let user = station
            .operator
            .send(Method::POST, "/v1/admin/users", Some(&body));
        assert_eq!(user.status, 201, "{}", user.text);
        let user_id = text(&user.json()["user"], "id");
        let device = station.operator.device(name).id;
        let wish = json!({"user_id": user_id, "device_id": device});
        let made = station
            .operator
            .send(Method::POST, "/v1/admin/hosts", Some(&wish));
        assert_eq!(made.status, 202, "{}", made.text);
        let made = made.json();
        let lodger = Self {
            user_id,
            username,
            user_short_id: text(&user.json(), "short_id"),
            host_id: text(&made["host"], "id"),
            short_id: text(&made, "short_id"),
            entry_password: text(&made, "entry_password"),
            station,
        };
        lodger.wait_status("running");
        lodger
    }

    pub(crate) fn call(&self, method: Method, path: &str, body: &Value) -> Value {
        let body = (!body.is_null()).then_some(body);
        let answer = self.station.operator.send(method, path, body);
        assert!(
            (200..300).contains(&answer.status),
            "{path}: {}",
            answer.text
        );
        if answer.text.is_empty() {
            return Value::Null;
        }
        answer.json()
    }

    pub(crate) fn host_path(&self) -> String {
        format!("/v1/admin/hosts/{}", self.host_id)
    }

    pub(crate) fn status(&self) -> String {
        let sheet = self.call(Method::GET, &self.host_path(), &Value::Null);
        text(&sheet["host"], "status")
    }

    pub(crate) fn wait_status(&self, status: &str) {
        eventually(&format!("the host is {status}"), || self.status() == status);
    }

    /// Queues an action; gives its task.
    pub(crate) fn act(&self, action: &str) -> String {
        let path = format!("{}/{action}", self.host_path());
        text(&self.call(Method::POST, &path, &json!({})), "task_id")
    }

    pub(crate) fn task(&self, id: &str) -> Value {
        let tasks = self.call(Method::GET, "/v1/admin/tasks", &Value::Null);
        let mut tasks = tasks["tasks"].as_array().unwrap().iter();
        tasks.find(|task| task["task_id"] == id).unwrap().clone()
    }

    /// The task once it has succeeded.
    pub(crate) fn wait_done(&self, id: &str) {
        eventually("the task succeeded", || {
            let task = self.task(id);
            assert_ne!(task["status"], "failed", "{task}");
            task["status"] == "succeeded"
        });
    }

    /// Stock ssh to the host by its short id.
    pub(crate) fn ssh(&self) -> Ssh {
        Ssh::gateway(&self.station.server, &self.short_id, self.station.folder())
    }

    /// The same with the entry password.
    pub(crate) fn by_password(&self) -> Ssh {
        self.ssh().password(&self.entry_password)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.station.server.url())
    }
}

/// Runs `line` in a shell on a terminal, and types `turns`: a pattern to wait for, and what to type then.
pub(crate) fn on_terminal(line: &str, turns: &[(&str, &str)]) -> Done {
    run(&mut terminal(line, turns))
}

/// The command of [`on_terminal`].
pub(crate) fn terminal(line: &str, turns: &[(&str, &str)]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/typist.py");
    let mut command = Command::new("python3");
    command
        .arg(script)
        .arg(json!(turns).to_string())
        // Whoever runs the tests may ignore signals, as nohup does; a shell could not trap them then.
        .args([
            "env",
            "--default-signal=HUP,INT,QUIT,TERM",
            "bash",
            "-c",
            line,
        ])
        .env_remove("SSH_AUTH_SOCK")
        .env("LC_ALL", "C.UTF-8");
    for scheme in ["http", "https", "all"] {
        command.env_remove(format!("{scheme}_proxy"));
        command.env_remove(format!("{scheme}_proxy").to_uppercase());
    }
    command
}

/// Whether a password, or a key, was refused; not so when the connection was closed before it was looked at.
pub(crate) fn not_taken(done: &Done) -> bool {
    done.code == 255 && done.stderr.contains("Permission denied")
}

pub(crate) fn text(json: &Value, key: &str) -> String {
    json[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} in {json}"))
        .to_owned()
}
