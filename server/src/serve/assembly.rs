//! Puts the parts together: everything is bound and loaded, nothing runs yet.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use super::database::registry;
use super::identity::{identity, node, place};
use super::{Assembled, ServeError, ServedNames, Shared, announce, first_start, listeners};
use crate::api::{Api, Clients, Identity, Parts, Tokens};
use crate::config::Config;
use crate::forward::PublicPorts;
use crate::forward::http::{NameParts, Names};
use crate::gateway::{Gateway, GatewayConfig};
use crate::hosts::Hosts;
use crate::http::Http;
use crate::live_sessions::LiveSessions;
use crate::login_limits::LoginLimits;
use crate::passwords::Passwords;
use crate::recording::Recordings;
use crate::tunnels::Tunnels;
use crate::websocket::{WebSocketParts, WebSockets};

/// Silence after which a stock client, over SSH or WebSocket, is asked for a sign of life.
const SSH_KEEPALIVE: Duration = Duration::from_secs(15);

pub(super) async fn assemble(
    config: &Config,
    ports_stop: CancellationToken,
) -> Result<Assembled, ServeError> {
    let shared = shared(config, &ports_stop).await?;
    let registry = &shared.registry;
    registry.close_sessions(&config.region).await?;
    let gateway = gateway(config, &shared)?;
    let https = listeners::https(config)?;
    let listeners = listeners::of_api(config, https.as_ref(), &gateway.entry())?;
    let identity = identity(config, &gateway, &listeners, https.as_ref())?;
    registry.put_node(node(config, &identity)).await?;
    let welcome = first_start::prepare(config, registry, &shared.passwords).await?;
    announce::welcome(&identity, config, welcome);
    let hosts = Hosts::new(
        registry.clone(),
        shared.tunnels.clone(),
        shared.passwords.clone(),
        shared.live.clone(),
        place(config, &identity),
    );
    let api = api(config, &shared, hosts.clone(), identity)?;
    let sockets = sockets(config, &shared);
    let router = api.router().merge(sockets.clone().routes());
    let names = names(config, &shared, ports_stop);
    let grace = config.shutdown_grace;
    let http = Http::new(
        router.clone(),
        names.clone(),
        config.http_connections,
        config.trusted_proxies.clone(),
        grace,
    );
    let names = match (names, &config.names) {
        (Some(names), Some(own)) => Some(ServedNames {
            http: Http::new(
                router,
                Some(names.clone()),
                own.connections,
                config.trusted_proxies.clone(),
                grace,
            ),
            plain: listeners::of_names(config, own, &gateway.entry())?,
            secure: listeners::of_names_over_tls(config, own, https.as_ref(), &gateway.entry())?,
            names,
        }),
        _ => None,
    };
    Ok(Assembled {
        shared,
        gateway,
        hosts,
        http,
        listeners,
        names,
        sockets,
    })
}

async fn shared(config: &Config, ports_stop: &CancellationToken) -> Result<Shared, ServeError> {
    let registry = registry(config).await?;
    let tunnels = Tunnels::default();
    Ok(Shared {
        passwords: Passwords::new().await?,
        logins: LoginLimits::new(registry.clone()),
        live: LiveSessions::default(),
        recordings: Recordings::new(config.data_file("recordings")),
        ports: PublicPorts::new(
            port_addresses(config),
            tunnels.clone(),
            registry.clone(),
            ports_stop.clone(),
        ),
        tunnels,
        registry,
    })
}

fn gateway(config: &Config, shared: &Shared) -> Result<Gateway, ServeError> {
    let gateway = Gateway::bind(
        GatewayConfig {
            listen: listeners::of_gateway(config),
            host_key_path: config.data_file("ssh_host_ed25519_key"),
            gateway_key_path: config.data_file("gateway_ed25519_key"),
            node: config.region.clone(),
            keepalive_interval: SSH_KEEPALIVE,
            legacy_ssh_rsa: config.legacy_ssh_rsa,
            allow_anonymous_keys: config.allow_anonymous_keys,
            recordings: shared.recordings.clone(),
        },
        shared.registry.clone(),
        shared.passwords.clone(),
        shared.logins.clone(),
        shared.live.clone(),
        shared.tunnels.clone(),
        shared.ports.clone(),
    );
    Ok(gateway?)
}

fn api(
    config: &Config,
    shared: &Shared,
    hosts: Hosts,
    identity: Identity,
) -> Result<Api, ServeError> {
    Ok(Api::new(Parts {
        registry: shared.registry.clone(),
        tunnels: shared.tunnels.clone(),
        ports: shared.ports.clone(),
        passwords: shared.passwords.clone(),
        logins: shared.logins.clone(),
        tokens: tokens(config)?,
        hosts,
        recordings: shared.recordings.clone(),
        identity,
        clients: clients(config),
        metrics: recorder(),
    }))
}

fn sockets(config: &Config, shared: &Shared) -> WebSockets {
    WebSockets::new(WebSocketParts {
        registry: shared.registry.clone(),
        tunnels: shared.tunnels.clone(),
        ports: shared.ports.clone(),
        node: config.region.clone(),
        keepalive_interval: SSH_KEEPALIVE,
    })
}

fn names(config: &Config, shared: &Shared, ports_stop: CancellationToken) -> Option<Names> {
    let names = config.names.as_ref()?;
    Some(Names::new(NameParts {
        domain: names.domain.clone(),
        node: config.region.clone(),
        registry: shared.registry.clone(),
        tunnels: shared.tunnels.clone(),
        traffic: shared.ports.traffic().clone(),
        stop: ports_stop,
    }))
}

/// Public ports listen where the gateway does.
fn port_addresses(config: &Config) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = config.ssh.iter().map(SocketAddr::ip).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn clients(config: &Config) -> Clients {
    Clients {
        allow_anonymous_keys: config.allow_anonymous_keys,
        fallback_host: config.ssh_fallback_host.clone(),
        fallback_port: config.ssh_fallback_port,
        trusted_proxies: config.trusted_proxies.clone(),
    }
}

fn tokens(config: &Config) -> Result<Tokens, ServeError> {
    if let Some(secret) = &config.jwt_secret {
        return Ok(Tokens::new(secret));
    }
    let path = config.data_file("jwt.key");
    Tokens::read_or_create(&path).map_err(|source| ServeError::File { path, source })
}

/// The recorder of this process; the one that is there already when there are several servers in it, as in tests.
fn recorder() -> Option<PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE
        .get_or_init(|| PrometheusBuilder::new().install_recorder().ok())
        .clone()
}
