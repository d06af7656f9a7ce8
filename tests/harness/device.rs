use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::api::Api;
use crate::operator::Operator;
use crate::process::{Done, Running, binary, run};
use crate::server::TestServer;
use crate::sshd::{Sshd, in_namespace, me};
use crate::wait::eventually;

/// How a test device differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    /// Name to ask for; else the server numbers it.
    pub name: Option<String>,
    /// Prefix of the serial number.
    pub prefix: Option<String>,
    /// Network namespace it lives in.
    pub namespace: Option<String>,
    /// Port that its first forward leads to, else that of its sshd.
    pub forward_port: Option<u16>,
    /// Further lines of `agent.toml`.
    pub config: String,
    /// Base URL of the API, else the server's own.
    pub api_url: Option<String>,
    /// The words of the command that is the agent, else the one built beside the tests.
    pub agent: Vec<String>,
}

/// A device: the agent in front of an sshd, with a state folder of its own.
#[derive(Debug)]
pub struct TestDevice {
    process: Option<Running>,
    folder: TempDir,
    sshd: Sshd,
    options: DeviceOptions,
}

impl TestDevice {
    /// A device called `name` whose agent may let the gateway in, started and with its tunnel up.
    #[must_use]
    pub fn enrolled(server: &TestServer, name: &str) -> Self {
        let key = server.full_key(&format!("maker-of-{name}"));
        let options = DeviceOptions {
            name: Some(name.to_owned()),
            ..DeviceOptions::default()
        };
        let mut device = Self::new(server, &key, options);
        device.launch();
        let operator = Operator::login(server);
        eventually("the tunnel is up", || {
            device.assert_alive();
            operator
                .try_device(name)
                .is_some_and(|device| device.online)
        });
        device
    }

    /// A device that was never switched on.
    #[must_use]
    pub fn new(server: &TestServer, key: &str, options: DeviceOptions) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("moorline-device-")
            .tempdir()
            .unwrap();
        let device = Self {
            process: None,
            sshd: Sshd::start_in(options.namespace.as_deref()),
            folder,
            options,
        };
        let url = device
            .options
            .api_url
            .clone()
            .unwrap_or_else(|| server.url());
        device.write_config(&url, key);
        device
    }

    /// Writes `agent.toml`.
    pub fn write_config(&self, api_url: &str, api_key: &str) {
        let options = &self.options;
        let mut text = format!("api_url = \"{api_url}\"\napi_key = \"{api_key}\"\n");
        let port = options.forward_port.unwrap_or_else(|| self.sshd.port());
        writeln!(text, "state_dir = \"{}\"", self.state().display()).unwrap();
        writeln!(text, "fwport = {port}\nusername = \"{}\"", me()).unwrap();
        for (name, value) in [("name", &options.name), ("prefix", &options.prefix)] {
            if let Some(value) = value {
                writeln!(text, "{name} = \"{value}\"").unwrap();
            }
        }
        let keys = self.sshd.authorized_keys();
        writeln!(
            text,
            "authorized_keys = \"{}\"\n{}",
            keys.display(),
            options.config
        )
        .unwrap();
        std::fs::write(self.config_file(), text).unwrap();
    }

    fn config_file(&self) -> PathBuf {
        self.folder.path().join("agent.toml")
    }

    /// The agent's state folder.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Its sshd.
    #[must_use]
    pub fn sshd(&self) -> &Sshd {
        &self.sshd
    }

    /// `moorline-agent <arguments>` on this device.
    #[must_use]
    pub fn agent(&self, arguments: &[&str]) -> Command {
        let config = self.config_file();
        let (program, first) = match self.options.agent.split_first() {
            Some((program, first)) => (PathBuf::from(program), first),
            None => (binary("moorline-agent"), &[][..]),
        };
        let mut all: Vec<&str> = first.iter().map(String::as_str).collect();
        all.extend(["--config", config.to_str().unwrap()]);
        all.extend(arguments);
        let mut command = in_namespace(self.options.namespace.as_deref(), &program, &all);
        let level = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into());
        for scheme in ["http", "https", "all", "no"] {
            // What the machine of the tests goes through is no affair of the device.
            command.env_remove(format!("{scheme}_proxy"));
            command.env_remove(format!("{scheme}_proxy").to_uppercase());
        }
        command
            .env("RUST_LOG", level)
            .current_dir(self.folder.path());
        command
    }

    /// Runs `moorline-agent <arguments>` to its end.
    pub fn run_agent(&self, arguments: &[&str]) -> Done {
        run(&mut self.agent(arguments))
    }

    /// Switches it on: the agent runs until it is stopped.
    pub fn launch(&mut self) {
        self.launch_with(&[]);
    }

    /// Switches it on with further environment.
    pub fn launch_with(&mut self, environment: &[(&str, &str)]) {
        assert!(self.process.is_none(), "the agent runs already");
        let mut command = self.agent(&["run"]);
        command.envs(environment.iter().copied());
        self.process = Some(Running::start("agent", &command, &self.log_file()));
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What the agent has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The agent's process.
    #[must_use]
    pub fn process(&mut self) -> &mut Running {
        self.process.as_mut().unwrap()
    }

    /// Panics when the agent has ended: nothing the network does may end it.
    pub fn assert_alive(&mut self) {
        if let Some(status) = self.process().ended() {
            panic!("the agent ended: {status}\n{}", self.log());
        }
    }

    /// A power cut.
    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// SIGTERM; the agent has to end with success.
    pub fn stop(&mut self) {
        let status = self.process.take().unwrap().stop();
        assert!(
            status.success(),
            "the agent ended with {status}\n{}",
            self.log()
        );
    }

    /// A second device with a copy of this one's state, as after a cloned card.
    #[must_use]
    pub fn cloned(&self, server: &TestServer, key: &str) -> Self {
        let other = Self::new(server, key, self.options.clone());
        copy_folder(&self.state(), &other.state());
        other
    }

    /// What `api` says about this device.
    #[must_use]
    pub fn entry(&self, api: &Api) -> Option<Value> {
        api.device(self.options.name.as_deref()?)
    }
}

fn copy_folder(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to)).ok();
}
