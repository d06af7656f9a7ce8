//! Moorline's server: registry, API, SSH gateway and forwarding in one binary.

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
