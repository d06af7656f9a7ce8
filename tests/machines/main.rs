//! Moorline's stories on whole emulated devices: Debian's kernels, busybox, dropbear, and the agent as an image
//! installs it. `make machines` puts together what they boot.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says that something is wrong by panicking"
)]

mod board;
mod boot;
mod device;
mod memory;
mod yard;

mod a_clock_at_1970_does_not_keep_a_device_away;
mod a_device_is_reached_by_name_and_keeps_its_identity;
mod a_full_disk_delays_enrolment;
mod a_power_cut_at_any_moment_makes_one_device;
mod a_read_only_root_keeps_its_data_apart;
mod the_link_goes_down_and_comes_back;
