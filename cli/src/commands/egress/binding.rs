//! `moorline egress bind` and `unbind`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::BindingEnvelope;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::finding::{self, text};
use crate::session::Session;

/// Lets a host leave by an egress IP.
pub(super) async fn bind(session: &Session, host: &str, egress_ip: &str) -> anyhow::Result<()> {
    let ip = finding::egress_ip(session, egress_ip).await?;
    let host = finding::host(session, host).await?;
    let name = finding::host_name(&host);
    let attempt = format!("bind host {name} to egress IP {}", ip.label);
    let wanted = json!({"host_id": host.id, "egress_ip_id": ip.id});
    let path = ["v1", "admin", "bindings"];
    let answer: BindingEnvelope = session
        .api
        .submit(&attempt, Method::POST, &path, &wanted)
        .await?;
    session.output.data(&answer, |output| {
        output.say(&format!(
            "{name} leaves by {} ({})",
            ip.label, ip.ip_address
        ));
        Ok(())
    })
}

/// Takes an egress IP from a host.
pub(super) async fn unbind(
    session: &Session,
    host: &str,
    egress_ip: Option<&str>,
) -> anyhow::Result<()> {
    let binding = match egress_ip {
        // The only word may be the binding itself.
        None if finding::is_uuid(host) && !is_host(session, host).await? => host.to_owned(),
        _ => binding_of(session, host, egress_ip).await?,
    };
    let attempt = format!("unbind {host}: remove binding {binding}");
    let path = ["v1", "admin", "bindings", binding.as_str()];
    session.api.delete(&attempt, &path).await?;
    let removed = super::Removed { removed: &binding };
    session.output.data(&removed, |output| {
        output.say(&format!("binding {binding} is removed"));
        Ok(())
    })
}

async fn is_host(session: &Session, id: &str) -> anyhow::Result<bool> {
    let hosts = finding::hosts(session).await?.hosts;
    Ok(hosts.iter().any(|host| host.id == id))
}

/// The binding of a host to `egress_ip`; to the only one it has, where none is named.
async fn binding_of(
    session: &Session,
    host: &str,
    egress_ip: Option<&str>,
) -> anyhow::Result<String> {
    let attempt = format!("unbind host {host}");
    let host = finding::host(session, host).await?;
    let path = ["v1", "admin", "hosts", host.id.as_str()];
    let sheet: Value = session.api.get(&attempt, &path, &[]).await?;
    let bindings = sheet.get("bindings").and_then(Value::as_array);
    let mut found: Vec<&Value> = bindings.into_iter().flatten().collect();
    if let Some(name) = egress_ip {
        let ip = finding::egress_ip(session, name).await?;
        found.retain(|binding| text(binding, "/egress_ip/id") == ip.id);
    }
    match (found.pop(), found.len()) {
        (Some(binding), 0) => Ok(text(binding, "/binding_id").to_owned()),
        (None, _) => {
            let message = format!("{attempt}: it is not bound");
            Err(Failure::new(Exit::NotFound, message)
                .hint("`moorline host show HOST` shows its egress IPs")
                .into())
        }
        (Some(_), others) => {
            let message = format!("{attempt}: it has {} egress IPs", others + 1);
            Err(Failure::new(Exit::Usage, message)
                .hint("name one: moorline egress unbind HOST EGRESS_IP")
                .into())
        }
    }
}
