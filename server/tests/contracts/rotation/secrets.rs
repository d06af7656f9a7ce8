//! One of everything that hangs on the master key, and the look whether it is there still.

use moorline_protocol::Secret;
use moorline_protocol::scope::Scope;
use moorline_server::master_key::files::KeyFiles;
use moorline_server::registry::error::RegistryError;
use moorline_server::registry::model::{
    AccountId, DeviceId, EgressIpId, EgressSettings, EgressStatus, EgressTunnel, EventFilter,
    ForwardId, ForwardKind, HostId, KeyContext, KeyLimits, KeyPurpose, Naming, NewApiClient,
    NewDevice, NewEvent, NewUser, NewUserKey, Node, NodeStatus, PublicKey, Role, Timestamp,
    WireGuard,
};
use moorline_server::registry::{Registry, Restart, SessionWish};
use uuid::Uuid;

use crate::bench::Bench;
use crate::registry::bed::new_host;

const PRIVATE_KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const WG_PRIVATE: &str = "wireguard private key";
const WG_SHARED: &str = "wireguard preshared key";
const PROXY_PASSWORD: &str = "proxy password";
const ONE_TIME: &str = "abcdefghijklmnopqrstuvwx";
const TYPED: &str = "somebody";

/// What holders of secrets know.
#[derive(Debug, PartialEq)]
pub(crate) struct Secrets {
    account: AccountId,
    api_key_id: String,
    pub(crate) api_key: String,
    binding_token: String,
    user_key: Uuid,
    egress: [EgressIpId; 2],
    device: DeviceId,
    dbid: String,
    session_port: u16,
    session: ForwardId,
    session_token: String,
    forward_token: String,
    host: HostId,
    events: Vec<Uuid>,
}

/// The registry under whichever key file fits.
pub(crate) async fn open(bench: &Bench) -> Result<Registry, RegistryError> {
    let files = KeyFiles::read(&bench.data().join("master.key")).unwrap();
    Registry::open(&bench.url, files.candidates().clone()).await
}

impl Secrets {
    pub(crate) async fn make(bench: &Bench) -> Self {
        let registry = open(bench).await.unwrap();
        let account = registry.first_account().await.unwrap().id;
        registry.put_node(node()).await.unwrap();
        let client = NewApiClient {
            name: Some("everything".into()),
            context: KeyContext::Account,
            scope: Scope::ALL.map(|scope| scope.as_str().to_owned()).to_vec(),
            rate_limit: -1,
            limits: KeyLimits::default(),
        };
        let (key, api_key) = registry.create_api_client(account, client).await.unwrap();
        let binding_token = registry.binding_token(account).await.unwrap().unwrap();
        let user = registry.create_user(user(account)).await.unwrap();
        let user_key = NewUserKey {
            purpose: KeyPurpose::Outbound,
            label: "out".into(),
            public_key: public_key(),
            private_key: Some(Secret::new(PRIVATE_KEY.into())),
        };
        let user_key = registry.add_user_key(user.id, user_key).await.unwrap().id;
        let device = new_device(account, &key.id, "harbour");
        let device = registry.create_device(device).await.unwrap().id;
        let seen = registry.device(device).await.unwrap().unwrap();
        let session = registry.open_session(&wish(device)).await.unwrap();
        let host = new_host(account, user.id, device);
        let host = registry.create_host(host).await.unwrap().id;
        let in_an_hour = Timestamp(Timestamp::now().0 + 3_600_000_000);
        let one_time = Secret::new(ONE_TIME.to_owned());
        let owner = registry.user(user.id).await.unwrap().unwrap();
        let kept = registry.add_one_time_password(host, &owner, &one_time, in_an_hour);
        assert!(kept.await.unwrap());
        let hour = std::time::Duration::from_secs(3600);
        let failed = registry.count_login_failure("user", TYPED, Timestamp::now(), hour);
        failed.await.unwrap();
        registry.record_event(event(account)).await.unwrap();
        let recorded = events(&registry, account).await;
        assert_eq!(recorded.len(), 1);
        let egress = [
            egress_ip(&registry, account, "203.0.113.1", wireguard()).await,
            egress_ip(&registry, account, "203.0.113.2", proxy()).await,
        ];
        Self {
            account,
            api_key_id: key.id,
            api_key: api_key.into_exposed(),
            binding_token: binding_token.into_exposed(),
            user_key,
            egress,
            device,
            dbid: seen.dbid.into_exposed(),
            session_port: session.forward.public_port,
            session: session.forward.id,
            session_token: session.token.into_exposed(),
            forward_token: registry.forward_tunnel_token(device),
            host,
            events: recorded,
        }
    }

    /// Everything works as it did, whatever the key is.
    pub(crate) async fn check(&self, bench: &Bench) {
        let registry = open(bench).await.unwrap();
        let found = registry.api_key_by_secret(&self.api_key).await.unwrap();
        assert_eq!(found.unwrap().id, self.api_key_id);
        let shown = registry.api_key_of(self.account, "everything").await;
        assert_eq!(shown.unwrap().unwrap().1.expose(), &self.api_key);
        let bound = registry.account_by_binding_token(&self.binding_token).await;
        assert_eq!(bound.unwrap().unwrap().id, self.account);
        let token = registry.binding_token(self.account).await.unwrap();
        assert_eq!(token.unwrap().expose(), &self.binding_token);
        let private = registry.user_private_key(self.user_key).await.unwrap();
        assert_eq!(private.unwrap().expose(), PRIVATE_KEY);
        self.check_egress(&registry).await;
        let device = registry.device(self.device).await.unwrap().unwrap();
        assert_eq!(device.dbid.expose(), &self.dbid);
        assert!(registry.is_token_of_device(&device, &self.session_token));
        assert!(registry.is_token_of_device(&device, &self.forward_token));
        let token = registry.forward_tunnel_token(self.device);
        assert_eq!(token, self.forward_token);
        // The client gets the port back that it had.
        let again = SessionWish {
            token: Some(Secret::new(self.session_token.clone())),
            port: Some(self.session_port),
            ..wish(self.device)
        };
        let session = registry.open_session(&again).await.unwrap();
        assert_eq!(session.forward.id, self.session);
        assert_eq!(events(&registry, self.account).await, self.events);
    }

    async fn check_egress(&self, registry: &Registry) {
        let found = registry.egress_ip(self.account, self.egress[0]).await;
        let EgressTunnel::WireGuard(wireguard) = found.unwrap().unwrap().tunnel else {
            panic!("it is WireGuard");
        };
        assert_eq!(wireguard.private_key.unwrap().expose(), WG_PRIVATE);
        assert_eq!(wireguard.preshared_key.unwrap().expose(), WG_SHARED);
        let found = registry.egress_ip(self.account, self.egress[1]).await;
        let EgressTunnel::Proxy(proxy) = found.unwrap().unwrap().tunnel else {
            panic!("it is a proxy");
        };
        assert_eq!(proxy.expose()["password"], PROXY_PASSWORD);
    }

    /// What a rotation drops: one-time passwords, and budgets of failed logins.
    pub(crate) async fn assert_dropped(&self, bench: &Bench) {
        let registry = open(bench).await.unwrap();
        let one_time = Secret::new(ONE_TIME.to_owned());
        let taken = registry.take_one_time_password(self.host, &one_time).await;
        assert!(!taken.unwrap());
        let full_at = registry.login_budget_full_at("user", TYPED).await.unwrap();
        assert!(full_at.is_none());
    }

    /// Makes `count` further devices, so that a rotation has work.
    pub(crate) async fn add_devices(&self, bench: &Bench, count: usize) {
        let registry = open(bench).await.unwrap();
        let calls = (0..count).map(|n| {
            let name = format!("further-{n}");
            registry.create_device(new_device(self.account, &self.api_key_id, &name))
        });
        let made = futures::future::join_all(calls).await;
        assert!(made.iter().all(Result::is_ok));
    }
}

fn node() -> Node {
    Node {
        name: "eu1".into(),
        public_host: "eu1.example.net".into(),
        ssh_port: 2222,
        host_key: "ssh-ed25519 AAAA".into(),
        status: NodeStatus::Active,
        ports: (10_000, 59_999),
        names_domain: None,
    }
}

fn user(account: AccountId) -> NewUser {
    NewUser {
        account,
        username: "anna".into(),
        role: Role::User,
        password_hash: Secret::new("$argon2id$".into()),
        expires_at: None,
        short_id: None,
    }
}

fn new_device(account: AccountId, api_key_id: &str, name: &str) -> NewDevice {
    NewDevice {
        api_key_id: api_key_id.to_owned(),
        account,
        naming: Naming::Given(name.to_owned()),
        region: Some("eu1".into()),
        device_port: 22,
        username: None,
        public_key: None,
        hostname: None,
        hardware: None,
    }
}

fn wish(device: DeviceId) -> SessionWish {
    SessionWish {
        device,
        device_port: 8080,
        port: None,
        token: None,
        server: None,
        kind: ForwardKind::Tcp,
        link_protection: None,
        restart: Restart::ByItself,
        in_use: Vec::new(),
    }
}

fn event(account: AccountId) -> NewEvent {
    NewEvent {
        account: Some(account),
        device: None,
        user: None,
        host: None,
        task: None,
        level: "info",
        kind: "test.happened",
        message: "it happened".into(),
        metadata: serde_json::json!({}),
    }
}

async fn events(registry: &Registry, account: AccountId) -> Vec<Uuid> {
    let filter = EventFilter {
        account: Some(account),
        kind: Some("test.happened".into()),
        limit: 10,
        ..EventFilter::default()
    };
    let events = registry.events(filter).await.unwrap();
    events.into_iter().map(|event| event.uuid).collect()
}

async fn egress_ip(
    registry: &Registry,
    account: AccountId,
    address: &str,
    tunnel: EgressTunnel,
) -> EgressIpId {
    let settings = EgressSettings {
        label: "exit".into(),
        ip_address: address.parse().unwrap(),
        provider: String::new(),
        status: EgressStatus::Available,
        tunnel,
    };
    registry
        .create_egress_ip(account, settings)
        .await
        .unwrap()
        .id
}

fn wireguard() -> EgressTunnel {
    EgressTunnel::WireGuard(WireGuard {
        private_key: Some(Secret::new(WG_PRIVATE.into())),
        preshared_key: Some(Secret::new(WG_SHARED.into())),
        ..WireGuard::default()
    })
}

fn proxy() -> EgressTunnel {
    let config = serde_json::json!({"type": "socks", "password": PROXY_PASSWORD});
    EgressTunnel::Proxy(Secret::new(config.as_object().unwrap().clone()))
}

fn public_key() -> PublicKey {
    let mut blob = Vec::new();
    for field in [b"ssh-ed25519".as_slice(), &[7; 32]] {
        blob.extend_from_slice(&u32::try_from(field.len()).unwrap().to_be_bytes());
        blob.extend_from_slice(field);
    }
    let text = data_encoding::BASE64.encode(&blob);
    PublicKey::parse(&format!("ssh-ed25519 {text}")).unwrap()
}
