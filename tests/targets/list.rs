use std::collections::BTreeSet;
use std::path::PathBuf;

use harness::repository;
use serde::Deserialize;

/// How many targets there are: a list that is read wrongly does not pass for a short one.
const TARGETS: usize = 8;

/// What the tests need of an entry of cross/targets.toml.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) triple: String,
    /// What `uname -m` says there.
    pub(crate) machine: String,
    qemu_user: String,
    qemu_cpu: String,
}

#[derive(Debug, Deserialize)]
struct List {
    target: Vec<Target>,
}

/// All of them, each with its binary built.
pub(crate) fn targets() -> Vec<Target> {
    let targets = read_list();
    let missing = targets.iter().filter(|target| !target.binary().exists());
    let missing: Vec<&str> = missing.map(|target| target.name.as_str()).collect();
    assert!(
        missing.is_empty(),
        "there is no target/cross/…/moorline-agent for {missing:?}: run `make cross`"
    );
    targets
}

fn read_list() -> Vec<Target> {
    let path = repository().join("cross/targets.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let list: List =
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let distinct: BTreeSet<&str> = list.target.iter().map(|it| it.triple.as_str()).collect();
    assert_eq!((list.target.len(), distinct.len()), (TARGETS, TARGETS));
    list.target
}

impl Target {
    /// The agent as built for this target.
    pub(crate) fn binary(&self) -> PathBuf {
        repository()
            .join("target/cross")
            .join(&self.triple)
            .join("moorline-agent")
    }

    /// The words of the command that runs it on the oldest CPU it must run on.
    pub(crate) fn emulated(&self) -> Vec<String> {
        let binary = self.binary().into_os_string().into_string().unwrap();
        assert!(
            on_path(&self.qemu_user),
            "{} is not installed: run `make setup`",
            self.qemu_user
        );
        vec![
            self.qemu_user.clone(),
            "-cpu".into(),
            self.qemu_cpu.clone(),
            binary,
        ]
    }
}

fn on_path(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).exists())
}
