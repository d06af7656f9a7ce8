//! Moorline's server: registry, API, SSH gateway and forwarding in one binary.

pub mod registry;
