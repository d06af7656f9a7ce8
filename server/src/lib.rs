//! Moorline's server: registry, API, SSH gateway and forwarding in one binary.

pub mod forward;
pub mod gateway;
pub mod master_key;
pub mod passwords;
pub mod presence;
pub mod private_file;
pub mod recent;
mod random;
pub mod registry;
pub mod tunnels;
