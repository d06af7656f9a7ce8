//! A server with HTTP names, and devices with sessions on it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use data_encoding::HEXLOWER;
use moorline_protocol::Secret;
use moorline_server::config::file::ConfigFile;
use moorline_server::config::{Config, Overrides};
use moorline_server::master_key::MasterKey;
use moorline_server::passwords::Passwords;
use moorline_server::registry::Registry;
use moorline_server::registry::model::{
    AccountId, Device, DeviceId, Forward, ForwardKind, KeyContext, KeyLimits, NewApiClient,
    NewUser, PolicyChange, Role,
};
use moorline_server::serve::serve;
use sea_orm::{ConnectionTrait as _, Database};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::http::{self, Reply};

/// Domain of the names, and public host of the node.
pub(crate) const DOMAIN: &str = "node.test";
/// Where requests come from unless a story says otherwise.
pub(crate) const VISITOR: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7));

pub(crate) struct Bed {
    folder: TempDir,
    stop: CancellationToken,
    running: JoinHandle<()>,
    keys: MasterKey,
    pub(crate) registry: Registry,
    pub(crate) account: AccountId,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) names: SocketAddr,
    pub(crate) names_tls: SocketAddr,
    /// Stands in the lists of HTTP and of SSH.
    pub(crate) shared: SocketAddr,
    key: String,
    /// Of an administrator.
    pub(crate) token: String,
}

/// A session of a device, with its HTTP name if it has one.
pub(crate) struct Session {
    pub(crate) device: Device,
    pub(crate) forward: Forward,
}

impl Session {
    /// `<label>.u.node.test`.
    pub(crate) fn name(&self) -> String {
        format!("{}.u.{DOMAIN}", self.forward.http_label.as_ref().unwrap())
    }
}

impl Bed {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shared = free_address().await;
        let text = format!(
            "[http]\nlisten = [\"127.0.0.1:0\", \"{shared}\"]\n\
             [ssh]\nlisten = [\"127.0.0.1:0\", \"{shared}\"]\n\
             [tls]\nself_signed = true\nlisten = [\"127.0.0.1:0\"]\n\
             [names]\nlisten = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]\n"
        );
        let overrides = Overrides {
            data_dir: Some(folder.path().to_owned()),
            public_host: Some(DOMAIN.into()),
            ports: Some("20000-40000".parse().unwrap()),
            ..Overrides::default()
        };
        let config = Config::combine(ConfigFile::parse(&text).unwrap(), overrides).unwrap();
        let url = config.database_url.clone();
        let stop = CancellationToken::new();
        let token = stop.clone();
        let running = spawn(async move { serve(config, token).await.unwrap() });
        let listening = wait_for_addresses(folder.path()).await;
        let address = |list: &str, index: usize| -> SocketAddr {
            listening[list][index].as_str().unwrap().parse().unwrap()
        };
        let keys = MasterKey::read_or_create(&folder.path().join("master.key")).unwrap();
        let registry = Registry::open(url.expose(), keys.clone()).await.unwrap();
        let account = registry.first_account().await.unwrap().id;
        let new = NewApiClient {
            name: None,
            context: KeyContext::Account,
            scope: vec!["device:create".into()],
            rate_limit: -1,
            limits: KeyLimits::default(),
        };
        let (_, secret) = registry.create_api_client(account, new).await.unwrap();
        let http = address("http", 0);
        let token = administrator(&registry, account, http).await;
        Self {
            http,
            token,
            https: address("http", 2),
            names: address("names", 0),
            names_tls: address("names_tls", 0),
            key: secret.into_exposed(),
            folder,
            stop,
            running,
            keys,
            registry,
            account,
            shared,
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(300), self.running)
            .await
            .expect("the server ends in time")
            .unwrap();
    }

    /// The authority that signed the server's certificate.
    pub(crate) fn authority(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("tls/ca.pem")).unwrap()
    }

    /// A new device with a session of that kind, whose visitors may come as often as they like.
    pub(crate) async fn session(&self, kind: ForwardKind) -> Session {
        let target = format!(
            "/init/api/create_new_client?api_key={}&type=random&region=local",
            self.key
        );
        let made = http::send(self.http, VISITOR, "GET", &target, None, b"").await;
        let id = made.json()["client_id"].as_str().unwrap().to_owned();
        let id = DeviceId(Uuid::try_parse(&id).unwrap());
        self.registry.set_max_connections(id, 0).await.unwrap();
        let (forward, made) = self.registry.add_forward(id, 80, kind).await.unwrap();
        assert!(made);
        let token = token_of(forward.id.0);
        let hash = self.keys.keyed_hash("session token", token.as_bytes());
        let hash = HEXLOWER.encode(&hash);
        self.sql(&format!(
            "UPDATE forwards SET session_token = '{hash}' WHERE id = {}",
            forward.id.0
        ))
        .await;
        let device = self.registry.device(id).await.unwrap().unwrap();
        Session { device, forward }
    }

    /// Waits until the tunnel of that session is up.
    pub(crate) async fn wait_open(&self, session: &Session) {
        for _ in 0..6000 {
            if self.seen(session).await["open"] == true {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the session did not open");
    }

    /// Waits until the device of a session is there, whether its forward is open or not.
    pub(crate) async fn wait_connected(&self, session: &Session) {
        let path = format!("/v1/admin/devices/{}", session.device.id);
        for _ in 0..300 {
            let reply = self.operate("GET", &path, "").await;
            if reply.json()["device"]["tunnel"].is_object() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the device did not connect");
    }

    /// A session as operators see it.
    pub(crate) async fn seen(&self, session: &Session) -> Value {
        let path = format!("/v1/admin/devices/{}/forwards", session.device.id);
        let reply = self.operate("GET", &path, "").await;
        let forwards = reply.json()["forwards"].clone();
        let forwards = forwards.as_array().unwrap().iter();
        let mut this = forwards.filter(|one| one["id"] == session.forward.id.0);
        this.next().cloned().unwrap_or(Value::Null)
    }

    /// A call of the control surface.
    pub(crate) async fn operate(&self, method: &str, path: &str, body: &str) -> Reply {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        http::raw(self.http, VISITOR, request.as_bytes()).await
    }

    pub(crate) async fn sql(&self, statement: &str) {
        let path = self.folder.path().join("moorline.db");
        let database = Database::connect(format!("sqlite://{}", path.display()))
            .await
            .unwrap();
        let done = database.execute_unprepared(statement).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{statement}");
        database.close().await.unwrap();
    }

    /// `GET path` for `host` on the port for names.
    pub(crate) async fn get(&self, host: &str, path: &str) -> Reply {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        http::raw(self.names, VISITOR, request.as_bytes()).await
    }

    /// What another process on the same database does, as a node's own look finds it within seconds.
    pub(crate) async fn demand(&self, session: &Session, recording_required: bool) {
        let policy = PolicyChange {
            recording_required: Some(recording_required),
            ..PolicyChange::default()
        };
        let set = self.registry.set_device_policy(session.device.id, policy);
        assert!(set.await.unwrap());
    }
}

/// Session token of the forward with that number.
pub(crate) fn token_of(number: i64) -> String {
    format!("q8Zt3LmB{number:08}")
}

async fn administrator(registry: &Registry, account: AccountId, http: SocketAddr) -> String {
    let passwords = Passwords::new().await.unwrap();
    let hash = passwords.hash(Secret::new("correct horse".into())).await;
    let new = NewUser {
        account,
        username: "anna".into(),
        role: Role::Admin,
        password_hash: hash.unwrap(),
        expires_at: None,
        short_id: None,
    };
    registry.create_user(new).await.unwrap();
    let body = br#"{"username":"anna","password":"correct horse"}"#;
    let kind = Some("application/json");
    let reply = http::send(http, VISITOR, "POST", "/v1/auth/login", kind, body).await;
    reply.json()["token"].as_str().unwrap().to_owned()
}

async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the handle is awaited in `Bed::stop`"
)]
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(task)
}

async fn wait_for_addresses(folder: &Path) -> Value {
    for _ in 0..3000 {
        if let Ok(text) = std::fs::read_to_string(folder.join("listening.json")) {
            return serde_json::from_str(&text).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the server did not start within five minutes");
}
