use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use harness::{DeviceOptions, Operator, TestDevice, TestServer, wait_for};

/// Visitors that ask for bytes and never read them.
const STALLED: usize = 3;

/// On the device: `B` asks for bytes without end, anything else comes back as it was.
fn service() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((visitor, _)) = listener.accept() {
            std::thread::spawn(move || serve(visitor));
        }
    });
    port
}

fn serve(mut visitor: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = visitor.read(&mut buffer) {
        if buffer[0] == b'B' {
            let block = [b'x'; 16 * 1024];
            while visitor.write_all(&block).is_ok() {}
            return;
        }
        if visitor.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

fn visit(port: u16) -> TcpStream {
    // The device is online a moment before its forward is granted.
    let visitor = wait_for("the public port is open", Duration::from_secs(120), || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    visitor
        .set_read_timeout(Some(Duration::from_secs(120)))
        .unwrap();
    visitor.set_nodelay(true).unwrap();
    visitor
}

#[test]
fn visitors_that_stop_reading_hold_up_no_other_stream_of_the_tunnel() {
    let server = TestServer::start();
    let operator = Operator::login(&server);
    let key = server.full_key("factory");
    let options = DeviceOptions {
        name: Some("busy".into()),
        forward_port: Some(service()),
        ..DeviceOptions::default()
    };
    let mut device = TestDevice::new(&server, &key, options);
    device.launch();
    let generation = operator.wait_online("busy", None);
    let port = operator.device("busy").forwards[0].public_port;

    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let mut visitor = visit(port);
        visitor.write_all(b"B").unwrap();
        // The first byte says that the stream is under way; nothing more is read.
        visitor.read_exact(&mut [0]).unwrap();
        stalled.push(visitor);
    }

    let mut visitor = visit(port);
    for number in 0..200_u32 {
        let sent = format!("echo {number}");
        visitor.write_all(sent.as_bytes()).unwrap();
        let mut back = vec![0; sent.len()];
        visitor.read_exact(&mut back).unwrap();
        assert_eq!(back, sent.as_bytes());
    }

    // The stalled ones get the rest when they read on.
    let mut rest = vec![0; 8 * 1024 * 1024];
    for visitor in &mut stalled {
        visitor.read_exact(&mut rest).unwrap();
        assert!(rest.iter().all(|byte| *byte == b'x'));
    }
    assert_eq!(
        operator.generation("busy"),
        Some(generation),
        "the tunnel was lost in between"
    );
}

#[test]
fn the_end_of_input_is_passed_on_while_the_answer_still_flows() {
    let server = TestServer::start();
    let operator = Operator::login(&server);
    let key = server.full_key("factory");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = DeviceOptions {
        name: Some("halves".into()),
        forward_port: Some(listener.local_addr().unwrap().port()),
        ..DeviceOptions::default()
    };
    let mut device = TestDevice::new(&server, &key, options);
    device.launch();
    operator.wait_online("halves", None);
    let port = operator.device("halves").forwards[0].public_port;

    // The service answers only when it has seen the end of what it was asked.
    let service = std::thread::spawn(move || {
        // The agent looks once whether an sshd answers here; what it says is no question.
        loop {
            let (mut visitor, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            if visitor.read_to_end(&mut asked).is_ok() && asked == b"question" {
                return visitor.write_all(&asked.repeat(1000)).unwrap();
            }
        }
    });
    let mut visitor = visit(port);
    visitor.write_all(b"question").unwrap();
    visitor.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    visitor.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"question".repeat(1000));
    service.join().unwrap();
}
