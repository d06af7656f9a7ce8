//! A PostgreSQL server of the test's own: private folder, unix socket, no TCP.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Uid, User, chown};
use tempfile::TempDir;

/// Who runs the server when the test runs as root, which initdb refuses.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// A server that goes with its handle.
pub struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    user: Option<String>,
}

impl Postgres {
    /// Starts one, empty.
    #[must_use]
    pub fn start() -> Self {
        let programs = programs().expect(
            "PostgreSQL is missing: neither PATH nor /usr/lib/postgresql/*/bin has initdb and pg_ctl; \
             install the Debian package postgresql",
        );
        // Short, since the path of a socket may have 107 bytes, and where another user may go, whatever TMPDIR is.
        let folder = tempfile::Builder::new().prefix("mlpg").tempdir_in("/tmp");
        let folder = folder.unwrap();
        let user = unprivileged(folder.path());
        let server = Self {
            programs,
            folder,
            user,
        };
        server.run(
            "initdb",
            &[
                "--no-sync",
                "--no-locale",
                "-E",
                "UTF8",
                "-A",
                "trust",
                "-U",
                "moorline",
            ],
        );
        let options = format!(
            "-c listen_addresses= -c fsync=off -c unix_socket_directories={}",
            server.folder.path().display()
        );
        let log = server.folder.path().join("log");
        let log = log.to_str().unwrap();
        server.run(
            "pg_ctl",
            &["start", "-w", "-t", "300", "-l", log, "-o", &options],
        );
        server
    }

    /// Where its socket is.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// For a registry of its own.
    #[must_use]
    pub fn url(&self) -> String {
        let folder = self.socket_folder().display();
        format!("postgres://moorline@localhost/postgres?host={folder}")
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let status = self.command(program, arguments).status().unwrap();
        assert!(status.success(), "{program} {arguments:?}: {status}");
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let program = self.programs.join(program);
        let mut command = match &self.user {
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .args(arguments)
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .current_dir("/")
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null());
        // What the user's own clients are told is no affair of this server.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let stopped = self
            .command("pg_ctl", &["stop", "-m", "immediate", "-w"])
            .status();
        assert!(stopped.is_ok_and(|status| status.success()), "pg_ctl stop");
    }
}

/// The folder of the newest PostgreSQL there is.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    folders.sort();
    folders.reverse();
    folders.extend(std::env::split_paths(&path));
    folders.push("/usr/local/bin".into());
    folders.into_iter().find(|folder| {
        ["initdb", "pg_ctl"]
            .iter()
            .all(|program| folder.join(program).exists())
    })
}

/// Gives the folder to an unprivileged user if this process is root.
fn unprivileged(folder: &Path) -> Option<String> {
    if !Uid::effective().is_root() {
        return None;
    }
    let user = UNPRIVILEGED
        .into_iter()
        .find_map(|name| User::from_name(name).unwrap())
        .expect("neither a user postgres nor a user nobody exists to run PostgreSQL as");
    chown(folder, Some(user.uid), Some(user.gid)).unwrap();
    Some(user.name)
}
