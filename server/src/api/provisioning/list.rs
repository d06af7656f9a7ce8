//! `device_list` (provisioning contract section 4.3), written page by page: the whole list never is in memory.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::Response;
use futures::stream;
use moorline_protocol::scope::Scope;
use serde::Serialize;

use super::access::{Arrival, shows_dbid};
use super::answer::{self, Failure};
use super::parameters::ListDevices;
use crate::api::Api;
use crate::registry::error::RegistryError;
use crate::registry::model::{ApiKey, Device, DeviceFilter, KeyContext};

/// Devices read and written at a time; about 350 bytes each on the wire.
const PAGE: u64 = 500;

/// One item: exactly these keys, in this order.
#[derive(Serialize)]
struct Item<'a> {
    host_name: &'a str,
    host_id: &'a str,
    client_id: &'a str,
    tunnel_open: bool,
    client_active: bool,
    forwarding_server: &'a str,
    username: &'a str,
    port: u16,
    user_id: i64,
    ports_id: i64,
    dbid: &'a str,
    last_ping_time: &'a str,
}

/// What is left to write.
struct Writer {
    api: Api,
    key: Arc<ApiKey>,
    filter: DeviceFilter,
    /// How many more may be listed.
    left: Option<u64>,
    /// Public DNS names by region.
    hosts: HashMap<String, String>,
    first: bool,
}

/// Lists the devices that the key sees.
pub(super) async fn device_list(api: &Api, arrival: Arrival) -> Result<Response<Body>, Failure> {
    let key = api.key(&arrival, Scope::DeviceRead).await?;
    api.account_in_service(key.account).await?;
    let wanted = ListDevices::parse(arrival.fields()?)?;
    let nodes = api.registry().nodes().await?;
    let mut writer = Writer {
        api: api.clone(),
        filter: DeviceFilter {
            prefix: wanted.prefix,
            ids: match &key.context {
                KeyContext::Account => None,
                KeyContext::Devices(ids) => Some(ids.clone()),
                KeyContext::Apps(_) => Some(Vec::new()),
            },
            limit: None,
            offset: wanted.offset,
        },
        key: Arc::new(key),
        left: wanted.limit,
        hosts: nodes
            .into_iter()
            .map(|node| (node.name, node.public_host))
            .collect(),
        first: true,
    };
    // The first page decides whether the answer is a list or an error; only longer lists are streamed.
    let mut text = b"[".to_vec();
    let more = writer.page(&mut text).await?;
    if !more {
        text.push(b']');
        return Ok(answer::json(Body::from(text)));
    }
    Ok(answer::json(stream_rest(writer, text)))
}

fn stream_rest(writer: Writer, first: Vec<u8>) -> Body {
    let rest = stream::try_unfold(Some(writer), async |state| {
        let Some(mut writer) = state else {
            return Ok::<_, RegistryError>(None);
        };
        let mut text = Vec::new();
        let more = writer.page(&mut text).await.inspect_err(|error| {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "device list broken off"
            );
        })?;
        if !more {
            text.push(b']');
        }
        Ok(Some((Bytes::from(text), more.then_some(writer))))
    });
    let first = stream::once(async move { Ok(Bytes::from(first)) });
    Body::from_stream(futures::StreamExt::chain(first, rest))
}

impl Writer {
    /// Appends the next page to `text`; tells whether another may follow.
    async fn page(&mut self, text: &mut Vec<u8>) -> Result<bool, RegistryError> {
        let size = self.left.unwrap_or(PAGE).min(PAGE);
        self.filter.limit = Some(size);
        let devices = self
            .api
            .registry()
            .devices(self.key.account, self.filter.clone())
            .await?;
        for device in &devices {
            if !std::mem::take(&mut self.first) {
                text.push(b',');
            }
            self.item(device, text);
        }
        self.filter.offset = self.filter.offset.saturating_add(size);
        self.left = self.left.map(|left| left.saturating_sub(size));
        Ok(devices.len() as u64 == size && self.left != Some(0))
    }

    fn item(&self, device: &Device, text: &mut Vec<u8>) {
        let tunnel = self.api.tunnels().status(device.id);
        let open = tunnel.as_ref().is_some_and(|tunnel| tunnel.open);
        let forward = device.forwards.first();
        let server = forward
            .map(|forward| &forward.node)
            .filter(|_| open)
            .and_then(|node| self.hosts.get(node));
        let seen = tunnel
            .as_ref()
            .map(|tunnel| tunnel.last_sign)
            .max(device.last_seen_at);
        let id = device.id.to_string();
        let item = Item {
            host_name: &device.name,
            host_id: &id,
            client_id: &id,
            tunnel_open: open,
            client_active: tunnel.as_ref().is_some_and(|tunnel| tunnel.active),
            forwarding_server: server.map_or("", String::as_str),
            username: device.username.as_deref().unwrap_or_default(),
            port: forward.map_or(0, |forward| forward.public_port),
            user_id: device.account.0,
            ports_id: forward.map_or(0, |forward| forward.id.0),
            dbid: if shows_dbid(&self.key, device) {
                device.dbid.expose()
            } else {
                ""
            },
            last_ping_time: &seen.map(|at| at.to_provisioning()).unwrap_or_default(),
        };
        // Texts, numbers and booleans always serialise, and a Vec takes every byte.
        serde_json::to_writer(text, &item).unwrap_or_default();
    }
}
