//! `moorline-server`.

fn main() {}
