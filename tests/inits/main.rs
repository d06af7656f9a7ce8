//! The files of `agent/dist` under the init systems that they are for: systemd on an emulated machine, the others as
//! process 1 of a namespace. `tests/inits/prepare` makes what they stand on.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says that something is wrong by panicking"
)]

mod a_read_only_root_boots_with_systemd;
mod fleet;
mod init_scripts_keep_their_promises;
mod machine;
mod the_unit_is_well_formed;
mod userland;
