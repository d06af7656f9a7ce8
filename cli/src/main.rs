//! Started.
fn main() {}
