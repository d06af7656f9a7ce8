use std::process::Command;

use harness::{Done, Https, ServerOptions, TestServer, repository, run};
use serde_json::Value;

/// The SDK of the compatible service, from PyPI as `tests/setup` installs it, against `url` as the holder of a key.
fn sdk(server: &TestServer, url: &str, id: &str, secret: &str) -> Done {
    let mut command = Command::new(repository().join("target/tools/venv/bin/python"));
    command
        .args(["-B", "-W", "ignore"])
        .arg(repository().join("tests/fixtures/apiclients.py"))
        .arg(url)
        .arg(server.ca_file())
        .args([id, secret])
        .env("NO_PROXY", "*");
    run(&mut command)
}

#[test]
fn the_sdk_of_the_compatible_service_works_over_https() {
    let server = TestServer::start_with(ServerOptions {
        https: Some(Https::self_signed()),
        config: "[http]\nrequire_https = true\n".into(),
        ..ServerOptions::default()
    });
    let text = server.admin(&["key", "regenerate", "root", "--json"]).ok();
    let root: Value = serde_json::from_str(&text).unwrap();
    let (id, secret) = (
        root["id"].as_str().unwrap(),
        root["secret"].as_str().unwrap(),
    );

    let done = sdk(&server, &server.https_url(), id, secret).ok();
    let enrolment = done.trim();
    assert_eq!(enrolment.len(), 32, "{done}");
    let made = server.api(enrolment).create(&[("prefix", "cam")]);
    assert_eq!(made["client_name"], "cam000001");

    let plain = sdk(&server, &server.url(), id, secret);
    assert_ne!(plain.code, 0);
    assert!(plain.stderr.contains("Use HTTPS."), "{plain:?}");
    let log = server.log();
    assert!(
        !log.contains(secret) && !log.contains(enrolment),
        "a secret is in the log"
    );
}
