//! A server for the stories, and short words for what they do.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use moorline_protocol::operator::DeviceState;
use moorline_protocol::scope::Scope;
use moorline_server::config::file::ConfigFile;
use moorline_server::config::{Config, Overrides};
use moorline_server::master_key::MasterKey;
use moorline_server::registry::Registry;
use moorline_server::registry::model::{
    AccountId, DeviceId, KeyContext, KeyLimits, NewApiClient, Node, NodeStatus, Timestamp,
};
use moorline_server::serve::serve;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::http::{self, Reply, encode};

const DEVICE_SCOPES: [Scope; 4] = [
    Scope::DeviceCreate,
    Scope::DeviceRead,
    Scope::DeviceModify,
    Scope::DeviceDelete,
];

pub(crate) struct Bed {
    folder: TempDir,
    stop: CancellationToken,
    running: JoinHandle<()>,
    pub(crate) registry: Registry,
    /// Of the database.
    pub(crate) url: String,
    pub(crate) http: SocketAddr,
    /// Of the story that is told.
    pub(crate) account: AccountId,
    pub(crate) from: IpAddr,
    pub(crate) key: String,
    story: u8,
}

/// What a new API key shall be.
pub(crate) struct KeyWish {
    pub(crate) scopes: Vec<Scope>,
    pub(crate) context: KeyContext,
    pub(crate) rate: i64,
    pub(crate) limits: KeyLimits,
}

impl Default for KeyWish {
    fn default() -> Self {
        Self {
            scopes: DEVICE_SCOPES.to_vec(),
            context: KeyContext::Account,
            rate: -1,
            limits: KeyLimits::default(),
        }
    }
}

impl Bed {
    pub(crate) async fn on_sqlite() -> Self {
        Self::configured("").await
    }

    pub(crate) async fn on(url: &str) -> Self {
        Self::configured(&format!("[database]\nurl = \"{url}\"")).await
    }

    /// With this text as its configuration file.
    pub(crate) async fn configured(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let any = || "127.0.0.1:0".parse().unwrap();
        let overrides = Overrides {
            data_dir: Some(folder.path().to_owned()),
            http: Some(any()),
            ssh: vec![any()],
            ports: Some("20000-40000".parse().unwrap()),
            ..Overrides::default()
        };
        let config = Config::combine(ConfigFile::parse(text).unwrap(), overrides).unwrap();
        let url = config.database_url.clone();
        let stop = CancellationToken::new();
        let token = stop.clone();
        let running = spawn(async move { serve(config, token).await.unwrap() });
        let http = wait_for_address(folder.path()).await;
        let keys = MasterKey::read_or_create(&folder.path().join("master.key")).unwrap();
        let registry = Registry::open(url.expose(), keys).await.unwrap();
        let account = registry.first_account().await.unwrap().id;
        Self {
            folder,
            stop,
            running,
            registry,
            url: url.expose().clone(),
            http,
            account,
            from: IpAddr::from([127, 0, 0, 1]),
            key: String::new(),
            story: 1,
        }
    }

    /// The data folder of the server.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address of its database.
    pub(crate) fn database_url(&self) -> &str {
        &self.url
    }

    /// A new account, key and source address.
    pub(crate) async fn turn_page(&mut self, story: &str) {
        self.story += 1;
        self.from = IpAddr::from([127, 0, 0, self.story]);
        self.account = self.registry.create_account(story).await.unwrap().id;
        self.key = self.make_key(KeyWish::default()).await;
    }

    /// Ends the server; its data folder is there until what is given back is dropped.
    pub(crate) async fn stop(self) -> TempDir {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(300), self.running)
            .await
            .expect("the server ends in time")
            .unwrap();
        self.folder
    }

    /// The secret of a new key of this story's account.
    pub(crate) async fn make_key(&self, wish: KeyWish) -> String {
        self.key_of(self.account, wish).await
    }

    pub(crate) async fn key_of(&self, account: AccountId, wish: KeyWish) -> String {
        let new = NewApiClient {
            name: None,
            context: wish.context,
            scope: wish
                .scopes
                .iter()
                .map(|scope| scope.as_str().to_owned())
                .collect(),
            rate_limit: wish.rate,
            limits: wish.limits,
        };
        let (_, secret) = self.registry.create_api_client(account, new).await.unwrap();
        secret.into_exposed()
    }

    /// A key with these scopes.
    pub(crate) async fn scoped(&self, scopes: &[Scope]) -> String {
        let scopes = scopes.to_vec();
        self.make_key(KeyWish {
            scopes,
            ..KeyWish::default()
        })
        .await
    }

    /// `GET` with exactly these parameters.
    pub(crate) async fn bare(&self, call: &str, parameters: &[(&str, &str)]) -> Reply {
        let query: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        let target = format!("/init/api/{call}?{}", query.join("&"));
        http::send(self.http, self.from, "GET", &target, None, b"").await
    }

    /// `GET` with this story's key before the parameters.
    pub(crate) async fn get(&self, call: &str, parameters: &[(&str, &str)]) -> Reply {
        let with_key = [&[("api_key", self.key.as_str())], parameters].concat();
        self.bare(call, &with_key).await
    }

    pub(crate) async fn verdict(&self, call: &str, parameters: &[(&str, &str)]) -> (u64, String) {
        self.get(call, parameters).await.verdict()
    }

    pub(crate) async fn code(&self, call: &str, parameters: &[(&str, &str)]) -> u64 {
        self.verdict(call, parameters).await.0
    }

    pub(crate) async fn post(&self, call: &str, kind: Option<&str>, body: &str) -> Reply {
        let target = format!("/init/api/{call}");
        http::send(self.http, self.from, "POST", &target, kind, body.as_bytes()).await
    }

    /// Makes a device that has to succeed.
    pub(crate) async fn create(&self, parameters: &[(&str, &str)]) -> Value {
        let reply = self.get("create_new_client", parameters).await;
        assert_eq!(reply.verdict(), (0, "OK".into()), "{parameters:?}");
        reply.json()
    }

    /// `client_id` of a new device.
    pub(crate) async fn device(&self, parameters: &[(&str, &str)]) -> String {
        text(&self.create(parameters).await, "client_id")
    }

    /// The list as the key sees it.
    pub(crate) async fn list(&self, key: &str) -> Vec<Value> {
        let reply = self.bare("device_list", &[("api_key", key)]).await;
        reply.json().as_array().unwrap().clone()
    }

    /// The quadruple of a device: `dbid`, `host_uuid`, `ports_id`, `user_id`.
    pub(crate) async fn quadruple(&self, id: &str) -> [(&'static str, String); 4] {
        let list = self.list(&self.key).await;
        let item = list.iter().find(|item| item["client_id"] == id).unwrap();
        [
            ("dbid", text(item, "dbid")),
            ("host_uuid", id.to_owned()),
            ("ports_id", item["ports_id"].to_string()),
            ("user_id", item["user_id"].to_string()),
        ]
    }

    pub(crate) async fn set_state(&self, id: &str, state: DeviceState) {
        assert!(self.registry.set_state(device_id(id), state).await.unwrap());
    }

    pub(crate) async fn node(&self) -> Node {
        self.registry.node("local").await.unwrap().unwrap()
    }

    pub(crate) async fn set_node(&self, status: NodeStatus) {
        let node = Node {
            status,
            ..self.node().await
        };
        self.registry.put_node(node).await.unwrap();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the handle is awaited in `Bed::stop`"
)]
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(task)
}

async fn wait_for_address(folder: &Path) -> SocketAddr {
    for _ in 0..3000 {
        if let Ok(text) = std::fs::read_to_string(folder.join("listening.json")) {
            let json: Value = serde_json::from_str(&text).unwrap();
            return json["http"][0].as_str().unwrap().parse().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the server did not start within five minutes");
}

pub(crate) fn device_id(text: &str) -> DeviceId {
    DeviceId(Uuid::try_parse(text).unwrap())
}

pub(crate) fn text(json: &Value, key: &str) -> String {
    json[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} in {json}"))
        .to_owned()
}

pub(crate) fn refs<'a>(pairs: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    pairs
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

/// An OpenSSH public key that no other call gave.
pub(crate) fn public_key() -> String {
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend_from_slice(Uuid::new_v4().as_bytes());
    blob.extend_from_slice(Uuid::new_v4().as_bytes());
    format!("ssh-ed25519 {}", data_encoding::BASE64.encode(&blob))
}

pub(crate) fn past() -> Timestamp {
    Timestamp(Timestamp::now().0 - 1_000_000)
}
