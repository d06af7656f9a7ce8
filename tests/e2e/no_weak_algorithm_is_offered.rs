use std::path::Path;
use std::process::Command;

use harness::{TestServer, run};
use serde_json::Value;

/// Key exchanges that the contract demands, since dropbear and older OpenSSH know no other modern one; all that
/// ssh-audit says against them is that a quantum computer could read what was recorded.
const DEMANDED: [&str; 2] = ["curve25519-sha256", "curve25519-sha256@libssh.org"];
const POST_QUANTUM: &str = "does not provide protection against post-quantum attacks";

fn ssh_audit() -> std::path::PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/venv/bin/ssh-audit");
    assert!(own.exists(), "ssh-audit is not installed: run `make setup`");
    own
}

#[test]
fn ssh_audit_finds_no_weak_algorithm_at_the_gateway() {
    let server = TestServer::start();
    let port = server.ssh_port().to_string();
    let done = run(Command::new(ssh_audit()).args([
        "--json",
        "--skip-rate-test",
        "-p",
        &port,
        server.host(),
    ]));
    let report: Value =
        serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"));

    let mut algorithms = 0;
    let mut found = Vec::new();
    for part in ["kex", "key", "enc", "mac"] {
        for algorithm in report[part].as_array().unwrap() {
            algorithms += 1;
            let name = algorithm["algorithm"].as_str().unwrap();
            let notes = &algorithm["notes"];
            for level in ["fail", "warn"] {
                let texts = notes[level].as_array().into_iter().flatten();
                for text in texts.filter_map(Value::as_str) {
                    if !(DEMANDED.contains(&name) && text == POST_QUANTUM) {
                        found.push(format!("{part} {name}: {level}: {text}"));
                    }
                }
            }
        }
    }
    assert!(algorithms >= 6, "{report}");
    assert!(found.is_empty(), "{found:#?}");
}
