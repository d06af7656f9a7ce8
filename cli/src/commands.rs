//! The commands, one file per noun.

pub(crate) mod api_client;
pub(crate) mod api_key;
pub(crate) mod change_password;
pub(crate) mod completions;
pub(crate) mod device;
pub(crate) mod egress;
pub(crate) mod event;
pub(crate) mod expose;
pub(crate) mod forward;
pub(crate) mod host;
pub(crate) mod key;
pub(crate) mod key_binding;
pub(crate) mod link;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod node;
pub(crate) mod profile;
pub(crate) mod session;
pub(crate) mod ssh;
pub(crate) mod ssh_config;
pub(crate) mod task;
pub(crate) mod user;
pub(crate) mod version;
pub(crate) mod whoami;
