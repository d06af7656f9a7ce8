use std::process::Command;

use harness::{Answer, Api, KeyPair, Operator, Running, TestServer, eventually};
use reqwest::Method;
use reqwest::blocking::RequestBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;

const EVERY_SCOPE: &str = "device:create,device:read,device:modify,device:delete,\
    apiclient:create,apiclient:read,apiclient:modify,apiclient:delete";

/// One account, seen through all four surfaces.
struct World {
    server: TestServer,
    operator: Operator,
    /// Id and secret of the key that made the factory's.
    root: (String, String),
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let server = TestServer::start();
        let text = server
            .admin(&[
                "key",
                "create",
                "--json",
                "--name",
                "all",
                "--scope",
                EVERY_SCOPE,
            ])
            .ok();
        let key: Value = serde_json::from_str(&text).unwrap();
        let part = |name: &str| key[name].as_str().unwrap().to_owned();
        Self {
            operator: Operator::login(&server),
            root: (part("id"), part("secret")),
            folder: TempDir::new().unwrap(),
            server,
        }
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        let url = format!("{}{path}", self.server.url());
        let answer = with(Api::client().request(method, url)).send().unwrap();
        Answer {
            status: answer.status().as_u16(),
            text: answer.text().unwrap(),
        }
    }

    /// API clients surface, with the key of `root`.
    fn v3(&self, method: Method, path: &str, body: &Value) -> Answer {
        let (id, secret) = &self.root;
        self.send(method, path, |request| {
            request.basic_auth(id, Some(secret)).json(body)
        })
    }

    /// Openport v2 with `token`.
    fn v2(&self, method: Method, path: &str, token: &str, body: &Value) -> Answer {
        let path = format!("/api/v2/{path}?token={token}");
        self.send(method, &path, |request| request.json(body))
    }

    /// What a client of Openport's first protocol asks for.
    fn request_port(&self, key: &KeyPair, local_port: u16) -> Value {
        let form = [
            ("public_key", key.public()),
            ("local_port", local_port.to_string()),
            ("automatic_restart", "true".to_owned()),
            ("ip_link_protection", String::new()),
        ];
        let answer = self.send(Method::POST, "/api/v1/request-port", |request| {
            request.form(&form)
        });
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    /// Stock ssh holds the session that `granted` tells of.
    fn hold(&self, granted: &Value, key: &KeyPair, local_port: u16) -> Running {
        let known_hosts = self.folder.path().join("known_hosts");
        std::fs::write(&known_hosts, self.server.known_hosts()).unwrap();
        let mut command = Command::new("ssh");
        command
            .args([
                "-F/dev/null",
                "-N",
                "-oBatchMode=yes",
                "-oIdentityAgent=none",
            ])
            .args(["-oExitOnForwardFailure=yes", "-oIdentitiesOnly=yes"])
            .arg(format!("-oUserKnownHostsFile={}", known_hosts.display()))
            .arg("-i")
            .arg(key.private_file())
            .args(["-p", &self.server.ssh_port().to_string()])
            .arg("-R")
            .arg(format!("{}:localhost:{local_port}", granted["server_port"]))
            .arg(format!("open@{}", self.server.host()));
        Running::start("client", &command, &self.folder.path().join("client.log"))
    }
}

#[test]
fn one_device_is_walked_through_all_surfaces() {
    let world = World::new();
    let wish = json!({
        "name": "factory",
        "scope": ["device:create", "device:read", "device:modify", "device:delete"],
    });
    let made = world.v3(Method::POST, "/v3/apiclients", &wish);
    assert_eq!(made.status, 200, "{}", made.text);
    let key = world
        .v3(Method::GET, "/v3/apiclients/factory/apikey", &json!({}))
        .json();
    let secret = key["secret"].as_str().unwrap().to_owned();

    // Made by the provisioning call, there on the others.
    let own = KeyPair::make(&world.folder.path().join("device"));
    let api = world.server.api(&secret);
    let created = api.create(&[("name", "pump"), ("public_key", own.public().trim())]);
    let uuid = created["client_id"].as_str().unwrap().to_owned();
    let keys = world.v2(Method::GET, "keys/", &secret, &json!({})).json();
    assert_eq!(keys["count"], 1, "{keys}");
    assert_eq!(keys["results"][0]["name"], "pump");
    let number = keys["results"][0]["id"].as_i64().unwrap();
    assert_eq!(world.operator.device("pump").id, uuid);

    // Renamed on one, renamed on all.
    let one = format!("keys/{number}/");
    let renamed = world.v2(Method::PATCH, &one, &secret, &json!({"name": "valve"}));
    assert_eq!(renamed.status, 200, "{}", renamed.text);
    assert!(api.device("valve").is_some() && api.device("pump").is_none());
    assert_eq!(world.operator.device("valve").id, uuid);

    // A session of the same key belongs to the same device.
    let granted = world.request_port(&own, 7);
    assert_eq!(granted["key_id"], number, "{granted}");
    let mut client = world.hold(&granted, &own, 7);
    eventually("the session is listed", || {
        let sessions = world
            .v2(Method::GET, "sessions/", &secret, &json!({}))
            .json();
        sessions["results"][0]["port"] == granted["server_port"]
    });
    assert!(api.tunnel_open("valve"));

    // Blocked by the operator: the tunnel ends, and every surface says so.
    let path = format!("/v1/admin/devices/{uuid}");
    let block = json!({"state": "blocked"});
    let answer = world.operator.send(Method::PATCH, &path, Some(&block));
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(!client.wait(std::time::Duration::from_secs(120)).success());
    assert_eq!(world.request_port(&own, 7)["error"], "Client blocked");
    let settings = world.v2(Method::GET, &format!("{one}settings/"), &secret, &json!({}));
    assert_eq!(settings.json()["state"], "blocked", "{}", settings.text);
    assert_eq!(
        api.call("client_status", &[("client_id", &uuid)]).error().0,
        23
    );
    let active = json!({"state": "active"});
    let settings = world.v2(Method::PATCH, &format!("{one}settings/"), &secret, &active);
    assert_eq!(settings.status, 200, "{}", settings.text);
    assert!(world.request_port(&own, 7).get("error").is_none());

    // Another key: the old one is a stranger's now.
    let newer = KeyPair::make(&world.folder.path().join("newer"));
    let rekeyed = api.call(
        "upload_public_key",
        &[("client_id", &uuid), ("public_key", newer.public().trim())],
    );
    assert_eq!(rekeyed.error().0, 0, "{}", rekeyed.text);
    assert_eq!(world.request_port(&newer, 7)["key_id"], number);
    let stranger = world.request_port(&own, 7);
    assert_ne!(stranger["key_id"], number);
    assert_eq!(stranger["account_id"], 0, "{stranger}");

    // A key that is made anew is refused at once, wherever it opened something.
    let again = world
        .v3(Method::POST, "/v3/apiclients/factory/apikey", &json!({}))
        .json();
    let fresh = again["secret"].as_str().unwrap();
    assert_ne!(fresh, secret);
    assert_eq!(api.call("device_list", &[]).error().0, 32);
    let refused = world.v2(Method::GET, "keys/", &secret, &json!({}));
    assert_eq!(refused.status, 401, "{}", refused.text);
    let old = key["id"].as_str().unwrap();
    let refused = world.send(Method::GET, "/v3/apiclients", |request| {
        request.basic_auth(old, Some(&secret))
    });
    assert_eq!(refused.status, 401, "{}", refused.text);

    // Deleted on one, gone on all.
    let deleted = world.v2(Method::DELETE, &one, fresh, &json!({}));
    assert_eq!(deleted.status, 204, "{}", deleted.text);
    assert!(world.server.api(fresh).devices().is_empty());
    assert_eq!(world.operator.send(Method::GET, &path, None).status, 404);
    assert_eq!(world.request_port(&newer, 7)["account_id"], 0);
}
