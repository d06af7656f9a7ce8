//! Bodies of the Openport client protocol, as form and as JSON: what is taken keeps the rules of the contract.
#![no_main]

use libfuzzer_sys::fuzz_target;
use moorline_server::api::openport::v1::form::Form;
use moorline_server::api::openport::v1::wish::{ClientFacts, Identity, RequestPort, public_key};
use moorline_server::api::provisioning::request::BodyForm;

fuzz_target!(|data: &[u8]| {
    for kind in [BodyForm::Form, BodyForm::Json, BodyForm::Unsaid] {
        if let Ok(form) = Form::parse(kind, data) {
            judge(&form);
        }
    }
});

fn judge(form: &Form) {
    for name in ["local_port", "request_port", "port"] {
        assert!(form.port(name).is_none_or(|port| port > 0));
        assert!(form.get(name).is_none_or(|text| text == text.trim()));
    }
    let facts = ClientFacts::parse(form);
    for fact in [facts.version, facts.platform].into_iter().flatten() {
        assert!(fact.chars().count() <= 128 && !fact.contains(char::is_control));
    }
    match RequestPort::parse(form) {
        Ok(wish) => match wish.identity {
            Identity::Key(key) => {
                assert!(
                    key.rsa_bits()
                        .is_none_or(|bits| (1024..=8192).contains(&bits))
                );
                assert_eq!(public_key(form).ok(), Some(key));
            }
            Identity::Small { token, id } => {
                assert!(!token.expose().is_empty());
                assert!((1..=64).contains(&id.chars().count()));
                assert!(form.get("public_key").is_none());
            }
        },
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
