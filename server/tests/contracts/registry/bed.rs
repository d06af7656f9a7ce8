//! A fresh registry with an account, a node and a key, and short words for what the stories do.

use std::path::PathBuf;

use moorline_protocol::Secret;
use moorline_protocol::scope::Scope;
use moorline_server::master_key::MasterKey;
use moorline_server::registry::Registry;
use moorline_server::registry::error::CreateDeviceError;
use moorline_server::registry::model::{
    AccountId, ApiKey, CreatedDevice, DeviceId, HostLimits, KeyContext, KeyLimits, Naming,
    NewApiClient, NewDevice, NewHost, Node, NodeStatus, PublicKey, UserId,
};
use sea_orm::{ConnectionTrait as _, Database};

/// Where databases are made.
pub(crate) enum Place {
    Folder(PathBuf),
    /// Folder of the server's socket.
    Server(PathBuf),
}

pub(crate) struct Bed {
    pub(crate) registry: Registry,
    pub(crate) url: String,
    pub(crate) master_key: MasterKey,
    pub(crate) account: AccountId,
    pub(crate) key: ApiKey,
}

impl Bed {
    pub(crate) async fn make(place: &Place, story: &str) -> Self {
        let url = match place {
            Place::Folder(folder) => {
                format!("sqlite://{}?mode=rwc", folder.join(story).display())
            }
            Place::Server(socket) => {
                // PostgreSQL cuts names at 63 bytes.
                let name: String = story.chars().take(60).collect();
                let server = |database: &str| {
                    format!(
                        "postgres://moorline@localhost/{database}?host={}",
                        socket.display()
                    )
                };
                let admin = Database::connect(server("postgres")).await.unwrap();
                admin
                    .execute_unprepared(&format!("CREATE DATABASE {name}"))
                    .await
                    .unwrap();
                server(&name)
            }
        };
        let master_key = MasterKey::random().unwrap();
        let registry = Registry::open(&url, master_key.clone()).await.unwrap();
        let account = registry.first_account().await.unwrap().id;
        registry
            .put_node(node("eu1", (10_000, 59_999)))
            .await
            .unwrap();
        let mut bed = Self {
            registry,
            url,
            master_key,
            account,
            key: placeholder(account),
        };
        bed.key = bed.make_key("first", KeyLimits::default()).await;
        bed
    }

    pub(crate) async fn make_key(&self, name: &str, limits: KeyLimits) -> ApiKey {
        let new = NewApiClient {
            limits,
            ..new_client(name)
        };
        let made = self.registry.create_api_client(self.account, new).await;
        made.unwrap().0
    }

    /// What a device sends when it sends nothing special.
    pub(crate) fn new_device(&self) -> NewDevice {
        NewDevice {
            api_key_id: self.key.id.clone(),
            account: self.account,
            naming: Naming::Serial {
                prefix: "cli".into(),
            },
            region: None,
            device_port: 22,
            username: None,
            public_key: None,
            hostname: None,
            hardware: None,
        }
    }

    pub(crate) fn named(&self, name: &str) -> NewDevice {
        NewDevice {
            naming: Naming::Given(name.into()),
            ..self.new_device()
        }
    }

    pub(crate) fn with_key(&self, number: u8) -> NewDevice {
        NewDevice {
            public_key: Some(public_key(number)),
            ..self.new_device()
        }
    }

    pub(crate) async fn create(&self, new: NewDevice) -> Result<CreatedDevice, CreateDeviceError> {
        self.registry.create_device(new).await
    }

    /// Makes a device that has to succeed.
    pub(crate) async fn made(&self, new: NewDevice) -> CreatedDevice {
        self.create(new).await.unwrap()
    }

    /// Makes devices at the same time.
    pub(crate) async fn at_once(
        &self,
        news: impl IntoIterator<Item = NewDevice>,
    ) -> Vec<Result<CreatedDevice, CreateDeviceError>> {
        let calls = news.into_iter().map(|new| self.create(new));
        futures::future::join_all(calls).await
    }

    pub(crate) async fn count(&self) -> u64 {
        self.registry
            .count_devices(self.account, None)
            .await
            .unwrap()
    }

    /// Does to the database what no call does.
    pub(crate) async fn sql(&self, statement: &str) {
        let database = Database::connect(self.url.as_str()).await.unwrap();
        database.execute_unprepared(statement).await.unwrap();
    }
}

pub(crate) fn new_client(name: &str) -> NewApiClient {
    NewApiClient {
        name: Some(name.into()),
        context: KeyContext::Account,
        scope: vec![Scope::DeviceCreate.as_str().into()],
        rate_limit: 600,
        limits: KeyLimits::default(),
    }
}

/// A host that is `device`, in use by `user`.
pub(crate) fn new_host(account: AccountId, user: UserId, device: DeviceId) -> NewHost {
    NewHost {
        account,
        user,
        device: Some(device),
        slot_key: None,
        region: None,
        timezone: String::new(),
        hostname: String::new(),
        limits: HostLimits {
            memory_mb: 0,
            cpus: 0.0,
            disk_gb: 0,
        },
        entry_password_hash: Secret::new("$argon2id$".into()),
    }
}

fn placeholder(account: AccountId) -> ApiKey {
    ApiKey {
        id: String::new(),
        owner_id: String::new(),
        owner_name: String::new(),
        account,
        context: KeyContext::Account,
        scope: Vec::new(),
        rate_limit: 0,
        limits: KeyLimits::default(),
        created_at: moorline_server::registry::model::Timestamp(0),
        modified_at: moorline_server::registry::model::Timestamp(0),
    }
}

pub(crate) fn node(name: &str, ports: (u16, u16)) -> Node {
    Node {
        name: name.into(),
        public_host: format!("{name}.example.net"),
        ssh_port: 2222,
        host_key: "ssh-ed25519 AAAA".into(),
        status: NodeStatus::Active,
        ports,
        names_domain: None,
    }
}

/// An ed25519 key that differs by `number`.
pub(crate) fn public_key(number: u8) -> PublicKey {
    let mut blob = Vec::new();
    for field in [b"ssh-ed25519".as_slice(), &[number; 32]] {
        blob.extend_from_slice(&u32::try_from(field.len()).unwrap().to_be_bytes());
        blob.extend_from_slice(field);
    }
    let text = data_encoding::BASE64.encode(&blob);
    PublicKey::parse(&format!("ssh-ed25519 {text} device {number}")).unwrap()
}
