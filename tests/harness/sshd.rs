use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::ports::free_port;
use crate::process::{Running, run};
use crate::ssh::KeyPair;
use crate::wait::wait_for;

/// What a shell on a terminal begins with: its prompt is the plain one, whatever the machine gives its users.
const PROFILE: &str = "PS1='\\$ '\n";
/// Longest start.
const START_LIMIT: Duration = Duration::from_secs(120);

/// OpenSSH's server on a free port of loopback, with its own host key and configuration. It lets in the user who runs
/// the tests, with the keys that were put into [`Sshd::authorized_keys`], into a home of its own: what that user's
/// start-up files do to a shell is no part of a test.
#[derive(Debug)]
pub struct Sshd {
    process: Option<Running>,
    folder: TempDir,
    namespace: Option<String>,
    port: u16,
}

impl Sshd {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        Self::start_in(None)
    }

    /// Starts one inside the network namespace called `namespace`.
    #[must_use]
    pub fn start_in(namespace: Option<&str>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("moorline-sshd-")
            .tempdir()
            .unwrap();
        KeyPair::make(&folder.path().join("host_key"));
        std::fs::write(folder.path().join("authorized_keys"), "").unwrap();
        let home = folder.path().join("home");
        std::fs::create_dir(&home).unwrap();
        std::fs::write(home.join(".profile"), PROFILE).unwrap();
        // Where sshd runs as root it wants this folder; the package's own start-up makes it at boot.
        std::fs::create_dir_all("/run/sshd").ok();
        let mut sshd = Self {
            process: None,
            folder,
            namespace: namespace.map(str::to_owned),
            port: free_port(),
        };
        sshd.write_config();
        sshd.launch();
        sshd
    }

    fn write_config(&self) {
        let folder = self.folder.path().display();
        let text = format!(
            "ListenAddress 127.0.0.1\nPort {}\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\n\
             PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin yes\nUseDNS no\nMaxStartups 1000\nMaxSessions 200\nAcceptEnv LANG LC_* MOORLINE_TEST\n\
             SetEnv HOME={folder}/home\nPermitUserRC no\nPrintMotd no\nPrintLastLog no\nLoginGraceTime 600\nSubsystem sftp internal-sftp\nLogLevel INFO\n",
            self.port
        );
        std::fs::write(self.folder.path().join("sshd_config"), text).unwrap();
    }

    /// Starts it again on its port.
    pub fn launch(&mut self) {
        let config = self.folder.path().join("sshd_config");
        let arguments = ["-D", "-e", "-f", config.to_str().unwrap()];
        let command = in_namespace(self.namespace.as_deref(), &sshd_program(), &arguments);
        let mut process = Running::start("sshd", &command, &self.folder.path().join("log"));
        let port = self.port;
        let inside = self.namespace.is_some();
        wait_for("sshd listens", START_LIMIT, || {
            assert!(process.ended().is_none(), "sshd ended: {}", process.log());
            let listens = if inside {
                process.log().contains("Server listening")
            } else {
                TcpStream::connect(("127.0.0.1", port)).is_ok()
            };
            listens.then_some(())
        });
        self.process = Some(process);
    }

    /// Kills it with every connection it holds.
    pub fn kill_all(&mut self) {
        // A session's process is a child of the one that listens and would live on by itself.
        let parent = self.process().id().to_string();
        run(Command::new("pkill").args(["-KILL", "-P", &parent]));
        self.process.take().unwrap().kill();
    }

    /// Starts it again after [`Sshd::kill_all`].
    pub fn restart(&mut self) {
        self.launch();
    }

    /// Kill -9 of the listener; connections that are up stay.
    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Running {
        self.process.as_ref().unwrap()
    }

    /// The file of keys that it lets in.
    #[must_use]
    pub fn authorized_keys(&self) -> PathBuf {
        self.folder.path().join("authorized_keys")
    }

    /// The public half of its host key.
    #[must_use]
    pub fn host_key_file(&self) -> PathBuf {
        self.folder.path().join("host_key.pub")
    }

    /// Its public host key, `type base64`.
    #[must_use]
    pub fn host_key(&self) -> String {
        let text = std::fs::read_to_string(self.host_key_file()).unwrap();
        text.split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Lets `key` in, beside those it lets in already.
    pub fn authorize(&self, key: &KeyPair) {
        let mut text = std::fs::read_to_string(self.authorized_keys()).unwrap();
        text.push_str(&key.public());
        std::fs::write(self.authorized_keys(), text).unwrap();
    }
}

fn sshd_program() -> PathBuf {
    let places = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"];
    let found = places.iter().map(Path::new).find(|path| path.exists());
    found
        .expect("sshd is not installed: run `make setup`")
        .to_path_buf()
}

/// `program` with `arguments`, inside the network namespace when one is named.
pub(crate) fn in_namespace(namespace: Option<&str>, program: &Path, arguments: &[&str]) -> Command {
    let Some(namespace) = namespace else {
        let mut command = Command::new(program);
        command.args(arguments);
        return command;
    };
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", namespace])
        .arg(program)
        .args(arguments);
    command
}

/// The name of the user who runs the tests.
pub(crate) fn me() -> String {
    run(Command::new("id").arg("-un")).ok().trim().to_owned()
}
