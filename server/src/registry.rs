//! Devices, keys, users, API clients, nodes, events: domain types in and out, the only SQL in the repository.
//!
//! *Invariant:* nothing here knows of HTTP or SSH.

pub mod model;
