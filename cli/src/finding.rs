//! What operators type in place of ids, and what they meant where nothing has that name.
//!
//! A name on the command line is looked up among those that the server lists. Where there is none like it, the
//! failure names the one that comes closest: most such names are right but for a letter.

use moorline_protocol::operator::DeviceList;
use serde_json::Value;

use crate::api::{EgressIpInfo, EgressIpList, HostInfo, HostList, UserInfo, UserList};
use crate::exit::Exit;
use crate::failure::{self, Failure};
use crate::session::Session;

const USERS: [&str; 3] = ["v1", "admin", "users"];
const HOSTS: [&str; 3] = ["v1", "admin", "hosts"];
const OWN_HOSTS: [&str; 3] = ["v1", "user", "hosts"];
const EGRESS_IPS: [&str; 3] = ["v1", "admin", "egress-ips"];
const DEVICES: [&str; 3] = ["v1", "admin", "devices"];

/// How a hint begins that tells what may have been meant.
const MEANT: &str = "did you mean";

/// Devices looked at for one that was meant.
const MOST_DEVICES: u64 = 500;

/// Every user of the account, newest first.
pub(crate) async fn users(session: &Session) -> anyhow::Result<UserList> {
    session.api.get("list users", &USERS, &[]).await
}

/// The user that `name` means: by name, else by short id, else by id.
pub(crate) async fn user(session: &Session, name: &str) -> anyhow::Result<UserInfo> {
    chosen_user(users(session).await?.users, name).map_err(|users| {
        let known = users.iter().map(|user| user.username.as_str());
        missing(("user", "moorline user list"), name, known).into()
    })
}

fn chosen_user(mut users: Vec<UserInfo>, name: &str) -> Result<UserInfo, Vec<UserInfo>> {
    let by = |pick: fn(&UserInfo) -> &str| users.iter().position(|user| pick(user) == name);
    let place = by(|user| &user.username)
        .or_else(|| by(|user| &user.short_id))
        .or_else(|| by(|user| &user.id));
    match place {
        Some(place) => Ok(users.swap_remove(place)),
        None => Err(users),
    }
}

/// Hosts of the account, last changed first; for those who are no administrator, their own, oldest first.
pub(crate) async fn hosts(session: &Session) -> anyhow::Result<HostList> {
    let path = if session.is_admin() { HOSTS } else { OWN_HOSTS };
    session.api.get("list hosts", &path, &[]).await
}

/// The host that `name` means: by short id, else by id, else by its own name where only one has it.
pub(crate) async fn host(session: &Session, name: &str) -> anyhow::Result<HostInfo> {
    chosen_host(hosts(session).await?.hosts, name).map_err(Into::into)
}

/// The one of `hosts` that `name` means, as [`host`] does it.
pub(crate) fn chosen_host(mut hosts: Vec<HostInfo>, name: &str) -> Result<HostInfo, Failure> {
    let exact = |host: &HostInfo| host.short_id == name || host.id == name;
    if let Some(place) = hosts.iter().position(exact) {
        return Ok(hosts.swap_remove(place));
    }
    let named = hosts.iter().filter(|host| host.hostname == name).count();
    match hosts.iter().position(|host| host.hostname == name) {
        Some(place) if named == 1 => Ok(hosts.swap_remove(place)),
        Some(_) => {
            let message = format!("find host {name}: {named} have this name");
            Err(Failure::new(Exit::Usage, message).hint("give the short id of one"))
        }
        None => {
            let names = |host| [host_name(host), host.hostname.as_str()];
            let known = hosts.iter().flat_map(names);
            Err(missing(("host", "moorline host list"), name, known))
        }
    }
}

/// What a host is called in lists and in the next command.
pub(crate) fn host_name(host: &HostInfo) -> &str {
    if host.short_id.is_empty() {
        &host.hostname
    } else {
        &host.short_id
    }
}

/// Every egress IP of the account, newest first.
pub(crate) async fn egress_ips(session: &Session) -> anyhow::Result<EgressIpList> {
    session.api.get("list egress IPs", &EGRESS_IPS, &[]).await
}

/// The egress IP that `name` means. A label may stand for several: then only address or id will do.
pub(crate) async fn egress_ip(session: &Session, name: &str) -> anyhow::Result<EgressIpInfo> {
    let mut found = egress_ips(session).await?.egress_ips;
    let exact = |ip: &EgressIpInfo| ip.id == name || ip.ip_address == name;
    if let Some(place) = found.iter().position(exact) {
        return Ok(found.swap_remove(place));
    }
    let labelled = found.iter().filter(|ip| ip.label == name).count();
    match found.iter().position(|ip| ip.label == name) {
        Some(place) if labelled == 1 => Ok(found.swap_remove(place)),
        Some(_) => {
            let message = format!("find egress IP {name}: {labelled} have this label");
            Err(Failure::new(Exit::Usage, message)
                .hint("give its address or id")
                .into())
        }
        None => {
            let known = found.iter().map(|ip| ip.label.as_str());
            Err(missing(("egress IP", "moorline egress list"), name, known).into())
        }
    }
}

/// `result`; where it says that there is no such device, with the name of the device that may be meant.
pub(crate) async fn or_suggest_device<T>(
    session: &Session,
    name: &str,
    result: anyhow::Result<T>,
) -> anyhow::Result<T> {
    let error = match result {
        Err(error) if failure::exit_of(&error) == Exit::NotFound => error,
        other => return other,
    };
    match error.downcast::<Failure>() {
        Ok(failure) => Err(failure.hint(device_hint(session, name).await).into()),
        Err(other) => Err(other),
    }
}

/// What to do about a device that is not there.
pub(crate) async fn device_hint(session: &Session, name: &str) -> String {
    // Those that begin alike, then those that only end alike.
    let half: String = name.chars().take(name.chars().count() / 2).collect();
    for prefix in [half.as_str(), ""] {
        let query = [
            ("limit", MOST_DEVICES.to_string()),
            ("prefix", prefix.to_owned()),
        ];
        let page: anyhow::Result<DeviceList> =
            session.api.get("list devices", &DEVICES, &query).await;
        let Ok(page) = page else { break };
        let known = page.devices.iter().map(|device| device.name.as_str());
        if let Some(close) = closest(name, known) {
            return hint(Some(close), "moorline device list");
        }
    }
    hint(None, "moorline device list")
}

/// The failure for a `name` that nothing of its `kind` has; `known` are the names that there are.
pub(crate) fn missing<'a>(
    (kind, list): (&str, &str),
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Failure {
    let message = format!("find {kind} {name}: {} not found", kind.to_lowercase());
    Failure::new(Exit::NotFound, message).hint(hint(closest(name, known), list))
}

fn hint(close: Option<&str>, list: &str) -> String {
    match close {
        Some(close) => format!("{MEANT} {close}? `{list}` shows all"),
        None => format!("`{list}` shows them"),
    }
}

/// Whether `error` tells what may have been meant.
pub(crate) fn suggests(error: &anyhow::Error) -> bool {
    failure::hint_of(error).is_some_and(|hint| hint.starts_with(MEANT))
}

/// The one of `known` that is most like `typed`, if one is like it at all.
pub(crate) fn closest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    // A third of the letters may differ, so that short names do not all look alike.
    let most = (typed.chars().count() / 3).clamp(1, 3);
    let near = known.into_iter().filter(|name| !name.is_empty());
    near.map(|name| (strsim::levenshtein(&typed, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Whether `text` has the form of an id.
pub(crate) fn is_uuid(text: &str) -> bool {
    let hex = |byte: u8| byte == b'-' || byte.is_ascii_hexdigit();
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.bytes().all(hex)
}

/// A text of a JSON object that may lack it.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_before_a_short_id() {
        let user = |id: &str, username: &str, short_id: &str| UserInfo {
            id: id.into(),
            username: username.into(),
            status: "active".into(),
            role: "user".into(),
            short_id: short_id.into(),
            expires_at: None,
            created_at: String::new(),
            updated_at: String::new(),
        };
        let users = || vec![user("1", "anna", "berta"), user("2", "berta", "x1y2z3")];
        let id = |name| chosen_user(users(), name).ok().map(|user| user.id);
        assert_eq!(id("berta").as_deref(), Some("2"));
        assert_eq!(id("x1y2z3").as_deref(), Some("2"));
        assert_eq!(id("1").as_deref(), Some("1"));
        assert_eq!(id("nobody"), None);
    }

    #[test]
    fn a_host_is_meant_by_its_name_where_only_one_has_it() {
        let host = |id: &str, short_id: &str, hostname: &str| -> HostInfo {
            let text = format!(
                r#"{{"id":"{id}","short_id":"{short_id}","hostname":"{hostname}","status":"running"}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let hosts = || {
            vec![
                host("1", "ab12cd", "cam1"),
                host("2", "ef34gh", "twin"),
                host("3", "ij56kl", "twin"),
            ]
        };
        let id = |name: &str| chosen_host(hosts(), name).map(|host| host.id);
        assert_eq!(id("ef34gh").unwrap(), "2");
        assert_eq!(id("3").unwrap(), "3");
        assert_eq!(id("cam1").unwrap(), "1");
        assert_eq!(id("twin").unwrap_err().exit(), Exit::Usage);
        assert_eq!(id("ab12ce").unwrap_err().exit(), Exit::NotFound);
    }

    #[test]
    fn what_is_close_is_suggested_and_nothing_else() {
        let known = ["cam000001", "cam000002", "router-7", "ab12cd"];
        for (typed, meant) in [
            ("cam00001", Some("cam000001")),
            ("CAM000002", Some("cam000002")),
            ("routr-7", Some("router-7")),
            ("ab12ce", Some("ab12cd")),
            ("x", None),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(closest(typed, known), meant, "{typed}");
        }
    }
}
