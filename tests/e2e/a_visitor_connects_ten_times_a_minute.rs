use std::io::{ErrorKind, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use harness::{Operator, TestDevice, TestServer, wait_for};

/// New connections a minute that one visitor has, until the device's settings say otherwise.
const LIMIT: usize = 10;

/// Longest wait for something that is to come.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the device's sshd says first; empty when the connection is closed without a byte.
fn first_words(mut visitor: TcpStream) -> String {
    visitor.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut words = [0; 4];
    match visitor.read_exact(&mut words) {
        Ok(()) => String::from_utf8_lossy(&words).into_owned(),
        // The second: closed with our connection still in the queue.
        Err(error)
            if [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&error.kind()) =>
        {
            String::new()
        }
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

    // All of them at once: a minute after the first the limit would let in one more.
    let first = wait_for("the public port is open", PATIENCE, || {
        TcpStream::connect(address).ok()
    });
    let others = (1..LIMIT + 2).map(|_| TcpStream::connect(address).unwrap());
    let mut visitors = vec![first];
    visitors.extend(others);
    // Which of them are the last two is for the server to say.
    let mut answers: Vec<String> = visitors.into_iter().map(first_words).collect();
    answers.sort();
    assert_eq!(answers, [&[""; 2][..], &["SSH-"; LIMIT]].concat());
    // The operator's way in is not the visitor's.
    assert!(operator.device("visited").online);

    operator.open_port("visited");
    assert_eq!(first_words(TcpStream::connect(address).unwrap()), "SSH-");
}
