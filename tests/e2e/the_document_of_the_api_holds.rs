use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::{ADMIN_PASSWORD, ADMIN_USER, Api, TestServer, run_within};
use serde_json::Value;

/// Requests made up for one call and kind of test.
const EXAMPLES: &str = "15";
/// Longest that all of them may take.
const PROBE_LIMIT: Duration = Duration::from_secs(1800);
/// Path of what is described with a server of its own.
const NAMES: &str = "/";
/// Never asked: the names, and where schemathesis takes the document from.
const LEFT_OUT: [&str; 2] = [NAMES, "/openapi.json"];

fn schemathesis() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/venv/bin/schemathesis");
    assert!(
        own.exists(),
        "schemathesis is not installed: run `make setup`"
    );
    own
}

fn token(server: &TestServer) -> String {
    let body = serde_json::json!({ "username": ADMIN_USER, "password": ADMIN_PASSWORD });
    let answer = Api::client()
        .post(format!("{}/v1/auth/login", server.url()))
        .json(&body)
        .send()
        .unwrap();
    let answer: Value = answer.json().unwrap();
    answer["token"].as_str().unwrap().to_owned()
}

/// Every method of every path in the document.
fn operations(document: &Value) -> usize {
    const METHODS: [&str; 7] = ["get", "put", "post", "delete", "patch", "head", "options"];
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .filter(|(path, _)| !LEFT_OUT.contains(&path.as_str()))
        .flat_map(|(_, item)| item.as_object().unwrap().keys())
        .filter(|key| METHODS.contains(&key.as_str()))
        .count()
}

#[test]
fn what_schemathesis_makes_up_from_the_document_breaks_nothing() {
    let server = TestServer::start();
    let document = Api::client()
        .get(format!("{}/openapi.json", server.url()))
        .send()
        .unwrap();
    let document: Value = document.json().unwrap();
    let scopes = "device:create,device:read,device:modify,device:delete,\
        apiclient:create,apiclient:read,apiclient:modify,apiclient:delete";
    let text = server
        .admin(&[
            "key",
            "create",
            "--json",
            "--rate-limit",
            "1000000",
            "--name",
            "probe",
            "--scope",
            scopes,
        ])
        .ok();
    let key: Value = serde_json::from_str(&text).unwrap();
    let secret = key["secret"].as_str().unwrap();
    let id = key["id"].as_str().unwrap();

    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[auth.openapi.token]\nbearer = \"{}\"\n\
         [auth.openapi.api_key]\napi_key = \"{secret}\"\n\
         [auth.openapi.openport_token]\napi_key = \"{secret}\"\n\
         [auth.openapi.key]\nusername = \"{id}\"\npassword = \"{secret}\"\n",
        token(&server)
    );
    let file = folder.path().join("schemathesis.toml");
    std::fs::write(&file, config).unwrap();
    let report = folder.path().join("report.json");
    let mut probe = Command::new(schemathesis());
    probe
        .current_dir(folder.path())
        .arg("--config-file")
        .arg(&file)
        .args(["run", &format!("{}/openapi.json", server.url())])
        // HTTP names of devices have a host of their own.
        .args(["--exclude-path", NAMES])
        .args(["--checks", "not_a_server_error"])
        .args(["--phases", "coverage,fuzzing"])
        .args(["--max-examples", EXAMPLES, "--generation-deterministic"])
        // One at a time: with several threads CPython 3.11 miscounts the depth of a syntax tree now and then.
        .args(["--workers", "1", "--continue-on-failure", "--no-shrink"])
        .args(["--warnings", "off", "--suppress-health-check", "all"])
        .arg("--report-json-path")
        .arg(&report);
    let done = run_within(&mut probe, b"", PROBE_LIMIT);
    assert!(done.code == 0, "{}\n{}", done.stdout, done.stderr);

    let told: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let tested = told["operations"]["tested"].as_u64().unwrap();
    assert_eq!(usize::try_from(tested).unwrap(), operations(&document));
    assert!(tested >= 130, "{told}");
    assert_eq!(told["warnings"]["missing_auth"], serde_json::json!([]));
    // It still does its work.
    let answer = server.api(secret).create(&[]);
    assert_eq!(answer["success"], true, "{answer}");
}

#[test]
fn the_pages_load_nothing_from_elsewhere() {
    let server = TestServer::start();
    let client = Api::client();
    let base = format!("{}/docs/", server.url());
    let page = client.get(&base).send().unwrap();
    assert_eq!(page.status(), 200);
    let page = page.text().unwrap();
    let mut loaded = 0;
    for part in page.split(['"', '\'']) {
        assert!(!part.starts_with("http"), "{part} in {page}");
        let file = part.trim_start_matches("./");
        if [".js", ".css"].iter().any(|end| file.ends_with(end)) {
            let answer = client.get(format!("{base}{file}")).send().unwrap();
            assert_eq!(answer.status(), 200, "{file}");
            let text = answer.text().unwrap();
            assert!(!text.is_empty(), "{file}");
            loaded += 1;
        }
    }
    assert!(loaded >= 4, "{page}");
}
