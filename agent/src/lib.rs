//! The device-side program of Moorline: enrols itself at first boot, keeps its identity and holds a reverse SSH
//! tunnel to its node for the life of the device.
//!
//! | module | holds |
//! |---|---|
//! | [`cli`] | commands and exit codes |
//! | [`config`] | settings: file, kernel command line, environment |
//! | [`state`] | the state folder and its durable writes |
//! | [`device_key`] | the key pair that is the device's identity |
//! | [`enrol`] | the steps of first boot |
//! | [`api`] | client of the provisioning calls |
//! | [`provision`] | what the client script says |
//! | [`clock`] | the clock floor |
//! | [`agent`] | `run`: enrol, then hold the tunnel for ever |
//! | [`reconnect`] | when to try again; pure |
//! | [`tunnel`] | one SSH connection, its streams and its keepalive |
//! | [`wakeups`] | link, address and sleep events of the kernel |
//! | [`inventory`] | what the device tells about itself |
//! | [`gateway_key`] | the gateway's key in `authorized_keys`, where wanted |
//! | [`status`] | what the running agent shows |
//! | `supervisor` | what systemd hears |
//! | [`doctor`] | says in plain words what is wrong |
//!
//! *Invariant:* one thread, no unsafe code, no 64-bit atomics (32-bit MIPS has none).
//! *Invariant:* the client script is read as data and never executed.

pub mod agent;
pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod device_key;
pub mod doctor;
pub mod enrol;
mod fault;
pub mod gateway_key;
pub mod inventory;
pub mod provision;
pub mod reconnect;
pub mod state;
pub mod status;
mod supervisor;
pub mod tunnel;
pub mod wakeups;
