//! Sing-box outbounds (control contract section 6): checked, shown without secrets, secrets kept over a change.
//!
//! *Invariant:* pure; what goes in and comes out is JSON.

use serde_json::{Map, Value};

use super::super::answer::Refusal;

const TYPES: [&str; 6] = ["socks", "vmess", "vless", "shadowsocks", "trojan", "http"];
/// Members that are secrets, wherever they stand and however they are spelled: readers of such configurations do not
/// mind the case of names.
const SECRETS: [&str; 2] = ["password", "uuid"];
const REDACTED: &str = "***";
/// Longest part of an unknown type that is repeated in the answer, in characters.
const MAX_NAMED: usize = 64;

/// Checks an outbound in the order of the contract.
pub(super) fn check(config: &Map<String, Value>) -> Result<(), Refusal> {
    if config.is_empty() {
        let text = "proxy_config is required for proxy tunnel type";
        return Err(Refusal::bad(text));
    }
    let kind = text(config, "type");
    if !TYPES.contains(&kind) {
        let named: String = kind.chars().take(MAX_NAMED).collect();
        return Err(Refusal::bad_value(format!(
            "unsupported outbound type \"{named}\", allowed: {}",
            TYPES.join(", ")
        )));
    }
    if text(config, "server").is_empty() {
        return Err(Refusal::bad("proxy_config.server is required"));
    }
    let port = config.get("server_port").and_then(Value::as_u64);
    if !port.is_some_and(|port| (1..=65_535).contains(&port)) {
        let text = "proxy_config.server_port must be a positive integer (1-65535)";
        return Err(Refusal::bad(text));
    }
    let required: &[(&str, &'static str)] = match kind {
        "vmess" => &[("uuid", "proxy_config.uuid is required for vmess")],
        "vless" => &[("uuid", "proxy_config.uuid is required for vless")],
        "shadowsocks" => &[
            ("method", "proxy_config.method is required for shadowsocks"),
            (
                "password",
                "proxy_config.password is required for shadowsocks",
            ),
        ],
        "trojan" => &[("password", "proxy_config.password is required for trojan")],
        _ => &[],
    };
    match required
        .iter()
        .find(|(name, _)| text(config, name).is_empty())
    {
        Some((_, missing)) => Err(Refusal::bad(missing)),
        None => Ok(()),
    }
}

/// The outbound with every secret, at whatever depth, hidden.
pub(super) fn redacted(config: Map<String, Value>) -> Value {
    let hidden = config.into_iter().map(|(name, value)| {
        let shown = if is_secret(&name) {
            Value::from(REDACTED)
        } else {
            redacted_value(value)
        };
        (name, shown)
    });
    Value::Object(hidden.collect())
}

fn redacted_value(value: Value) -> Value {
    match value {
        Value::Object(object) => redacted(object),
        Value::Array(items) => items.into_iter().map(redacted_value).collect(),
        other => other,
    }
}

fn is_secret(name: &str) -> bool {
    SECRETS
        .iter()
        .any(|secret| name.eq_ignore_ascii_case(secret))
}

/// `config` with the secrets of `present` where it has `***`, or none while the outbound keeps its type. `***` where
/// there is no secret goes.
pub(super) fn with_kept_secrets(
    mut config: Map<String, Value>,
    present: &Map<String, Value>,
) -> Map<String, Value> {
    let same_type = text(&config, "type") == text(present, "type");
    keep(&mut config, present, same_type);
    config
}

fn without_placeholders(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|name, value| !(is_secret(name) && value == REDACTED));
            object.values_mut().for_each(without_placeholders);
        }
        Value::Array(items) => items.iter_mut().for_each(without_placeholders),
        _ => {}
    }
}

fn keep(config: &mut Map<String, Value>, present: &Map<String, Value>, absent_too: bool) {
    for (name, secret) in present.iter().filter(|(name, _)| is_secret(name)) {
        let keeps = match config.get(name) {
            None => absent_too,
            Some(value) => value == REDACTED,
        };
        if keeps {
            config.insert(name.clone(), secret.clone());
        }
    }
    config.retain(|name, value| {
        let kept = present.get(name);
        match kept {
            // A secret that is itself three asterisks stays one.
            None if is_secret(name) && value == REDACTED => return false,
            Some(present) => keep_in_value(value, present, absent_too),
            None => without_placeholders(value),
        }
        true
    });
}

fn keep_in_value(value: &mut Value, present: &Value, absent_too: bool) {
    match (value, present) {
        (Value::Object(object), Value::Object(present)) => keep(object, present, absent_too),
        (Value::Array(items), Value::Array(present)) => {
            let mut present = present.iter();
            for item in items {
                match present.next() {
                    Some(present) => keep_in_value(item, present, absent_too),
                    None => without_placeholders(item),
                }
            }
        }
        (value, _) => without_placeholders(value),
    }
}

/// A text member without blanks around it; anything else counts as absent.
fn text<'a>(config: &'a Map<String, Value>, name: &str) -> &'a str {
    let text = config.get(name).and_then(Value::as_str);
    text.unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn secrets_are_hidden_at_any_depth() {
        let config = object(json!({
            "type": "trojan", "password": "a", "uuid": 5,
            "tls": {"reality": {"uuid": "b", "short_id": "c"}}, "users": [{"password": ["d"]}],
        }));
        let shown = redacted(config);
        let expected = json!({
            "type": "trojan", "password": "***", "uuid": "***",
            "tls": {"reality": {"uuid": "***", "short_id": "c"}}, "users": [{"password": "***"}],
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_shown_can_be_sent_back() {
        let present = object(json!({
            "type": "vless", "server": "a", "uuid": "u", "tls": {"password": "p"}, "users": [{"uuid": "x"}],
        }));
        let back = with_kept_secrets(object(redacted(present.clone())), &present);
        assert_eq!(back, present);
    }

    #[test]
    fn an_absent_secret_stays_unless_the_type_changes() {
        let present = object(json!({"type": "vless", "server": "a", "uuid": "u"}));
        let same = object(json!({"type": "vless", "server": "b"}));
        assert_eq!(with_kept_secrets(same, &present)["uuid"], "u");
        let other = object(json!({"type": "socks", "server": "b"}));
        assert_eq!(with_kept_secrets(other, &present).get("uuid"), None);
        let odd = json!({"type": "vless", "password": "***", "a": [{"uuid": "***"}], "b": {"uuid": "***"}});
        let kept = with_kept_secrets(object(odd), &present);
        let expected = json!({"type": "vless", "uuid": "u", "a": [{}], "b": {}});
        assert_eq!(Value::Object(kept), expected, "nothing stands for nothing");
        let new = object(json!({"type": "vless", "server": "b", "uuid": "n"}));
        assert_eq!(with_kept_secrets(new, &present)["uuid"], "n");
    }
}
