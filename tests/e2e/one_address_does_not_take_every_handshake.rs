use std::net::TcpStream;

use harness::{Ssh, eventually};

use crate::station::Station;

/// More than the server lets log in at once, from all addresses together.
const HALF_OPEN: usize = 700;

#[test]
fn one_address_does_not_take_every_handshake() {
    let station = Station::with_device("crowded");
    let address = (station.server.host(), station.server.ssh_port());
    // They say nothing, and are kept for as long as the server bears it.
    let silent: Vec<TcpStream> = (0..HALF_OPEN)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let from_elsewhere: Ssh = station.by_name("crowded").option("BindAddress=127.0.4.1");
    assert_eq!(from_elsewhere.run("echo in").ok(), "in\n");
    drop(silent);
    // Where they came from, others get in again.
    eventually("the address is served again", || {
        station.by_name("crowded").run("true").code == 0
    });
}
