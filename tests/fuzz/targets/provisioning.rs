//! Parameters of the provisioning calls, from query and body: what is taken keeps the rules of the contract.
#![no_main]

use libfuzzer_sys::fuzz_target;
use moorline_server::api::provisioning::parameters::{
    CreateClient, ListDevices, Quadruple, QuadrupleForm, allow, client_id, required_public_key,
};
use moorline_server::api::provisioning::request::{BodyForm, Fields};

// The first line is the query, the rest the body; the body is read in each of the ways a request may ask for.
fuzz_target!(|data: &[u8]| {
    let (query, body) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &data[..0]),
    };
    let query = String::from_utf8_lossy(query);
    for form in [BodyForm::Form, BodyForm::Json, BodyForm::Unsaid] {
        let mut fields = Fields::of_query(Some(&query));
        if let Err(error) = fields.add_body(form, body) {
            assert_eq!(error.to_string(), "body is not valid JSON");
        }
        judge(&fields);
    }
});

fn judge(fields: &Fields) {
    match CreateClient::parse(fields) {
        Ok(wanted) => {
            assert!(wanted.name.is_none_or(|name| keeps_rule(&name, 64)));
            assert!(wanted.prefix.is_none_or(|prefix| keeps_rule(&prefix, 32)));
            assert!(wanted.device_port >= 1);
            assert!(
                wanted
                    .hostname
                    .is_none_or(|name| name.chars().count() <= 253)
            );
            assert!(wanted.hardware.is_none_or(|text| text.len() <= 4096));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(list) = ListDevices::parse(fields) {
        assert!(list.limit.is_none_or(|limit| (1..=10_000).contains(&limit)));
    }
    for form in [QuadrupleForm::Strict, QuadrupleForm::Upload] {
        drop(Quadruple::parse(fields, form));
    }
    drop((client_id(fields), allow(fields)));
    if let Ok(key) = required_public_key(fields) {
        // The canonical form is a key itself, and the same one.
        let mut again = Fields::default();
        again.set("public_key", &key.canonical);
        let again = required_public_key(&again).map(|key| key.canonical);
        assert_eq!(again.ok(), Some(key.canonical));
    }
}

fn keeps_rule(text: &str, longest: usize) -> bool {
    text.len() <= longest
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}
