use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use harness::{DeviceOptions, Operator, TestDevice, TestServer, wait_for};
use nix::sys::signal::Signal;

/// What is promised: from the connect of the second connection until `ssh` is served through it.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(1);
/// A takeover is a start on a port that is taken. On a machine too slow for the promise it may take so many times what
/// a start takes there on a port that is free; the silence after which the server gives a tunnel up is longer still.
const STARTS: u32 = 2;
/// So often it is tried, and once within the limit is enough: a busy machine can spoil the others.
const TIMES: usize = 3;
/// Longest wait of one visitor for the first words, at first and at last.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Longest until `ssh` is served at all.
const SERVED_LIMIT: Duration = Duration::from_secs(300);

fn serves_ssh(port: u16, patience: Duration) -> bool {
    let address = ([127, 0, 0, 1], port).into();
    let Ok(mut visitor) = TcpStream::connect_timeout(&address, patience) else {
        return false;
    };
    visitor.set_read_timeout(Some(patience)).unwrap();
    let mut greeting = [0; 8];
    visitor.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-2.0-"
}

/// Waits until `ssh` is served, with more patience at every look.
fn wait_served(port: u16) {
    let (mut patience, longest) = PATIENCE;
    wait_for("ssh is served", SERVED_LIMIT, || {
        let served = serves_ssh(port, patience);
        patience = longest.min(patience * 5 / 4);
        served.then_some(())
    });
}

/// Switches `device` on; tells how long it takes until `ssh` is served.
fn switch_on(device: &mut TestDevice, port: u16) -> Duration {
    let started = Instant::now();
    device.launch();
    wait_served(port);
    started.elapsed()
}

#[test]
fn a_second_connection_serves_ssh_while_the_first_is_frozen() {
    let server = TestServer::start();
    let operator = Operator::login(&server);
    let key = server.full_key("factory");
    let options = DeviceOptions {
        name: Some("frozen".into()),
        ..DeviceOptions::default()
    };
    let mut first = TestDevice::new(&server, &key, options);
    first.launch();
    operator.wait_online("frozen", None);
    operator.open_port("frozen");
    let port = operator.device("frozen").forwards[0].public_port;
    wait_served(port);
    first.stop();
    operator.wait_offline("frozen");
    let plain = switch_on(&mut first, port);

    let mut devices = vec![first];
    let mut took = Vec::new();
    for _ in 0..TIMES {
        let before = operator.generation("frozen").unwrap();
        // The first agent stands still; its connection is open and says nothing. The second has the same identity.
        let first = devices.last_mut().unwrap();
        first.process().signal(Signal::SIGSTOP);
        assert!(
            !serves_ssh(port, PATIENCE.0),
            "a stopped agent serves nobody"
        );
        let mut second = first.cloned(&server, &key);
        took.push(switch_on(&mut second, port));
        let after = operator.generation("frozen").unwrap();
        assert!(after > before, "generation {after} after {before}");

        // What the first one says when it wakes changes nothing: the second is the one that is served.
        second.assert_alive();
        assert_eq!(operator.device("frozen").forwards[0].public_port, port);
        wait_served(port);
        devices.push(second);
    }
    let limit = TAKEOVER_LIMIT.max(plain * STARTS);
    let best = took.iter().min().unwrap();
    assert!(best < &limit, "takeovers took {took:?}, a start {plain:?}");
}
