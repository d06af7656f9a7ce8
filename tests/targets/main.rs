//! Every target of cross/targets.toml: what its binary is made of, and that it does a device's work on the oldest CPU
//! of its class, emulated in user mode, against a live server.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says that something is wrong by panicking"
)]

mod elf;
mod every_binary_fits_its_machine;
mod every_target_does_a_devices_work;
