use std::path::PathBuf;

use harness::repository;
use serde::Deserialize;

/// An emulated computer: one entry of `cross/targets.toml` that has a `system`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Board {
    pub(crate) name: String,
    triple: String,
    /// What `uname -m` says there.
    pub(crate) machine: String,
    system: Option<System>,
    /// Limit of the agent's resident memory, connected and idle.
    pub(crate) rss_kib: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct System {
    pub(crate) emulator: String,
    pub(crate) arguments: Vec<String>,
    /// Its serial port.
    pub(crate) console: String,
}

#[derive(Deserialize)]
struct Targets {
    target: Vec<Board>,
}

impl Board {
    /// Every board.
    pub(crate) fn all() -> Vec<Self> {
        let text = std::fs::read_to_string(repository().join("cross/targets.toml")).unwrap();
        let mut boards = toml::from_str::<Targets>(&text).unwrap().target;
        boards.retain(|board| board.system.is_some());
        boards
    }

    /// The board called `name`.
    pub(crate) fn named(name: &str) -> Self {
        let found = Self::all().into_iter().find(|board| board.name == name);
        found.unwrap_or_else(|| panic!("there is no board {name}"))
    }

    pub(crate) fn system(&self) -> &System {
        self.system.as_ref().unwrap()
    }

    /// A file that `cross/machines/prepare` left for this board.
    pub(crate) fn prepared(&self, name: &str) -> PathBuf {
        let file = repository()
            .join("target/machines")
            .join(&self.name)
            .join(name);
        assert!(
            file.exists(),
            "{} is missing: run `make machines`",
            file.display()
        );
        file
    }

    /// The agent built for this board.
    pub(crate) fn agent(&self) -> PathBuf {
        let file = repository().join(format!("target/cross/{}/moorline-agent", self.triple));
        assert!(
            file.exists(),
            "{} is not built: run `cross/build {}`",
            file.display(),
            self.name
        );
        file
    }
}
