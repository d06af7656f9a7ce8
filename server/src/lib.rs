//! Moorline's server: registry, API, SSH gateway and forwarding in one binary.

pub mod admin;
pub mod master_key;
pub mod passwords;
pub mod private_file;
mod random;
pub mod registry;
