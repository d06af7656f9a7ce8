//! What administrators hand out: links, and the key binding token.

use moorline_protocol::Secret;
use moorline_server::passwords::Passwords;
use moorline_server::registry::model::{AccountId, NewUser, Role};
use serde_json::json;

use crate::bed::{Bed, public_key};
use crate::http::{self, Reply};
use crate::openport_client::client::{binding_token, granted, link, string};

const PASSWORD: &str = "correct horse";

/// The token of a new user of that account.
async fn token(bed: &Bed, account: AccountId, role: Role) -> String {
    let passwords = Passwords::new().await.unwrap();
    let hash = passwords.hash(Secret::new(PASSWORD.into())).await.unwrap();
    let username = uuid::Uuid::new_v4().to_string();
    let new = NewUser {
        account,
        username: username.clone(),
        role,
        password_hash: hash,
        expires_at: None,
        short_id: None,
    };
    bed.registry.create_user(new).await.unwrap();
    let body = json!({"username": username, "password": PASSWORD}).to_string();
    let (path, kind) = ("/v1/auth/login", Some("application/json"));
    let reply = http::send(bed.http, bed.from, "POST", path, kind, body.as_bytes()).await;
    string(&reply.json(), "token")
}

async fn call(bed: &Bed, token: &str, method: &str, path: &str) -> Reply {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 0\r\n\r\n"
    );
    http::raw(bed.http, bed.from, head.as_bytes()).await
}

pub(crate) async fn key_binding_is_for_administrators(bed: &Bed) {
    let (show, renew) = ("/v1/admin/key-binding", "/v1/admin/key-binding/renew");
    let admin = token(bed, bed.account, Role::Admin).await;
    let user = token(bed, bed.account, Role::User).await;
    for (method, path) in [("GET", show), ("POST", renew)] {
        assert_eq!(call(bed, "x", method, path).await.status, 401);
        assert_eq!(call(bed, &user, method, path).await.status, 403);
    }
    let shown = call(bed, &admin, "GET", show).await.json();
    let first = string(&shown, "key_binding_token");
    assert_eq!(first, binding_token(bed).await);
    let renewed = call(bed, &admin, "POST", renew).await.json();
    let second = string(&renewed, "key_binding_token");
    assert_ne!(first, second);
    assert_eq!(call(bed, &admin, "GET", show).await.json(), renewed);
    let old = bed.registry.account_by_binding_token(&first).await.unwrap();
    assert!(old.is_none(), "the old one is refused");
}

pub(crate) async fn links_are_those_of_the_own_account(bed: &Bed) {
    let key = public_key();
    let session = granted(bed, &[("public_key", &key), ("local_port", "22")]).await;
    link(bed, &key, "linked").await;
    let path = "/v1/admin/devices/linked/links";
    let admin = token(bed, bed.account, Role::Admin).await;
    let user = token(bed, bed.account, Role::User).await;
    let other = bed.registry.create_account("lookers").await.unwrap().id;
    let stranger = token(bed, other, Role::Admin).await;
    assert_eq!(call(bed, "x", "GET", path).await.status, 401);
    assert_eq!(call(bed, &user, "GET", path).await.status, 403);
    assert_eq!(call(bed, &stranger, "GET", path).await.status, 404);
    let links = call(bed, &admin, "GET", path).await.json();
    let expected = json!([{
        "device_port": 22,
        "public_port": session["server_port"],
        "server": "127.0.0.1",
        "protected": true,
        "link": session["open_port_for_ip_link"],
    }]);
    assert_eq!(links["links"], expected);
}
