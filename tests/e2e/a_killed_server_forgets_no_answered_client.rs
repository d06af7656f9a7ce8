use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::{KeyPair, ServerOptions, TestServer, eventually};
use tempfile::TempDir;

/// Calls made at once.
const CALLS: usize = 200;
/// The server is killed when so many have been answered.
const ANSWERED_FIRST: usize = 40;

#[test]
fn a_killed_server_forgets_no_answered_client_and_gives_no_serial_twice() {
    let mut server = TestServer::start_with(ServerOptions {
        ports: 256,
        ..ServerOptions::default()
    });
    let key = server.key_with(&["--name", "factory", "--scope", "device:create,device:read"]);
    let folder = TempDir::new().unwrap();
    let keys: Vec<String> = (0..CALLS)
        .map(|number| {
            KeyPair::make(&folder.path().join(number.to_string()))
                .public()
                .trim()
                .to_owned()
        })
        .collect();

    let answered = Mutex::new(BTreeMap::new());
    let count = AtomicUsize::new(0);
    let api = server.api(&key);
    std::thread::scope(|scope| {
        for public_key in &keys {
            let (api, answered, count) = (&api, &answered, &count);
            scope.spawn(move || {
                let made = api.try_call(
                    "create_new_client",
                    &[("prefix", "u"), ("public_key", public_key)],
                );
                // Those that the kill took away got no answer; nothing is promised about them.
                if let Ok(answer) = made
                    && answer.json()["error_code"] == 0
                {
                    let name = answer.json()["client_name"].as_str().unwrap().to_owned();
                    answered.lock().unwrap().insert(public_key.clone(), name);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        eventually("some are answered", || {
            count.load(Ordering::Relaxed) >= ANSWERED_FIRST
        });
        server.kill();
    });
    let answered = answered.into_inner().unwrap();
    assert!(answered.len() >= ANSWERED_FIRST);
    server.launch();

    let api = server.api(&key);
    let names = |devices: &[serde_json::Value]| -> Vec<String> {
        devices
            .iter()
            .map(|device| device["host_name"].as_str().unwrap().to_owned())
            .collect()
    };
    let kept: BTreeSet<String> = names(&api.devices()).into_iter().collect();
    for name in answered.values() {
        assert!(kept.contains(name), "{name} was answered and is gone");
    }

    // Every device asks again, as it does after a lost answer: the answered ones get what they had.
    for public_key in &keys {
        let made = api.create(&[("prefix", "u"), ("public_key", public_key)]);
        if let Some(name) = answered.get(public_key) {
            assert_eq!(made["client_name"], **name);
            assert_eq!(made["created"], false);
        }
    }
    let all = names(&api.devices());
    let distinct: BTreeSet<&String> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (CALLS, CALLS));
}
