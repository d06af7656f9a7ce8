use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use moorline_protocol::control::{AGENT_IDENT, Hello, SUBSYSTEM, ToServer};
use russh::client::{Config, Handle, Handler};
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg};
use russh::{Channel, ChannelMsg, SshId, client};
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Handshakes at once: both ends share this machine.
const HANDSHAKES: usize = 16;
/// Longest login of one tunnel.
const LOGIN_LIMIT: Duration = Duration::from_secs(30);
/// Bytes that the tunnel would take before it grants more, as the agent says it.
const STREAM_CREDIT_BYTES: u32 = 1024 * 1024;
/// Silence that the tunnel lets pass; longer than the bench, so that an idle tunnel is idle.
const KEEPALIVE_SECS: u32 = 600;

/// Who brings a tunnel.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    user: String,
    key: Arc<PrivateKey>,
    agent: Option<u16>,
    source: Ipv4Addr,
}

impl Login {
    /// A stock client that asks for any free port.
    pub(crate) fn with_key_file(user: &str, private: &Path) -> Result<Self> {
        Ok(Self {
            user: user.to_owned(),
            key: Arc::new(russh::keys::load_secret_key(private, None)?),
            agent: None,
            source: Ipv4Addr::LOCALHOST,
        })
    }

    /// An agent that asks for its public port.
    pub(crate) fn agent(user: &str, key: Arc<PrivateKey>, public_port: u16) -> Self {
        Self {
            user: user.to_owned(),
            key,
            agent: Some(public_port),
            source: Ipv4Addr::LOCALHOST,
        }
    }

    /// The same from another address of loopback.
    pub(crate) fn from(self, source: Ipv4Addr) -> Self {
        Self { source, ..self }
    }
}

/// A random number.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A new device key.
pub(crate) fn device_key() -> Result<PrivateKey> {
    let mut seed = [0; 32];
    std::io::Read::read_exact(
        &mut std::fs::File::open("/dev/urandom").context("open /dev/urandom")?,
        &mut seed,
    )?;
    Ok(PrivateKey::from(Ed25519Keypair::from_seed(&seed)))
}

/// Many tunnels of this process, up until it is dropped.
pub(crate) struct IdleTunnels {
    // Fields go in this order: tunnels end before the runtime that carries them.
    _tunnels: Vec<Tunnel>,
    _runtime: Runtime,
}

/// A tunnel that is up.
pub(crate) struct Tunnel {
    handle: Handle<Trusting>,
    _control: Option<Channel<client::Msg>>,
}

impl Tunnel {
    /// Waits until it is lost.
    pub(crate) async fn ended(self) {
        self.handle.await.unwrap_or_default();
    }
}

impl IdleTunnels {
    /// Logs every one of `logins` in at `port` of loopback, with a forward each.
    pub(crate) fn hold(port: u16, logins: Vec<Login>) -> Result<Self> {
        let runtime = Runtime::new()?;
        let tunnels = runtime.block_on(connect_all(port, logins))?;
        Ok(Self {
            _tunnels: tunnels,
            _runtime: runtime,
        })
    }
}

async fn connect_all(port: u16, logins: Vec<Login>) -> Result<Vec<Tunnel>> {
    let turn = Arc::new(Semaphore::new(HANDSHAKES));
    let mut waiting = JoinSet::new();
    for login in logins {
        let turn = turn.clone();
        waiting.spawn(async move {
            let _turn = turn.acquire().await?;
            tokio::time::timeout(LOGIN_LIMIT, connect(port, login))
                .await
                .context("log an idle tunnel in")?
        });
    }
    let mut tunnels = Vec::new();
    while let Some(tunnel) = waiting.join_next().await {
        tunnels.push(tunnel??);
    }
    Ok(tunnels)
}

/// Logs in and asks for the forward.
pub(crate) async fn connect(port: u16, login: Login) -> Result<Tunnel> {
    let mut config = Config {
        nodelay: true,
        ..Config::default()
    };
    if login.agent.is_some() {
        config.client_id = SshId::Standard(format!("{AGENT_IDENT}bench").into());
    }
    let socket = TcpSocket::new_v4()?;
    socket.bind((login.source, 0).into())?;
    let stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
    stream.set_nodelay(true)?;
    let mut handle = client::connect_stream(Arc::new(config), stream, Trusting).await?;
    let key = PrivateKeyWithHashAlg::new(login.key, None);
    let answer = handle.authenticate_publickey(login.user, key).await?;
    ensure!(answer.success(), "an idle tunnel was refused");
    let control = match login.agent {
        Some(_) => Some(say_hello(&handle).await?),
        None => None,
    };
    let (address, port) = match login.agent {
        Some(port) => ("", port),
        None => ("127.0.0.1", 0),
    };
    handle
        .tcpip_forward(address, u32::from(port))
        .await
        .context("ask for a forward")?;
    Ok(Tunnel {
        handle,
        _control: control,
    })
}

/// Opens the control channel as the agent does, and waits for the welcome.
async fn say_hello(handle: &Handle<Trusting>) -> Result<Channel<client::Msg>> {
    let mut channel = handle.channel_open_session().await?;
    channel.request_subsystem(true, SUBSYSTEM).await?;
    let hello = ToServer::Hello(Hello {
        agent_version: "bench".into(),
        stream_credit_bytes: STREAM_CREDIT_BYTES,
        keepalive_secs: KEEPALIVE_SECS,
        ..Hello::default()
    });
    let line = format!("{}\n", serde_json::to_string(&hello)?);
    channel.data(line.as_bytes()).await?;
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Data { .. }) => return Ok(channel),
            Some(_) => {}
            None => bail!("the control channel ended before the welcome"),
        }
    }
}

/// Takes any host key: the server is our own child.
pub(crate) struct Trusting;

impl Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        _key: &russh::keys::PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        Ok(true)
    }
}
