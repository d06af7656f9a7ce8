//! Profiles: the servers this operator logs in to, and what is remembered of each.
//!
//! ```text
//! <config folder>/current                 name of the profile in use
//! <config folder>/profiles/NAME/profile.toml, token, known_hosts
//! <config folder>/ssh/NAME.conf           written by `moorline ssh-config`
//! ```
//!
//! *Invariant:* no password is ever kept; the token is in a file of its own, mode 0600.

mod name;
mod store;
mod trust;

pub(crate) use name::ProfileName;
pub(crate) use store::{Store, Token};
pub(crate) use trust::{Pin, Trust};

use std::path::PathBuf;

use moorline_protocol::operator::GatewayInfo;
use serde::{Deserialize, Serialize};

/// What is remembered of a server, without the token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Profile {
    /// Base URL of the server, without a slash at its end.
    pub(crate) url: String,
    /// Who logged in.
    pub(crate) username: String,
    /// `admin` or `user`, as the server said at login.
    pub(crate) role: String,
    /// The short id of that user.
    #[serde(default)]
    pub(crate) short_id: String,
    /// Private keys whose public halves were added from this machine; ssh is told to try them.
    #[serde(default)]
    pub(crate) identities: Vec<PathBuf>,
    /// Whose certificates are believed.
    #[serde(default)]
    pub(crate) trust: Trust,
    /// Where the SSH gateway is, with the host key that is believed from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gateway: Option<GatewayInfo>,
}
