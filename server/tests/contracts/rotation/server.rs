//! The program as a server, and HTTP to it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::Bench;

/// Longest start.
const START: Duration = Duration::from_secs(300);
const PASSWORD: &str = "correct-horse-battery-staple";

/// Killed when it goes out of scope.
pub(crate) struct Server {
    process: Child,
    address: String,
}

fn serve(bench: &Bench) -> Command {
    let mut command = bench.command(&["serve", "--http", "127.0.0.1:0", "--ssh", "127.0.0.1:0"]);
    command
        .args(["--public-host", "127.0.0.1", "--ports", "40000-40063"])
        .env("ADMIN_PASSWORD", PASSWORD)
        .stdout(Stdio::null());
    command
}

fn listening(bench: &Bench) -> PathBuf {
    bench.data().join("listening.json")
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) fn start(bench: &Bench) -> Self {
        let log = bench.folder.path().join("server.log");
        fs::remove_file(listening(bench)).ok();
        let mut command = serve(bench);
        let mut process = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
        let end = Instant::now() + START;
        let address = loop {
            if let Ok(text) = fs::read(listening(bench)) {
                let bound: serde_json::Value = serde_json::from_slice(&text).unwrap();
                break bound["http"][0].as_str().unwrap().to_owned();
            }
            let ended = process.try_wait().unwrap();
            let said = || fs::read_to_string(&log).unwrap();
            assert!(ended.is_none() && Instant::now() < end, "{}", said());
            std::thread::sleep(Duration::from_millis(20));
        };
        Self { process, address }
    }

    /// Status and body of an answer.
    pub(crate) fn ask(&self, method: &str, path: &str, header: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, body.to_owned())
    }

    /// A token of the first administrator.
    pub(crate) fn log_in(&self) -> String {
        let body = format!("{{\"username\":\"admin\",\"password\":\"{PASSWORD}\"}}");
        let (status, body) = self.ask("POST", "/v1/auth/login", "", &body);
        assert_eq!(status, 200, "{body}");
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }

    /// How the server takes a token.
    pub(crate) fn with_token(&self, token: &str) -> (u16, String) {
        let header = format!("Authorization: Bearer {token}\r\n");
        self.ask("GET", "/v1/admin/users", &header, "")
    }

    /// How the server takes an API key.
    pub(crate) fn with_api_key(&self, secret: &str) -> u16 {
        self.ask("GET", &format!("/api/v2/keys/?token={secret}"), "", "")
            .0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

pub(crate) fn a_short_jwt_secret_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let serve = |secret: &str, config: &str| {
        let file = folder.path().join("server.toml");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_moorline-server"));
        command
            .args(["serve", "--http", "127.0.0.1:0", "--ssh", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(&data)
            .arg("--config")
            .arg(file)
            .env("ADMIN_JWT_SECRET", secret);
        crate::bench::done(&mut command).refused()
    };
    let short = "x".repeat(31);
    let said = serve(&short, "");
    assert!(said.contains("ADMIN_JWT_SECRET: must have 32 characters or more"));
    let said = serve("", &format!("[auth]\njwt_secret = \"{short}\"\n"));
    assert!(said.contains("auth.jwt_secret: must have 32 characters or more"));
    assert!(!data.exists(), "nothing was begun");
}
