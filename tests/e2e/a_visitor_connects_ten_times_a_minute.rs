use std::io::Read;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use harness::{Operator, TestDevice, TestServer, wait_for};

/// New connections a minute that one visitor has, until the device's settings say otherwise.
const LIMIT: usize = 10;

/// What the device's sshd says first; empty when the connection is closed without a byte.
fn first_words(mut visitor: TcpStream) -> String {
    visitor
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut words = [0; 4];
    match visitor.read(&mut words) {
        Ok(count) => String::from_utf8_lossy(&words[..count]).into_owned(),
        // Closed with our connection still in the queue.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => String::new(),
        Err(error) => panic!("read from public port: {error}"),
    }
}

#[test]
fn a_visitor_connects_ten_times_a_minute_and_more_once_the_limit_is_lifted() {
    let server = TestServer::start();
    let operator = Operator::login(&server);
    let _device = TestDevice::enrolled(&server, "visited");
    let port = operator.device("visited").forwards[0].public_port;
    let address = (server.host(), port)
        .to_socket_addrs()
        .unwrap()
        .next()
        .unwrap();

    let first = wait_for("the public port is open", Duration::from_secs(20), || {
        TcpStream::connect(address).ok()
    });
    assert_eq!(first_words(first), "SSH-");
    for _ in 1..LIMIT {
        assert_eq!(first_words(TcpStream::connect(address).unwrap()), "SSH-");
    }
    for _ in 0..2 {
        assert_eq!(first_words(TcpStream::connect(address).unwrap()), "");
    }
    // The operator's way in is not the visitor's.
    assert!(operator.device("visited").online);

    operator.open_port("visited");
    assert_eq!(first_words(TcpStream::connect(address).unwrap()), "SSH-");
}
