//! The calls of the CLI, the login and what the server says of itself, over real HTTP.

mod access;
mod devices;
mod forwards;
mod keys;
mod sessions;

use std::net::IpAddr;

use crate::bed::Bed;
use crate::http::{self, Reply};
use moorline_protocol::Secret;
use moorline_server::config::file::ConfigFile;
use moorline_server::config::{Config, Overrides};
use moorline_server::passwords::Passwords;
use moorline_server::registry::model::{AccountId, NewUser, Role};
use moorline_server::serve::{ServeError, serve};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const PASSWORD: &str = "correct horse";

/// Makes a user with [`PASSWORD`].
async fn user(bed: &Bed, account: AccountId, name: &str, role: Role) -> NewUser {
    let hash = Passwords::new().await.unwrap();
    let hash = hash.hash(Secret::new(PASSWORD.into())).await.unwrap();
    let new = NewUser {
        account,
        username: name.into(),
        role,
        password_hash: hash,
        expires_at: None,
        short_id: Some(format!("{name}-id")),
    };
    bed.registry.create_user(new.clone()).await.unwrap();
    new
}

async fn ask(bed: &Bed, token: &str, method: &str, path: &str, body: Value) -> Reply {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n"
    );
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let whole = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    http::raw(bed.http, bed.from, whole.as_bytes()).await
}

async fn login(bed: &Bed, from: IpAddr, body: Value) -> Reply {
    let body = body.to_string();
    let path = "/v1/auth/login";
    http::send(
        bed.http,
        from,
        "POST",
        path,
        Some("application/json"),
        body.as_bytes(),
    )
    .await
}

async fn token(bed: &Bed, name: &str) -> String {
    let reply = login(
        bed,
        bed.from,
        json!({"username": name, "password": PASSWORD}),
    )
    .await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["token"].as_str().unwrap().to_owned()
}

fn refused(reply: &Reply, status: u16, text: &str) {
    assert_eq!(reply.body, format!("{{\"error\":\"{text}\"}}\n"));
    assert_eq!(reply.status, status);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_calls_keep_their_contract() {
    let mut bed = Bed::on_sqlite().await;
    bed.turn_page("operators").await;
    user(&bed, bed.account, "anna", Role::Admin).await;
    user(&bed, bed.account, "udo", Role::User).await;
    access::the_login_gives_a_token(&bed).await;
    access::tokens_and_roles_are_checked(&bed).await;
    devices::devices_are_seen_and_changed(&bed).await;
    sessions::sessions_and_nodes_are_seen(&bed).await;
    forwards::forwards_are_added_shown_and_removed(&bed).await;
    forwards::forwards_are_for_administrators_of_the_account(&bed).await;
    keys::api_keys_are_made_and_revoked(&bed).await;
    keys::ssh_keys_are_kept(&bed).await;
    the_server_speaks_of_itself(&bed).await;
    access::failed_passwords_are_limited(&bed).await;
    bed.stop().await;
}

async fn the_server_speaks_of_itself(bed: &Bed) {
    let get = async |path: &str| http::send(bed.http, bed.from, "GET", path, None, b"").await;
    let health = get("/healthz").await;
    let expected =
        "{\"status\":\"ok\",\"checks\":{\"database\":\"ok\",\"agent\":\"ok\"},\"tunnels\":0}\n";
    assert_eq!((health.status, health.body.as_str()), (200, expected));
    assert!(get("/metrics").await.body.contains("moorline_tunnels 0"));
    assert!(get("/openapi.json").await.json()["paths"]["/init/api/create_new_client"].is_object());
    assert_eq!(get("/").await.status, 404);
    let udo = token(bed, "udo").await;
    let gateway = ask(bed, &udo, "GET", "/v1/gateway", Value::Null)
        .await
        .json();
    let node = bed.node().await;
    assert_eq!(
        gateway,
        json!({"host": node.public_host, "port": node.ssh_port, "host_key": node.host_key})
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_stays_off_the_data_folder() {
    let bed = Bed::on_sqlite().await;
    let overrides = Overrides {
        data_dir: Some(bed.folder().to_owned()),
        http: Some("127.0.0.1:0".parse().unwrap()),
        ssh: vec!["127.0.0.1:0".parse().unwrap()],
        ..Overrides::default()
    };
    let config = Config::combine(ConfigFile::default(), overrides).unwrap();
    let second = serve(config, CancellationToken::new()).await;
    assert!(matches!(second, Err(ServeError::DataDirInUse(_))));
    let listening = bed.folder().join("listening.json");
    assert!(listening.exists());
    bed.stop().await;
    assert!(!listening.exists());
}
