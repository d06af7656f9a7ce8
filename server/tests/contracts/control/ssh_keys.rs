//! Section 5.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use moorline_server::registry::model::PublicKey;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::bed::public_key;
use crate::world::{World, column, done, keys, refused, text};

const OWN: &str = "/v1/user/ssh-keys";
const KEY_KEYS: [&str; 10] = [
    "created_at",
    "fingerprint",
    "id",
    "key_type",
    "label",
    "public_key",
    "purpose",
    "source",
    "synced",
    "user_id",
];

fn of_user(world: &World<'_>) -> String {
    format!("/v1/admin/users/{}/ssh-keys", world.user.user.id)
}

/// `type base64` and fingerprint of a private key, as OpenSSH reads them.
fn read_by_openssh(private_key: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, private_key).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let said = |arguments: &[&str]| {
        let output = Command::new("ssh-keygen")
            .args(arguments)
            .arg("-f")
            .arg(&path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let line = said(&["-y"]);
    let public: Vec<&str> = line.split_whitespace().take(2).collect();
    let fingerprint = said(&["-l"]);
    let fingerprint = fingerprint.split_whitespace().nth(1).unwrap().to_owned();
    (public.join(" "), fingerprint)
}

/// A private key that ssh-keygen made, in this format, and its public half.
fn made_by_openssh(kind: &[&str]) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "", "-C", "made elsewhere"])
        .args(kind)
        .arg("-f")
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    (std::fs::read_to_string(&path).unwrap(), public)
}

pub(crate) async fn keys_are_kept_and_deleted(world: &World<'_>) {
    let path = of_user(world);
    assert_eq!(world.get(&path).await.json(), json!({"keys": []}));
    let (first, second) = (public_key(), public_key());
    let made = world
        .post(
            &path,
            json!({"public_key": format!("{first} anna@laptop\n")}),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    let key = &made.json()["key"];
    assert_eq!(keys(key), KEY_KEYS);
    assert_eq!(text(key, "user_id"), world.user.user.id.to_string());
    assert_eq!(text(key, "public_key"), first);
    assert_eq!(text(key, "label"), "anna@laptop", "the comment");
    assert_eq!(
        text(key, "fingerprint"),
        PublicKey::parse(&first).unwrap().fingerprint
    );
    for (name, value) in [
        ("purpose", json!("inbound")),
        ("key_type", json!("ed25519")),
        ("source", json!("managed")),
        ("synced", json!(true)),
    ] {
        assert_eq!(key[name], value, "{name}");
    }
    let body = json!({"public_key": second, "label": "work", "purpose": "inbound"});
    let made = world.post(&path, body).await.json();
    assert_eq!(made["key"]["label"], "work");
    let listed = world.get(&path).await.json();
    assert_eq!(
        column(&listed["keys"], "public_key"),
        [first.clone(), second]
    );
    let again = world.post(&path, json!({"public_key": first})).await;
    refused(&again, 409, "ssh key already exists");
    let one = format!("{path}/{}", text(key, "id"));
    done(&world.delete(&one).await);
    refused(&world.delete(&one).await, 404, "ssh key not found");
    let listed = world.get(&path).await.json();
    assert_eq!(column(&listed["keys"], "label"), ["work"]);
}

pub(crate) async fn wrong_keys_are_named(world: &World<'_>) {
    let path = of_user(world);
    for (body, text) in [
        (json!({}), "public_key is required"),
        (json!({"public_key": " "}), "public_key is required"),
        (
            json!({"public_key": "ssh-ed25519 AAAA"}),
            "public_key is invalid",
        ),
        (
            json!({"public_key": "ssh-dss AAAAB3NzaC1kc3MAAAAA"}),
            "public_key is invalid",
        ),
        (
            json!({"public_key": public_key(), "purpose": "both"}),
            "purpose must be inbound or outbound",
        ),
        (
            json!({"public_key": public_key(), "purpose": "outbound", "private_key": "nonsense"}),
            "private_key does not match public_key",
        ),
    ] {
        refused(&world.post(&path, body).await, 400, text);
    }
    let generate = format!("{path}/generate");
    let reply = world.post(&generate, json!({"key_type": "dsa"})).await;
    refused(&reply, 400, "key_type must be ed25519 or rsa");
    let reply = world.post(&generate, json!({"purpose": "x"})).await;
    refused(&reply, 400, "purpose must be inbound or outbound");
    let nobody = format!("/v1/admin/users/{}/ssh-keys", Uuid::new_v4());
    for reply in [
        world.get(&nobody).await,
        world
            .post(&nobody, json!({"public_key": public_key()}))
            .await,
        world.post(&format!("{nobody}/generate"), Value::Null).await,
        world.delete(&format!("{nobody}/{}", Uuid::new_v4())).await,
    ] {
        refused(&reply, 404, "user not found");
    }
    refused(
        &world.delete(&format!("{path}/nonsense")).await,
        404,
        "ssh key not found",
    );
}

pub(crate) async fn generated_keys_are_what_openssh_reads(world: &World<'_>) {
    let path = format!("{}/generate", of_user(world));
    for (body, kind, bits) in [
        (Value::Null, "ed25519", 0),
        (json!({"key_type": "rsa", "label": "big one"}), "rsa", 4096),
    ] {
        let reply = world.post(&path, body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let json = reply.json();
        assert_eq!(
            keys(&json),
            ["key", "key_type", "private_key", "public_key"]
        );
        assert_eq!(
            (text(&json, "key_type"), text(&json["key"], "key_type")),
            (kind.into(), kind.into())
        );
        let private = text(&json, "private_key");
        assert!(private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        let (public, fingerprint) = read_by_openssh(&private);
        assert_eq!(text(&json, "public_key"), public);
        assert_eq!(text(&json["key"], "public_key"), public);
        assert_eq!(text(&json["key"], "fingerprint"), fingerprint);
        if bits > 0 {
            let modulus = 4096 / 8;
            let blob = public.split(' ').nth(1).unwrap();
            let length = data_encoding::BASE64.decode(blob.as_bytes()).unwrap().len();
            assert!((modulus..modulus + 40).contains(&length), "{length}");
            assert_eq!(json["key"]["label"], "big one");
        }
        let id = Uuid::try_parse(&text(&json["key"], "id")).unwrap();
        let kept = world.bed.registry.user_private_key(id).await.unwrap();
        assert!(kept.is_none(), "kept for outbound keys only");
    }
    let listed = world.get(&of_user(world)).await;
    assert_eq!(listed.json()["keys"].as_array().unwrap().len(), 2);
    assert!(!listed.body.contains("PRIVATE"));
}

pub(crate) async fn outbound_keys_keep_their_private_half_sealed(world: &World<'_>) {
    let path = of_user(world);
    let outbound = |mut body: Value| {
        body["purpose"] = "outbound".into();
        body
    };
    let made = world
        .post(&path, outbound(json!({"label": "made here"})))
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert!(!made.body.contains("PRIVATE"), "shown by generate only");
    let mut ids = vec![text(&made.json()["key"], "id")];
    let generated = world
        .post(&format!("{path}/generate"), outbound(json!({})))
        .await;
    assert_eq!(generated.status, 200);
    ids.push(text(&generated.json()["key"], "id"));
    for kind in [
        &["-t", "ed25519"][..],
        &["-t", "ecdsa", "-b", "384", "-m", "PKCS8"],
        &["-t", "rsa", "-b", "2048", "-m", "PEM"],
        &["-t", "ecdsa", "-b", "256", "-m", "PEM"],
    ] {
        let (private, public) = made_by_openssh(kind);
        let (other, _) = made_by_openssh(kind);
        let body = outbound(json!({"public_key": public, "private_key": other}));
        let reply = world.post(&path, body).await;
        refused(&reply, 400, "private_key does not match public_key");
        let body = outbound(json!({"public_key": public, "private_key": private}));
        let reply = world.post(&path, body).await;
        assert_eq!(reply.status, 201, "{kind:?}: {}", reply.body);
        let key = &reply.json()["key"];
        assert_eq!(
            (text(key, "purpose"), text(key, "label")),
            ("outbound".into(), "made elsewhere".into())
        );
        ids.push(text(key, "id"));
    }
    for id in &ids {
        let id = Uuid::try_parse(id).unwrap();
        let kept = world
            .bed
            .registry
            .user_private_key(id)
            .await
            .unwrap()
            .unwrap();
        let (public, _) = read_by_openssh(kept.expose());
        let listed = world.get(&path).await;
        assert!(listed.body.contains(&public));
        assert!(!listed.body.contains("PRIVATE"));
        let bytes = format!(
            "UPDATE user_keys SET label = label WHERE id = {} AND length(private_key_sealed) > 100",
            world.literal(id)
        );
        world.sql(&bytes).await;
    }
    let (encrypted, public) = made_by_openssh(&["-t", "ed25519", "-N", "passphrase"]);
    let body = outbound(json!({"public_key": public, "private_key": encrypted}));
    refused(
        &world.post(&path, body).await,
        400,
        "private_key does not match public_key",
    );
    // An identity opens no door of ours.
    let listed = world.get(&path).await.json();
    let public = PublicKey::parse(&text(&listed["keys"][0], "public_key")).unwrap();
    let may = world.bed.registry.users_by_key(&public).await.unwrap();
    assert!(may.is_empty(), "outbound keys log nobody in");
    let ours = ids.len();
    assert_eq!(listed["keys"].as_array().unwrap().len(), ours);
}

pub(crate) async fn a_key_is_synced_when_all_running_containers_have_it(world: &World<'_>) {
    let path = of_user(world);
    let host = world.container(&world.user.user).await;
    let generate = format!("{path}/generate");
    let made = world.post(&generate, json!({"purpose": "outbound"})).await;
    assert_eq!(made.json()["key"]["synced"], true, "nothing runs");
    world.set_host_status(&host, "running").await;
    let listed = world.get(&path).await.json();
    assert_eq!(listed["keys"][0]["synced"], false);
    let id = world.literal(host.id.0);
    world
        .sql(&format!(
            "UPDATE hosts SET keys_version = 1 WHERE id = {id}"
        ))
        .await;
    let listed = world.get(&path).await.json();
    assert_eq!(listed["keys"][0]["synced"], true);
    let next = world.post(&generate, json!({"purpose": "outbound"})).await;
    assert_eq!(
        next.json()["key"]["synced"],
        false,
        "the next one is missing there"
    );
    let inbound = world.post(&path, json!({"public_key": public_key()})).await;
    assert_eq!(
        inbound.json()["key"]["synced"],
        true,
        "looked up at every login"
    );
    let own = world.ask(&world.user.token, "GET", OWN, &Value::Null).await;
    assert_eq!(own.json(), world.get(&path).await.json());
}
