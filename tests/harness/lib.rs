//! What the stories stand on: real servers, agents, sshds and networks that live as long as their handle.
//!
//! | module | gives |
//! |---|---|
//! | `wait` | [`wait_for`]: a condition in place of a sleep |
//! | `ports` | [`free_port`]: a port that no other test is given |
//! | `process` | [`Running`]: a child with its log, gone with its handle |
//! | `server` | [`TestServer`]: `moorline-server serve` in a folder of its own |
//! | `device` | [`TestDevice`]: the real agent in front of a real [`Sshd`] |
//! | `postgres` | [`Postgres`]: a PostgreSQL server on a socket of its own |
//! | `sshd` | [`Sshd`]: OpenSSH's server with its own keys and configuration |
//! | `api` | [`Api`]: the provisioning calls as a client sees them |
//! | `operator` | [`Operator`]: the administrator on the control surface |
//! | `browser` | [`Browser`]: Chromium, led by the story |
//! | `ssh` | [`Ssh`]: stock `ssh` with nothing of the machine's own configuration |
//! | `front` | [`Front`]: a port that can turn into a captive portal or a proxy |
//! | `authority` | [`Authority`]: certificates of an authority that nobody else knows |
//! | `target` | [`Target`]: an entry of `cross/targets.toml` |
//! | `disk` | [`Disk`]: a file system that can be full or read-only |
//! | `net` | [`Network`]: two hosts in network namespaces with a link that can fail |
//!
//! *Invariant:* every port is free or chosen by the kernel, every folder temporary, every wait bounded, and no process
//! outlives the test that started it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says that something is wrong by panicking"
)]

mod api;
mod authority;
mod browser;
mod device;
mod disk;
mod front;
mod net;
mod operator;
mod ports;
mod postgres;
mod process;
mod server;
mod ssh;
mod sshd;
mod target;
mod wait;

pub use api::{Answer, Api};
pub use authority::Authority;
pub use browser::{Browser, Page};
pub use device::{DeviceOptions, TestDevice};
pub use disk::Disk;
pub use front::{Front, Way};
pub use net::{Network, SERVER_ADDRESS, SERVER_NAME};
pub use operator::Operator;
pub use ports::{free_port, free_ports};
pub use postgres::Postgres;
pub use process::{Done, Running, binary, repository, run, run_with_input, run_within};
pub use server::{ADMIN_PASSWORD, ADMIN_USER, Https, ServerOptions, TestServer};
pub use ssh::{KeyPair, Ssh};
pub use sshd::Sshd;
pub use target::{System, Target};
pub use wait::{eventually, wait_for};
