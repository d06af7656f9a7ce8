//! A device's tunnel, held by its client script with stock OpenSSH.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::world::World;

pub(crate) struct Line {
    folder: TempDir,
}

impl Line {
    /// Fetches the script of a device and makes its key.
    pub(crate) async fn of(world: &World<'_>, device: &str) -> Self {
        let line = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        line.fetch(world, device).await;
        line.run("createkeypair").await;
        line
    }

    /// Fetches the script again.
    pub(crate) async fn fetch(&self, world: &World<'_>, device: &str) {
        let script = world
            .bed
            .get("get_client_script", &[("client_id", device)])
            .await;
        std::fs::write(self.script(), script.body).unwrap();
    }

    pub(crate) async fn up(&self) {
        self.run("start").await;
    }

    pub(crate) async fn down(&self) {
        self.run("stop").await;
    }

    fn script(&self) -> PathBuf {
        self.folder.path().join("client.sh")
    }

    async fn run(&self, word: &str) {
        let mut command = Command::new("dash");
        command
            .arg(self.script())
            .arg(word)
            .env("MOORLINE_STATE_DIR", self.folder.path().join("state"))
            .stdin(Stdio::null());
        let status = tokio::task::spawn_blocking(move || command.status().unwrap())
            .await
            .unwrap();
        assert!(status.success(), "{word}: {status}");
    }
}
