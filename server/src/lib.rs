//! Moorline's server: registry, API, SSH gateway and forwarding in one binary.
//!
//! | module | holds |
//! |---|---|
//! | [`serve`] | the parts put together, run, and ended in order |
//! | [`config`] | what was typed, and what it means |
//! | [`registry`] | everything that is kept: domain types in and out, the only SQL |
//! | [`tunnels`] | the live table device -> tunnel; the only way to a device |
//! | [`api`] | HTTP: one folder per surface |
//! | [`http`], [`tls`] | the listener below it, and its certificates |
//! | [`gateway`] | SSH: devices bring tunnels, people log in |
//! | [`forward`], [`websocket`] | public ports and HTTP names; tunnels over WebSocket |
//! | `proxy` | HTTP passed on to a service on a device |
//! | [`hosts`] | the work on users' hosts |
//! | [`live_sessions`], [`recording`] | logins that last, and what is recorded of them |
//! | [`presence`], [`expiry`], [`lapse`], [`retention`] | what happens by itself: written down, over, unused, old |
//! | [`login_limits`], [`rate_limit`], [`recent`] | who may try how often |
//! | [`passwords`], [`master_key`], [`ssh_identity`], [`private_file`], `random` | secrets: made, kept and compared |
//! | [`admin`], [`backup`] | the commands on the data folder |
//!
//! *Invariant:* SQL stands in [`registry`] alone, and `russh` is named in [`gateway`] alone.

pub mod admin;
pub mod api;
pub mod backup;
pub mod config;
pub mod expiry;
pub mod forward;
pub mod gateway;
pub mod hosts;
pub mod http;
pub mod lapse;
pub mod live_sessions;
pub mod login_limits;
pub mod master_key;
pub mod passwords;
pub mod presence;
pub mod private_file;
mod proxy;
mod random;
pub mod rate_limit;
pub mod recent;
pub mod recording;
pub mod registry;
pub mod retention;
pub mod serve;
pub mod ssh_identity;
pub mod tls;
pub mod tunnels;
pub mod websocket;
