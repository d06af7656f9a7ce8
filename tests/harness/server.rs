use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use crate::api::Api;
use crate::ports::{free_port, free_ports};
use crate::process::{Done, Running, binary, run};
use crate::wait::wait_for;

/// First administrator of every test server.
pub const ADMIN_USER: &str = "admin";
/// Its password.
pub const ADMIN_PASSWORD: &str = "correct-horse-battery-staple";
/// Public ports of one test server.
const PORTS: u16 = 64;
/// Longest start.
const START_LIMIT: Duration = Duration::from_secs(120);

/// How a test server differs from the usual one.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Address to listen on.
    pub address: String,
    /// What devices and operators are told to connect to.
    pub public_host: String,
    /// How many public ports it may hand out.
    pub ports: u16,
    /// Text of the configuration file.
    pub config: String,
    /// Further arguments of `serve`.
    pub arguments: Vec<String>,
    /// Registry URL, else SQLite in the data folder.
    pub database: Option<String>,
    /// HTTPS beside plain HTTP.
    pub https: Option<Https>,
    /// `ADMIN_JWT_SECRET`, if any.
    pub jwt_secret: Option<String>,
}

/// How a test server speaks HTTPS.
#[derive(Clone, Debug)]
pub struct Https {
    port: u16,
    files: Option<(PathBuf, PathBuf)>,
}

impl Https {
    /// With a certificate that the server makes itself.
    #[must_use]
    pub fn self_signed() -> Self {
        let port = free_port();
        Self { port, files: None }
    }

    /// With a certificate and its key from PEM files.
    #[must_use]
    pub fn with_files(certificate: &Path, key: &Path) -> Self {
        Self {
            files: Some((certificate.to_path_buf(), key.to_path_buf())),
            ..Self::self_signed()
        }
    }

    fn config(&self, address: &str) -> String {
        let source = match &self.files {
            None => "self_signed = true".to_owned(),
            Some((certificate, key)) => format!("certificate = {certificate:?}\nkey = {key:?}"),
        };
        format!("[tls]\n{source}\nlisten = [\"{address}:{}\"]\n", self.port)
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            address: "127.0.0.1".into(),
            public_host: "127.0.0.1".into(),
            ports: PORTS,
            config: String::new(),
            arguments: Vec::new(),
            database: None,
            https: None,
            jwt_secret: None,
        }
    }
}

/// A server that listens, in a data folder of its own.
#[derive(Debug)]
pub struct TestServer {
    process: Option<Running>,
    folder: TempDir,
    options: ServerOptions,
    first_port: u16,
    listening: Listening,
}

/// What the server writes once everything listens.
#[derive(Clone, Debug, Deserialize)]
struct Listening {
    http: Vec<String>,
    ssh: Vec<String>,
}

impl TestServer {
    /// A server with nothing special about it.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(ServerOptions::default())
    }

    /// A server as `options` say.
    #[must_use]
    pub fn start_with(options: ServerOptions) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("moorline-server-")
            .tempdir()
            .unwrap();
        let any = vec![format!("{}:0", options.address)];
        let mut server = Self {
            process: None,
            folder,
            first_port: free_ports(options.ports),
            options,
            listening: Listening {
                http: any.clone(),
                ssh: any,
            },
        };
        server.launch();
        server
    }

    /// Has the next start use this secret of tokens.
    pub fn set_jwt_secret(&mut self, secret: &str) {
        self.options.jwt_secret = Some(secret.to_owned());
    }

    /// Starts it again on the ports it had.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "the server runs already");
        std::fs::remove_file(self.data().join("listening.json")).ok();
        let mut process = Running::start("server", &self.command(), &self.log_file());
        let marker = self.data().join("listening.json");
        self.listening = wait_for("the server listens", START_LIMIT, || {
            if let Some(status) = process.ended() {
                panic!("the server ended: {status}");
            }
            serde_json::from_slice(&std::fs::read(&marker).ok()?).ok()
        });
        if self.options.https.is_some() {
            // The address of HTTPS comes last; it stands in the configuration file.
            self.listening.http.pop();
        }
        let url = format!("{}/healthz", self.url());
        wait_for("the server is healthy", START_LIMIT, || {
            Api::client()
                .get(&url)
                .send()
                .ok()?
                .status()
                .is_success()
                .then_some(())
        });
        self.process = Some(process);
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary("moorline-server"));
        let last = self.first_port + self.options.ports - 1;
        command
            .arg("serve")
            .arg("--data-dir")
            .arg(self.data())
            .args(["--public-host", &self.options.public_host])
            .args(["--ports", &format!("{}-{last}", self.first_port)])
            .env("ADMIN_USERNAME", ADMIN_USER)
            .env("ADMIN_PASSWORD", ADMIN_PASSWORD)
            .env(
                "RUST_LOG",
                std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into()),
            )
            .current_dir(self.folder.path());
        for http in &self.listening.http {
            command.args(["--http", http]);
        }
        for ssh in &self.listening.ssh {
            command.args(["--ssh", ssh]);
        }
        command.arg("--config").arg(self.config_file());
        command.args(&self.options.arguments);
        if let Some(secret) = &self.options.jwt_secret {
            command.env("ADMIN_JWT_SECRET", secret);
        }
        command
    }

    fn config_file(&self) -> PathBuf {
        let file = self.folder.path().join("server.toml");
        let mut text = self.options.config.clone();
        // Stories look often, and nobody waits for streams that are to end.
        let usual = [
            "shutdown_grace = \"2s\"\n",
            "[limits]\ndefault_rate_limit = 1000000\n",
        ];
        text.insert_str(0, usual[0]);
        text.push_str(usual[1]);
        if let Some(https) = &self.options.https {
            text.push_str(&https.config(&self.options.address));
        }
        if let Some(url) = &self.options.database {
            text.push_str(&format!("[database]\nurl = \"{url}\"\n"));
        }
        std::fs::write(&file, text).unwrap();
        file
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Base URL of its API, as the server's own host sees it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.listening.http[0])
    }

    /// Base URL of its API under the public name.
    #[must_use]
    pub fn public_url(&self) -> String {
        format!(
            "http://{}:{}",
            self.options.public_host,
            port(&self.listening.http[0])
        )
    }

    /// Base URL of its API over HTTPS.
    #[must_use]
    pub fn https_url(&self) -> String {
        let https = self.options.https.as_ref();
        let port = https.expect("the server has no HTTPS").port;
        format!("https://{}:{port}", self.options.public_host)
    }

    /// The pin of its own certificate.
    #[must_use]
    pub fn pin(&self) -> String {
        let log = self.log();
        let (_, after) = log.split_once("HTTPS pin:").unwrap();
        after.split_whitespace().next().unwrap().to_owned()
    }

    /// The authority that signed its own certificate, PEM.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.data().join("tls/ca.pem")
    }

    /// Address operators reach the gateway at.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.options.address
    }

    /// Port of the SSH gateway.
    #[must_use]
    pub fn ssh_port(&self) -> u16 {
        port(&self.listening.ssh[0])
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Running {
        self.process.as_ref().unwrap()
    }

    /// Kill -9.
    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// SIGTERM; it has to end with success.
    pub fn stop(&mut self) {
        let status = self.process.take().unwrap().stop();
        assert!(
            status.success(),
            "the server ended with {status}\n{}",
            self.log()
        );
    }

    /// Runs `moorline-server admin …` on the data folder, beside the running server.
    pub fn admin(&self, arguments: &[&str]) -> Done {
        self.tool(&[&["admin"], arguments].concat())
    }

    /// Runs another command than `serve` on the data folder, as `backup` and `restore`.
    pub fn tool(&self, arguments: &[&str]) -> Done {
        let mut command = Command::new(binary("moorline-server"));
        command
            .args(arguments)
            .arg("--data-dir")
            .arg(self.data())
            .current_dir(self.folder.path());
        if self.options.database.is_some() {
            command
                .arg("--config")
                .arg(self.folder.path().join("server.toml"));
        }
        run(&mut command)
    }

    /// Makes an API key with `scopes` (comma list) and gives its secret.
    #[must_use]
    pub fn key(&self, name: &str, scopes: &str) -> String {
        self.key_with(&["--name", name, "--scope", scopes])
    }

    /// Makes an API key with further limits and gives its secret.
    #[must_use]
    pub fn key_with(&self, arguments: &[&str]) -> String {
        let all = [
            &["key", "create", "--json", "--rate-limit", "1000000"],
            arguments,
        ]
        .concat();
        let text = self.admin(&all).ok();
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        answer["secret"].as_str().unwrap().to_owned()
    }

    /// A key that may do everything with devices.
    #[must_use]
    pub fn full_key(&self, name: &str) -> String {
        self.key(
            name,
            "device:create,device:read,device:modify,device:delete",
        )
    }

    /// Calls with `key`.
    #[must_use]
    pub fn api(&self, key: &str) -> Api {
        Api::new(&self.url(), key)
    }

    /// A line for `known_hosts` that names the gateway.
    #[must_use]
    pub fn known_hosts(&self) -> String {
        let key = std::fs::read_to_string(self.data().join("ssh_host_ed25519_key.pub"))
            .unwrap_or_else(|_| public_half(&self.data().join("ssh_host_ed25519_key")));
        let mut parts = key.split_whitespace();
        let (kind, data) = (parts.next().unwrap(), parts.next().unwrap());
        format!("[{}]:{} {kind} {data}\n", self.host(), self.ssh_port())
    }
}

fn port(address: &str) -> u16 {
    address.rsplit(':').next().unwrap().parse().unwrap()
}

fn public_half(private: &Path) -> String {
    run(Command::new("ssh-keygen").arg("-y").arg("-f").arg(private)).ok()
}
