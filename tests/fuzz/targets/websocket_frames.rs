//! Messages of clients that bring their tunnel over WebSocket: what is taken reads back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use moorline_server::websocket::frame::{Frame, Greeting, Operation};

fuzz_target!(|data: &[u8]| {
    if let Some(frame) = Frame::parse(data.to_vec().into()) {
        let again = frame.encode();
        assert_eq!(Frame::parse(again.clone()), Some(frame.clone()));
        match &frame.operation {
            // A close may have a tail that nobody reads.
            Operation::Close => assert_eq!(again.as_ref(), &data[..7]),
            Operation::Data(bytes) => {
                assert!(!bytes.is_empty());
                assert_eq!(again.as_ref(), data);
            }
            Operation::Open => panic!("clients do not open connections"),
        }
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(greeting) = Greeting::parse(text)
    {
        assert!(text.contains(&greeting.port.to_string()) || text.contains(['e', 'E', '.']));
    }
});
