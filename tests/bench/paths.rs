use std::path::{Path as File, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use harness::{
    DeviceOptions, KeyPair, Operator, Running, Ssh, Sshd, TestDevice, TestServer, free_port,
    wait_for,
};
use tempfile::TempDir;

use crate::measure::{ask, visit};

/// A way from a visitor's port to the service on the device.
pub(crate) trait Path {
    fn name(&self) -> &'static str;
    fn port(&self) -> u16;
    /// Kills the server, leaves it away for that long, starts it; gives the time from then until a visitor is served.
    fn reconnect(&mut self, away: Duration) -> Option<Duration>;
}

/// Plain TCP, OpenSSH, rathole, Moorline.
pub(crate) fn all(service: u16) -> Vec<Box<dyn Path>> {
    vec![
        Box::new(Direct(service)),
        Box::new(OpenSsh::start(service)),
        Box::new(Rathole::start(service, 1)),
        Box::new(Moorline::start(service)),
    ]
}

fn served(port: u16) -> Option<()> {
    let mut visitor = visit(port).ok()?;
    visitor
        .set_read_timeout(Some(Duration::from_millis(250)))
        .ok()?;
    ask(&mut visitor).ok()
}

fn wait_served(what: &str, port: u16) {
    wait_for(&format!("{what} serves"), Duration::from_secs(60), || {
        served(port)
    });
}

struct Direct(u16);

impl Path for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn port(&self) -> u16 {
        self.0
    }

    fn reconnect(&mut self, _away: Duration) -> Option<Duration> {
        None
    }
}

/// `ssh -R` in a loop that tries again every second, as people run it.
pub(crate) struct OpenSsh {
    _client: Running,
    sshd: Sshd,
    _folder: TempDir,
    port: u16,
}

impl OpenSsh {
    pub(crate) fn start(service: u16) -> Self {
        let folder = TempDir::new().unwrap();
        let sshd = Sshd::start();
        let key = KeyPair::make(&folder.path().join("key"));
        sshd.authorize(&key);
        let port = free_port();
        let known_hosts = folder.path().join("known_hosts");
        std::fs::write(
            &known_hosts,
            format!("[127.0.0.1]:{} {}\n", sshd.port(), sshd.host_key()),
        )
        .unwrap();
        let ssh = Ssh::new("127.0.0.1", sshd.port(), &user(), &known_hosts)
            .key(&key)
            .option("ExitOnForwardFailure=yes");
        let forward = format!("{port}:127.0.0.1:{service}");
        let inner = ssh.command(&["-N", "-R", &forward]);
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do \"$@\"; sleep 1; done", "sh"]);
        command.arg(inner.get_program()).args(inner.get_args());
        let client = Running::start("ssh -R", &command, &folder.path().join("log")).with_children();
        wait_served("ssh -R", port);
        Self {
            _client: client,
            sshd,
            _folder: folder,
            port,
        }
    }
}

fn user() -> String {
    harness::run(Command::new("id").arg("-un"))
        .ok()
        .trim()
        .to_owned()
}

impl Path for OpenSsh {
    fn name(&self) -> &'static str {
        "ssh -R"
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn reconnect(&mut self, away: Duration) -> Option<Duration> {
        self.sshd.kill_all();
        std::thread::sleep(away);
        let started = Instant::now();
        self.sshd.restart();
        wait_served("ssh -R", self.port);
        Some(started.elapsed())
    }
}

/// rathole over plain TCP.
pub(crate) struct Rathole {
    server: Option<Running>,
    _client: Running,
    folder: TempDir,
    program: PathBuf,
    port: u16,
}

impl Rathole {
    /// With so many services, each with its own connection to the server.
    pub(crate) fn start(service: u16, services: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let tools = File::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/bin/rathole");
        let program = if tools.exists() {
            tools
        } else {
            PathBuf::from("rathole")
        };
        let (control, port) = (free_port(), free_port());
        let mut server =
            format!("[server]\nbind_addr = \"127.0.0.1:{control}\"\ndefault_token = \"bench\"\n");
        let mut client =
            format!("[client]\nremote_addr = \"127.0.0.1:{control}\"\ndefault_token = \"bench\"\n");
        for number in 0..services {
            // All but the first get whatever port is free.
            let public = if number == 0 { port } else { 0 };
            server.push_str(&format!(
                "[server.services.s{number}]\nbind_addr = \"127.0.0.1:{public}\"\n"
            ));
            client.push_str(&format!(
                "[client.services.s{number}]\nlocal_addr = \"127.0.0.1:{service}\"\n"
            ));
        }
        std::fs::write(folder.path().join("server.toml"), server).unwrap();
        std::fs::write(folder.path().join("client.toml"), client).unwrap();
        let mut rathole = Self {
            server: None,
            _client: run(&program, "--client", "client.toml", folder.path()),
            folder,
            program,
            port,
        };
        rathole.launch();
        rathole
    }

    fn launch(&mut self) {
        self.server = Some(run(
            &self.program,
            "--server",
            "server.toml",
            self.folder.path(),
        ));
        wait_served("rathole", self.port);
    }

    pub(crate) fn server(&self) -> &Running {
        self.server.as_ref().unwrap()
    }
}

fn run(program: &File, role: &str, config: &str, folder: &File) -> Running {
    let mut command = Command::new(program);
    command
        .arg(role)
        .arg(folder.join(config))
        .env("RUST_LOG", "error");
    Running::start("rathole", &command, &folder.join("log"))
}

impl Path for Rathole {
    fn name(&self) -> &'static str {
        "rathole"
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn reconnect(&mut self, away: Duration) -> Option<Duration> {
        self.server.take();
        std::thread::sleep(away);
        let started = Instant::now();
        self.launch();
        Some(started.elapsed())
    }
}

struct Moorline {
    _device: TestDevice,
    server: TestServer,
    port: u16,
}

impl Moorline {
    fn start(service: u16) -> Self {
        let server = TestServer::start();
        let operator = Operator::login(&server);
        let options = DeviceOptions {
            name: Some("bench".into()),
            forward_port: Some(service),
            ..DeviceOptions::default()
        };
        let mut device = TestDevice::new(&server, &server.full_key("bench"), options);
        device.launch();
        operator.wait_online("bench", None);
        let port = operator.device("bench").forwards[0].public_port;
        operator.open_port("bench");
        wait_served("moorline", port);
        Self {
            _device: device,
            server,
            port,
        }
    }
}

impl Path for Moorline {
    fn name(&self) -> &'static str {
        "moorline"
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn reconnect(&mut self, away: Duration) -> Option<Duration> {
        self.server.kill();
        std::thread::sleep(away);
        let started = Instant::now();
        self.server.launch();
        wait_served("moorline", self.port);
        Some(started.elapsed())
    }
}
