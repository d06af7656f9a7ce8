use std::time::{Duration, Instant};

use crate::board::Board;
use crate::boot::say;
use crate::yard::Yard;

/// What the product promises: the tunnel is back that soon after the link.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// On a machine too slow for the promise it may take such a part of the whole boot.
const PART: u32 = 2;
/// The link goes down so often. One time within the promise is enough: a busy machine can spoil the others.
const TIMES: usize = 3;

#[test]
fn the_link_goes_down_and_comes_back_and_so_does_the_tunnel() {
    let yard = Yard::open();
    let mut device = yard.device("link", &Board::named("aarch64"));
    let began = Instant::now();
    let mut boot = device.boot();
    let name = "link-000001";
    let mut tunnel = yard.operator.wait_online(name, None);
    let whole = began.elapsed();
    let mut took = Vec::new();
    for _ in 0..TIMES {
        let before = boot.shown("tunnel is down");
        boot.set_link(false);
        // The agent sees the link go and finds its tunnel dead.
        boot.wait_shown("tunnel is down", before);
        let up_again = Instant::now();
        boot.set_link(true);
        tunnel = yard.operator.wait_online(name, Some(tunnel));
        took.push(up_again.elapsed());
        assert_eq!(yard.ssh(name).run("uname -m").ok(), "aarch64\n");
    }
    say(&format!("link up to tunnel up: {took:.2?}\n"));
    let limit = BACK_WITHIN.max(whole / PART);
    assert!(took.iter().min().unwrap() <= &limit, "{took:?}, {limit:?}");
    assert_eq!(yard.clients(""), [name]);
    boot.cut();
}
