//! Names that requests carry: whoever reads one takes it for the same place, whatever stands around it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use moorline_server::forward::http::host::{Label, Place, place};

const DOMAIN: &str = "eu1.example.net";

fuzz_target!(|data: &[u8]| {
    let found = place(data, DOMAIN);
    let upper = place(&data.to_ascii_uppercase(), DOMAIN);
    assert_eq!(found, upper);
    let Ok(text) = std::str::from_utf8(data) else {
        assert_eq!(found, Place::Node);
        return;
    };
    match &found {
        Place::Name(label) => {
            assert_eq!(Label::parse(label.as_str()).as_ref(), Some(label));
            let plain = format!("{}.u.{DOMAIN}", label.as_str());
            assert!(text.to_ascii_lowercase().starts_with(&plain));
            assert_eq!(place(plain.as_bytes(), DOMAIN), found);
            assert_eq!(place(format!("{plain}.:443").as_bytes(), DOMAIN), found);
        }
        Place::NoName => assert!(text.to_ascii_lowercase().contains(".u.eu1.example.net")),
        Place::Node => {}
        Place::Unclear => panic!("one name cannot contradict itself"),
    }
});
