//! The commands, one file per noun.

pub(crate) mod api_key;
pub(crate) mod audit;
pub(crate) mod completions;
pub(crate) mod device;
pub(crate) mod host;
pub(crate) mod key;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod profile;
pub(crate) mod ssh;
pub(crate) mod ssh_config;
pub(crate) mod task;
pub(crate) mod version;
pub(crate) mod whoami;
