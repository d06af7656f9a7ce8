//! The constants block of a client script: any text is read or refused, and what was read is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use moorline_protocol::script::{Constants, SHEBANG};

fuzz_target!(|text: &str| {
    let Ok(constants) = Constants::parse(text) else {
        return;
    };
    let again = Constants::parse(&format!("{SHEBANG}\n{}", constants.render()));
    assert_eq!(again.as_ref(), Ok(&constants));
});
