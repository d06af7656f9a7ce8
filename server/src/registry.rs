//! Devices, keys, users, API clients, nodes, events: domain types in and out, the only SQL in the repository.
//!
//! | module | holds |
//! |---|---|
//! | [`model`] | the domain as it is handed out |
//! | [`error`] | what can go wrong, one enum per family of operations |
//! | `store`, `migrations`, `entity` | connections, schema, rows |
//! | `accounts`, `users`, `api_clients`, `nodes`, `events` | one noun each |
//! | `devices`, `device_changes`, `presence` | finding, changing and last signs of life of devices |
//! | `creation`, `first_forward`, `ports` | making devices in batches, and the public ports they get |
//! | `device_forwards`, `http_names` | forwards that operators add, and where HTTP names lead |
//! | `sessions` | forwards as sessions of the Openport surface |
//!
//! *Invariant:* nothing here knows of HTTP or SSH.
//!
//! *Invariant:* secrets stand in the database sealed under the master key or hashed, never in clear.

mod accounts;
mod api_clients;
mod creation;
mod device_changes;
mod device_forwards;
mod devices;
#[expect(
    unreachable_pub,
    reason = "derived items have the visibility of the row, which has to be public"
)]
mod entity;
pub mod error;
mod events;
mod first_forward;
mod http_names;
mod migrations;
pub mod model;
mod nodes;
mod ports;
mod presence;
mod public_key;
mod sessions;
mod store;
mod timestamp;
mod users;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::master_key::MasterKey;
pub use device_forwards::MAX_FORWARDS;
use error::{Attempt as _, RegistryError};
pub use public_key::InvalidKey;
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
    /// processes may have one database open.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn open(url: &str, keys: MasterKey) -> Result<Self, RegistryError> {
        let store = Arc::new(Store::open(url, keys).await?);
        let (creations, writer) = creation::start(Arc::clone(&store));
        Ok(Self {
            store,
            creations,
            _writer: Arc::new(writer),
        })
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn ping(&self) -> Result<(), RegistryError> {
        self.store.read.ping().await.attempt("ping database")
    }
}

/// Names are compared in this form: case does not count.
fn folded(name: &str) -> String {
    name.to_lowercase()
}
