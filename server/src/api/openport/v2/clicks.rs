//! `GET /api/v2/openforiplinkclicks/` (openport contract section 3).

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Caller;
use super::answer::Failure;
use super::{Call, page};
use crate::api::Api;
use crate::registry::model::LinkClick;

/// A visitor opened a port for their address.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = openport::LinkClick)]
pub(in crate::api) struct ClickItem {
    /// Public port.
    port: u16,
    /// For which address.
    source_ip: String,
    /// When, with microseconds.
    timestamp: String,
    /// Name of the key at that time.
    key_name: String,
}

impl From<LinkClick> for ClickItem {
    fn from(click: LinkClick) -> Self {
        Self {
            port: click.port,
            source_ip: click.source_ip.to_string(),
            timestamp: click.at.to_openport_micros(),
            key_name: click.key_name,
        }
    }
}

/// Clicks, oldest first.
pub(super) async fn list(api: &Api, caller: &Caller, call: &Call) -> Result<Response, Failure> {
    let slice = page::slice(&call.query);
    let registry = api.registry();
    let (count, clicks) = registry
        .link_clicks(caller.account(), caller.devices(), slice)
        .await?;
    let items: Vec<_> = clicks.into_iter().map(ClickItem::from).collect();
    Ok(page::page(call, slice, count, items))
}
