use std::sync::{Arc, Barrier};
use std::thread;

use harness::{ADMIN_PASSWORD, ADMIN_USER, Api, ServerOptions, TestServer};
use reqwest::Method;
use serde_json::json;

use harness::Postgres;

/// All begin together.
const REQUESTS: usize = 500;
/// Some are logins, which take a while each, and count as tries.
const LOGINS_EVERY: usize = 100;

#[test]
fn five_hundred_mixed_requests_at_once_are_all_answered_on_sqlite() {
    all_are_answered(&TestServer::start());
}

#[test]
fn five_hundred_mixed_requests_at_once_are_all_answered_on_postgresql() {
    let database = Postgres::start();
    let options = ServerOptions {
        database: Some(database.url()),
        ..ServerOptions::default()
    };
    all_are_answered(&TestServer::start_with(options));
}

fn all_are_answered(server: &TestServer) {
    let secret = server.full_key("factory");
    let base = server.url();
    let login = json!({"username": ADMIN_USER, "password": ADMIN_PASSWORD});
    let client = Api::client();
    let answer = client
        .post(format!("{base}/v1/auth/login"))
        .json(&login)
        .send()
        .unwrap();
    let answer: serde_json::Value = answer.json().unwrap();
    let token = answer["token"].as_str().unwrap().to_owned();

    let start = Arc::new(Barrier::new(REQUESTS));
    let asked: Vec<_> = (0..REQUESTS)
        .map(|number| {
            let (client, start) = (client.clone(), start.clone());
            let (base, secret, token, login) =
                (base.clone(), secret.clone(), token.clone(), login.clone());
            thread::spawn(move || {
                let admin = |method, path: &str| {
                    let url = format!("{base}/v1/admin/{path}");
                    client.request(method, url).bearer_auth(&token)
                };
                let request = match number % 9 {
                    _ if number % LOGINS_EVERY == 0 => {
                        client.post(format!("{base}/v1/auth/login")).json(&login)
                    }
                    0 => client
                        .get(format!("{base}/init/api/create_new_client"))
                        .query(&[("api_key", secret.as_str())]),
                    1 => admin(Method::POST, "users")
                        .json(&json!({"username": format!("user{number}")})),
                    2 => admin(Method::GET, "hosts"),
                    3 => admin(Method::POST, "egress-ips").json(&json!({
                        "label": format!("way {number}"),
                        "ip_address": format!("203.0.113.{}", number % 250),
                    })),
                    4 => admin(Method::GET, "events"),
                    5 => client
                        .get(format!("{base}/api/v2/keys/"))
                        .query(&[("token", secret.as_str())]),
                    6 => client
                        .post(format!("{base}/api/v1/request-port"))
                        .form(&[("public_key", "none")]),
                    7 => admin(Method::POST, "api-clients")
                        .json(&json!({"name": format!("client{number}")})),
                    _ => client.get(format!("{base}/healthz")),
                };
                start.wait();
                let answer = request.send().unwrap();
                (number, answer.status().as_u16(), answer.text().unwrap())
            })
        })
        .collect();
    let mut done = 0;
    for asked in asked {
        let (number, status, text) = asked.join().unwrap();
        assert!((200..500).contains(&status), "{number}: {status} {text}");
        done += usize::from(status < 300);
    }
    // Addresses that came twice are conflicts; nothing else is refused.
    assert!(done > REQUESTS * 9 / 10, "{done}");
    let made = server.api(&secret).devices().len();
    let asked = (0..REQUESTS).filter(|number| number % 9 == 0 && number % LOGINS_EVERY != 0);
    assert_eq!(made, asked.count());
}
