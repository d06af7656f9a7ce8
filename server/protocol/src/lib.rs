//! What the agent, the CLI and the server say to each other.
//!
//! | module | holds |
//! |---|---|
//! | [`provisioning`] | codes and answers of the provisioning calls (`contract/provisioning.md`) |
//! | [`script`] | the constants block of the client script: read and written here |
//! | [`control`] | messages on the `moorline` channel of a tunnel |
//! | [`flow`] | credits: how one slow reader is kept from stalling a tunnel |
//! | [`audit`] | the log of operators' sessions |
//! | [`operator`] | JSON that the CLI exchanges with the server |
//! | [`apiclients`] | JSON of API clients and their keys (`contract/apiclients.md`) |
//! | [`scope`] | scopes of an API key |
//! | [`secret`] | a wrapper for values that must never be printed |
//!
//! *Invariant:* no I/O, no clock, no randomness; everything here is data and pure functions.

pub mod apiclients;
pub mod audit;
pub mod control;
pub mod flow;
pub mod operator;
pub mod provisioning;
pub mod scope;
pub mod script;
pub mod secret;

pub use secret::Secret;
