use std::process::Command;

use harness::{
    Done, Https, Operator, Running, ServerOptions, TestServer, eventually, free_port, repository,
    run,
};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Domain of the HTTP names; no name server knows it.
pub(crate) const DOMAIN: &str = "names.test";

/// A server with HTTP names, and a web site that is to be reached through it.
pub(crate) struct Site {
    // Fields go in this order: the site before its folder.
    _web: Running,
    pub(crate) server: TestServer,
    pub(crate) operator: Operator,
    /// Port of the site itself.
    pub(crate) web_port: u16,
    /// Port for names in clear.
    pub(crate) port: u16,
    /// Port for names over TLS, and for SSH.
    pub(crate) tls_port: u16,
    folder: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let (port, tls_port, web_port) = (free_port(), free_port(), free_port());
        let server = TestServer::start_with(ServerOptions {
            config: format!(
                "[names]\ndomain = \"{DOMAIN}\"\nlisten = [\"127.0.0.1:{port}\"]\n\
                 tls_listen = [\"127.0.0.1:{tls_port}\"]\n"
            ),
            https: Some(Https::self_signed()),
            ..ServerOptions::default()
        });
        let folder = TempDir::new().unwrap();
        let mut command = Command::new("python3");
        command
            .arg("-B")
            .arg(repository().join("tests/fixtures/site.py"))
            .arg(web_port.to_string());
        let web = Running::start("site", &command, &folder.path().join("site.log"));
        eventually("the site listens", || {
            std::net::TcpStream::connect(("127.0.0.1", web_port)).is_ok()
        });
        Self {
            _web: web,
            operator: Operator::login(&server),
            server,
            web_port,
            port,
            tls_port,
            folder,
        }
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Makes the site reachable as a forward of `device`.
    pub(crate) fn expose(&self, device: &str, http: bool) -> Value {
        let path = format!("/v1/admin/devices/{device}/forwards");
        let wish = json!({"device_port": self.web_port, "http": http});
        let answer = self.operator.send(Method::POST, &path, Some(&wish));
        assert!([200, 201].contains(&answer.status), "{}", answer.text);
        answer.json()["forward"].clone()
    }

    /// `curl` with `arguments`, which finds HTTP names on this machine.
    pub(crate) fn curl(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("curl");
        command.args(["-q", "--silent", "--show-error", "--noproxy", "*"]);
        command.args(["--max-time", "280"]);
        for port in [self.port, self.tls_port] {
            command.args(["--resolve", &format!("{name}:{port}:127.0.0.1")]);
        }
        command.arg("--cacert").arg(self.server.ca_file());
        command.args(arguments);
        command
    }

    /// Body of `path` under an HTTP name.
    pub(crate) fn get(&self, name: &str, path: &str) -> String {
        self.try_get(name, path).ok()
    }

    /// The same, which may fail.
    pub(crate) fn try_get(&self, name: &str, path: &str) -> Done {
        let url = format!("http://{name}:{}{path}", self.port);
        run(&mut self.curl(name, &["--fail", &url]))
    }

    /// Status of `path` under an HTTP name.
    pub(crate) fn status(&self, name: &str, path: &str) -> String {
        let url = format!("http://{name}:{}{path}", self.port);
        let arguments = ["--output", "/dev/null", "--write-out", "%{http_code}", &url];
        run(&mut self.curl(name, &arguments)).stdout
    }
}
