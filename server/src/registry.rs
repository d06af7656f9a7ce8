//! Devices, keys, users, API clients, nodes, events: domain types in and out, the only SQL in the repository.
//!
//! | module | holds |
//! |---|---|
//! | [`model`] | the domain as it is handed out |
//! | [`error`] | what can go wrong, one enum per family of operations |
//! | `store`, `migrations`, `entity` | connections, schema, rows |
//! | `accounts`, `users`, `user_changes`, `user_keys`, `api_clients`, `nodes`, `events` | one noun each |
//! | `devices`, `device_changes`, `presence` | finding, changing and last signs of life of devices |
//! | `hosts`, `egress`, `bindings` | users' machines, and how their traffic leaves |
//! | `login_failures` | wrong passwords, counted |
//! | `host_orders`, `host_changes`, `host_views`, `tasks` | making, changing and finding them, and the work on them |
//! | `one_time_passwords`, `host_checks` | ways in to a host for one login; keeping the status of hosts true |
//! | `renewal` | new public ports for a device |
//! | `operator_sessions` | who reached what |
//! | `creation`, `first_forward`, `ports` | making devices in batches, and the public ports they get |
//! | `sessions`, `clients`, `link_clicks`, `binding_tokens` | what the clients of the Openport surface have |
//! | `keyed_devices` | making devices from their key alone |
//! | `open_sessions`, `listed_clicks` | what the Openport surface lists |
//! | `device_forwards`, `http_names` | forwards that operators add, and where HTTP names lead |
//! | [`snapshot`] | the whole database as one file, and back |
//! | [`rotation`] | everything that is sealed, from one master key to another |
//!
//! *Invariant:* nothing here knows of HTTP or SSH.
//!
//! *Invariant:* secrets stand in the database sealed under the master key or hashed, never in clear.

mod accounts;
mod api_clients;
mod binding_tokens;
mod bindings;
mod clients;
mod creation;
mod device_changes;
mod device_forwards;
mod devices;
mod egress;
#[expect(
    unreachable_pub,
    reason = "derived items have the visibility of the row, which has to be public"
)]
mod entity;
pub mod error;
mod events;
mod first_forward;
mod host_changes;
mod host_checks;
mod host_orders;
mod host_views;
mod hosts;
mod http_names;
mod keyed_devices;
mod link_clicks;
mod listed_clicks;
mod login_failures;
mod migrations;
pub mod model;
mod nodes;
mod one_time_passwords;
mod open_sessions;
mod operator_sessions;
#[cfg(test)]
mod plans;
mod ports;
mod presence;
mod public_key;
mod renewal;
pub mod rotation;
mod sessions;
pub mod snapshot;
mod store;
mod tasks;
mod timestamp;
mod user_changes;
mod user_keys;
mod users;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::master_key::{Candidates, KeyFile};
pub use clients::{ClientIdentity, Linked, NewClient};
pub use device_changes::Meant;
pub use device_forwards::MAX_FORWARDS;
use error::{Attempt as _, RegistryError};
pub use host_views::HostsOf;
pub use public_key::InvalidKey;
pub use sessions::{MAX_SESSIONS, Restart, Session, SessionEnd, SessionWish};
use store::Store;
pub use timestamp::InvalidTime;

/// Everything that is kept. Clones share one store; the last of them ends the task that writes devices.
#[derive(Clone, Debug)]
pub struct Registry {
    store: Arc<Store>,
    creations: mpsc::Sender<creation::Call>,
    _writer: Arc<JoinSet<()>>,
}

impl Registry {
    /// Opens `sqlite:///path/moorline.db?mode=rwc` or `postgres://…` and brings its schema up to date. Several
    /// processes may have one database open. Of several keys the one is taken that the database is under.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn open(url: &str, keys: impl Into<Candidates>) -> Result<Self, RegistryError> {
        let store = Arc::new(Store::open(url, &keys.into()).await?);
        let (creations, writer) = creation::start(Arc::clone(&store));
        Ok(Self {
            store,
            creations,
            _writer: Arc::new(writer),
        })
    }

    /// Which of the keys it was opened with is that of the database.
    #[must_use]
    pub fn key_file(&self) -> KeyFile {
        self.store.key_file
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn ping(&self) -> Result<(), RegistryError> {
        self.store.read.ping().await.attempt("ping database")
    }
}

/// Whether a text can be in a database: PostgreSQL refuses a NUL even in a look-up, so what has one is not there.
fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}

/// Names are compared in this form: case does not count.
fn folded(name: &str) -> String {
    name.to_lowercase()
}
