use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;

use crate::repository;

/// How many targets there are: a list that is read wrongly does not pass for a short one.
const TARGETS: usize = 8;

/// What the tests need of an entry of `cross/targets.toml`.
#[derive(Clone, Debug, Deserialize)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// What Rust calls it.
    pub triple: String,
    /// What `uname -m` says there.
    pub machine: String,
    /// The emulator that runs its programs.
    pub qemu_user: String,
    /// The oldest CPU it must run on.
    pub qemu_cpu: String,
    /// The whole computer that can be emulated, if there is one.
    pub system: Option<System>,
    /// Limit of the agent's resident memory there, connected and idle.
    pub rss_kib: Option<u64>,
}

/// An emulated computer.
#[derive(Clone, Debug, Deserialize)]
pub struct System {
    /// The emulator.
    pub emulator: String,
    /// What it is told.
    pub arguments: Vec<String>,
    /// Its serial port.
    pub console: String,
}

#[derive(Deserialize)]
struct List {
    target: Vec<Target>,
}

impl Target {
    /// Every target, in the order of the list.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let path = repository().join("cross/targets.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let list: List =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let distinct: BTreeSet<&str> = list.target.iter().map(|it| it.triple.as_str()).collect();
        assert_eq!((list.target.len(), distinct.len()), (TARGETS, TARGETS));
        list.target
    }

    /// The agent built for it.
    #[must_use]
    pub fn agent(&self) -> PathBuf {
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
