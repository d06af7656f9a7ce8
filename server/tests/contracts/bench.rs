//! A data folder with a registry in it, and the program run on it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use moorline_server::config::sqlite_url;
use moorline_server::master_key::MasterKey;
use moorline_server::registry::Registry;
use sea_orm::{ConnectionTrait as _, Database};
use tempfile::TempDir;

/// How long connections may take to close.
const CLOSING: Duration = Duration::from_secs(120);

/// Where databases are made.
pub(crate) enum Place {
    Sqlite,
    /// Folder of the server's socket.
    Server(PathBuf),
}

pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) url: String,
    sqlite: bool,
}

/// What a run of the program left behind.
pub(crate) struct Done {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    pub(crate) fn ok(self) -> String {
        assert!(self.success, "{}", self.stderr);
        self.stdout
    }

    /// What it said when it failed.
    pub(crate) fn refused(self) -> String {
        assert!(!self.success && self.stdout.is_empty(), "{}", self.stdout);
        self.stderr
    }
}

impl Bench {
    pub(crate) async fn make(place: &Place, story: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        let url = match place {
            Place::Sqlite => sqlite_url(&data),
            Place::Server(socket) => {
                let name: String = story.chars().take(60).collect();
                let server = |database: &str| {
                    let socket = socket.display();
                    format!("postgres://moorline@localhost/{database}?host={socket}")
                };
                let admin = Database::connect(server("postgres")).await.unwrap();
                let create = format!("CREATE DATABASE {name}");
                admin.execute_unprepared(&create).await.unwrap();
                server(&name)
            }
        };
        let bench = Self {
            folder,
            url,
            sqlite: matches!(place, Place::Sqlite),
        };
        bench.configure(&bench.url);
        bench.add_account("first").await;
        bench
    }

    pub(crate) fn configure(&self, url: &str) {
        let text = format!("[database]\nurl = \"{url}\"\n");
        fs::write(self.folder.path().join("server.toml"), text).unwrap();
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder that [`Bench::backup`] writes to.
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.folder.path().join("snapshots")
    }

    pub(crate) fn extension(&self) -> &'static str {
        if self.sqlite { "db" } else { "dump" }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.sqlite
    }

    pub(crate) async fn registry(&self) -> Registry {
        let keys = MasterKey::read_or_create(&self.data().join("master.key")).unwrap();
        Registry::open(&self.url, keys).await.unwrap()
    }

    pub(crate) async fn add_account(&self, name: &str) {
        let registry = self.registry().await;
        registry.create_account(name).await.unwrap();
    }

    pub(crate) async fn has_account(&self, name: &str) -> bool {
        let registry = self.registry().await;
        registry.account_by_name(name).await.unwrap().is_some()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_moorline-server"));
        command
            .args(words)
            .arg("--data-dir")
            .arg(self.data())
            .arg("--config")
            .arg(self.folder.path().join("server.toml"))
            .env("BACKUP_DIR", self.snapshots())
            .env_remove("RETENTION_DAYS")
            .env_remove("DB_NAME");
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Done {
        done(&mut self.command(words))
    }

    /// Takes a snapshot; tells where it is.
    pub(crate) fn backup(&self, words: &[&str]) -> PathBuf {
        let text = self.run(&[&["backup", "--json"], words].concat()).ok();
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        let path = PathBuf::from(answer["path"].as_str().unwrap());
        let found = fs::metadata(&path).unwrap();
        assert_eq!(answer["bytes"].as_u64(), Some(found.len()));
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        path
    }

    /// Puts one back; tells what was kept.
    pub(crate) fn restore(&self, file: &Path) -> Option<String> {
        let words = ["restore", "--json", file.to_str().unwrap()];
        let end = Instant::now() + CLOSING;
        let mut done = self.run(&words);
        // Connections of a registry that was dropped close by themselves.
        while done.stderr.contains("is in use") && Instant::now() < end {
            done = self.run(&words);
        }
        let text = done.ok();
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        answer["kept"].as_str().map(ToOwned::to_owned)
    }

    /// Tries to put one back.
    pub(crate) fn refused(&self, file: &Path) -> String {
        self.run(&["restore", file.to_str().unwrap()]).refused()
    }

    /// Names in the folder of the snapshots.
    pub(crate) fn files(&self) -> Vec<String> {
        names(&self.snapshots())
    }

    pub(crate) async fn sql(&self, statement: &str) {
        let database = Database::connect(self.url.as_str()).await.unwrap();
        database.execute_unprepared(statement).await.unwrap();
        database.close().await.unwrap();
    }
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(crate) fn done(command: &mut Command) -> Done {
    let output = command.output().unwrap();
    Done {
        success: output.status.success(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
