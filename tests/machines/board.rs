use std::path::PathBuf;

use harness::{System, Target, repository};

/// An emulated computer: a target that has a `system`.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    pub(crate) target: Target,
    pub(crate) system: System,
}

impl Board {
    /// Every board.
    pub(crate) fn all() -> Vec<Self> {
        let targets = Target::all().into_iter();
        targets
            .filter_map(|target| {
                let system = target.system.clone()?;
                Some(Self { target, system })
            })
            .collect()
    }

    /// The board called `name`.
    pub(crate) fn named(name: &str) -> Self {
        let mut boards = Self::all().into_iter();
        let found = boards.find(|board| board.name() == name);
        found.unwrap_or_else(|| panic!("there is no board {name}"))
    }

    pub(crate) fn name(&self) -> &str {
        &self.target.name
    }

    /// A file that `cross/machines/prepare` left for this board.
    pub(crate) fn prepared(&self, name: &str) -> PathBuf {
        let file = repository()
            .join("target/machines")
            .join(self.name())
            .join(name);
        assert!(
            file.exists(),
            "{} is missing: run `make machines`",
            file.display()
        );
        file
    }
}
