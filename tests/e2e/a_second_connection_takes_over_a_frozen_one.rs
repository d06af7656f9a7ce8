use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use harness::{DeviceOptions, Operator, TestDevice, TestServer, wait_for};
use nix::sys::signal::Signal;

/// What is promised: from the connect of the second connection until `ssh` is served through it.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(1);

fn serves_ssh(port: u16) -> bool {
    let address = ([127, 0, 0, 1], port).into();
    let Ok(mut visitor) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) else {
        return false;
    };
    visitor
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut greeting = [0; 8];
    visitor.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-2.0-"
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
    let before = operator.wait_online("frozen", None);
    operator.open_port("frozen");
    let port = operator.device("frozen").forwards[0].public_port;
    wait_for("ssh is served", Duration::from_secs(20), || {
        serves_ssh(port).then_some(())
    });

    // The first agent stands still; its connection is open and says nothing. The second has the same identity.
    first.process().signal(Signal::SIGSTOP);
    assert!(!serves_ssh(port), "a stopped agent serves nobody");
    let mut second = first.cloned(&server, &key);
    let started = Instant::now();
    second.launch();
    wait_for("the second serves ssh", Duration::from_secs(20), || {
        serves_ssh(port).then_some(())
    });
    let took = started.elapsed();
    let after = operator.generation("frozen").unwrap();
    assert!(after > before, "generation {after} after {before}");
    assert!(took < TAKEOVER_LIMIT, "the takeover took {took:?}");

    // What the first one says when it wakes changes nothing: the second is the one that is served.
    second.assert_alive();
    assert_eq!(operator.device("frozen").forwards[0].public_port, port);
    assert!(serves_ssh(port));
}
