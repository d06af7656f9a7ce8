//! The people of a story: an administrator, a user, and the administrator of another account.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Instant;

use moorline_protocol::Secret;
use moorline_server::passwords::Passwords;
use moorline_server::registry::model::{
    AccountId, DeviceId, Host, HostLimits, NewHost, NewUser, Role, Timestamp, User, UserId,
};
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::bed::Bed;
use crate::http::{self, Reply};

pub(crate) const PASSWORD: &str = "correct horse";
/// Of [`PASSWORD`]: hashing it for everyone would take most of the time.
static HASH: OnceLock<Secret<String>> = OnceLock::new();

/// Somebody who is logged in.
pub(crate) struct Person {
    pub(crate) user: User,
    pub(crate) token: String,
}

pub(crate) struct World<'a> {
    pub(crate) bed: &'a Bed,
    pub(crate) admin: Person,
    pub(crate) user: Person,
    /// Administrator of another account.
    pub(crate) stranger: Person,
}

impl<'a> World<'a> {
    pub(crate) async fn make(bed: &'a Bed) -> Self {
        if HASH.get().is_none() {
            let passwords = Passwords::new().await.unwrap();
            let hash = passwords.hash(Secret::new(PASSWORD.into())).await.unwrap();
            HASH.set(hash).unwrap_or(());
        }
        let name = format!("other {}", Uuid::new_v4());
        let other = bed.registry.create_account(&name).await.unwrap().id;
        Self {
            bed,
            admin: person(bed, bed.account, Role::Admin).await,
            user: person(bed, bed.account, Role::User).await,
            stranger: person(bed, other, Role::Admin).await,
        }
    }

    /// Sends `body`, if it is not null, with `token`, if it is not empty.
    pub(crate) async fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> Reply {
        send(self.bed, self.bed.from, token, (method, path), body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask(&self.admin.token, "GET", path, &Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.ask(&self.admin.token, "POST", path, &body).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Reply {
        self.ask(&self.admin.token, "PUT", path, &body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Reply {
        self.ask(&self.admin.token, "PATCH", path, &body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.ask(&self.admin.token, "DELETE", path, &Value::Null)
            .await
    }

    pub(crate) async fn login(&self, name: &str, password: &str) -> Reply {
        let body = json!({"username": name, "password": password});
        self.ask("", "POST", "/v1/auth/login", &body).await
    }

    /// A new user of the account, made by the administrator: id and name.
    pub(crate) async fn new_user(&self) -> (String, String) {
        let name = unique("user");
        let body = json!({"username": name, "password": PASSWORD});
        let made = self.post("/v1/admin/users", body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        (text(&made.json()["user"], "id"), name)
    }

    /// A container of `user`, as the registry makes it.
    pub(crate) async fn container(&self, user: &User) -> Host {
        self.host(user, None).await
    }

    pub(crate) async fn host(&self, user: &User, device: Option<DeviceId>) -> Host {
        let new = NewHost {
            account: user.account,
            user: user.id,
            device,
            slot_key: device.is_none().then(|| unique("slot")),
            region: None,
            timezone: "America/Los_Angeles".into(),
            hostname: "DESKTOP-ABC1234".into(),
            limits: HostLimits {
                memory_mb: 4096,
                cpus: 2.0,
                disk_gb: 20,
            },
            entry_password_hash: HASH.get().unwrap().clone(),
        };
        self.bed.registry.create_host(new).await.unwrap()
    }

    /// An egress IP of the account: its id.
    pub(crate) async fn egress_ip(&self) -> String {
        let body = json!({"label": "exit", "ip_address": address()});
        let made = self.post("/v1/admin/egress-ips", body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        text(&made.json()["egress_ip"], "id")
    }

    /// Does to the database what no call does yet.
    pub(crate) async fn sql(&self, statement: &str) {
        let database = Database::connect(self.bed.url.as_str()).await.unwrap();
        let done = database.execute_unprepared(statement).await.unwrap();
        assert!(done.rows_affected() > 0, "{statement}");
        database.close().await.unwrap();
    }

    pub(crate) async fn set_host_status(&self, host: &Host, status: &str) {
        let id = self.literal(host.id.0);
        self.sql(&format!(
            "UPDATE hosts SET status = '{status}' WHERE id = {id}"
        ))
        .await;
    }

    /// A UUID as the database writes it.
    pub(crate) fn literal(&self, id: Uuid) -> String {
        if self.bed.url.starts_with("sqlite:") {
            format!("x'{}'", id.simple())
        } else {
            format!("'{id}'")
        }
    }

    /// The events of the account, newest first, that `query` chooses.
    pub(crate) async fn events(&self, query: &str) -> Vec<Value> {
        let reply = self
            .get(&format!("/v1/admin/events?limit=200&{query}"))
            .await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()["events"].as_array().unwrap().clone()
    }
}

/// Sends a request from an address of choice.
pub(crate) async fn send(
    bed: &Bed,
    from: IpAddr,
    token: &str,
    (method, path): (&str, &str),
    body: &Value,
) -> Reply {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: h:8080\r\nConnection: close\r\n");
    if !token.is_empty() {
        head.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let whole = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    http::raw(bed.http, from, whole.as_bytes()).await
}

/// A user with [`PASSWORD`], logged in.
pub(crate) async fn person(bed: &Bed, account: AccountId, role: Role) -> Person {
    let user = person_until(bed, account, role, None).await;
    let body = json!({"username": user.username, "password": PASSWORD});
    let reply = send(bed, bed.from, "", ("POST", "/v1/auth/login"), &body).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    Person {
        token: text(&reply.json(), "token"),
        user,
    }
}

/// A user with [`PASSWORD`] whose time is over then.
pub(crate) async fn person_until(
    bed: &Bed,
    account: AccountId,
    role: Role,
    expires_at: Option<Timestamp>,
) -> User {
    let new = NewUser {
        account,
        username: unique(role.as_str()),
        role,
        password_hash: HASH.get().unwrap().clone(),
        expires_at,
        short_id: None,
    };
    bed.registry.create_user(new).await.unwrap()
}

pub(crate) fn user_id(text: &str) -> UserId {
    UserId(Uuid::try_parse(text).unwrap())
}

/// A name that no other story has.
pub(crate) fn unique(prefix: &str) -> String {
    let id = Uuid::new_v4().simple().to_string();
    format!("{prefix}-{}", &id[..12])
}

/// An address that no other story has.
pub(crate) fn address() -> String {
    let [a, b, c, d, ..] = *Uuid::new_v4().as_bytes();
    IpAddr::from([
        0x2001,
        0xdb8,
        0,
        0,
        0,
        0,
        u16::from_be_bytes([a, b]),
        u16::from_be_bytes([c, d]),
    ])
    .to_string()
}

/// Whether so many wrong passwords since then are what the lock lets through: ten, and one more for every six seconds
/// that they took.
pub(crate) fn is_lock(failures: u64, since: Instant) -> bool {
    (10..=10 + since.elapsed().as_secs() / 6).contains(&failures)
}

pub(crate) fn refused(reply: &Reply, status: u16, text: &str) {
    assert_eq!(reply.body, format!("{}\n", json!({ "error": text })));
    assert_eq!(reply.status, status, "{text}");
}

pub(crate) fn done(reply: &Reply) {
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
}

pub(crate) fn text(json: &Value, key: &str) -> String {
    json[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} in {json}"))
        .to_owned()
}

/// The values of `key` in a list.
pub(crate) fn column(list: &Value, key: &str) -> Vec<String> {
    list.as_array()
        .unwrap_or_else(|| panic!("no list: {list}"))
        .iter()
        .map(|item| text(item, key))
        .collect()
}

/// Sorted names of the members of an object.
pub(crate) fn keys(json: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = json
        .as_object()
        .unwrap_or_else(|| panic!("no object: {json}"))
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}
