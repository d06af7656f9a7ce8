//! Command lines and configuration that bring stock `ssh` to a device, through the gateway.
//!
//! *Invariant:* the gateway's host key is always checked strictly, against the one the server told at
//! login; nothing a server sends can become an option or a second line.

use std::path::{Path, PathBuf};

use moorline_protocol::operator::GatewayInfo;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::private_file::{self, PRIVATE};
use crate::profile::{ProfileName, Store};

/// The keys that ssh tries by itself, in its order.
pub(crate) const USUAL_IDENTITIES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// `gateway`, unless something in it could mean more than it should to ssh.
pub(crate) fn checked(gateway: GatewayInfo) -> Result<GatewayInfo, Failure> {
    let wrong = |what: &str| {
        Failure::new(
            Exit::Failed,
            format!("find the gateway: the server's {what} is not one"),
        )
    };
    if !is_host(&gateway.host) {
        return Err(wrong("host name"));
    }
    let mut words = gateway.host_key.split(' ');
    let (kind, blob, rest) = (words.next(), words.next(), words.next());
    let is_key = rest.is_none()
        && kind.is_some_and(|kind| is_made_of(kind, "-@."))
        && blob.is_some_and(|blob| is_made_of(blob, "+/="));
    if is_key {
        Ok(gateway)
    } else {
        Err(wrong("host key"))
    }
}

fn is_host(text: &str) -> bool {
    is_made_of(text, ".-_:") && !text.starts_with('-')
}

fn is_made_of(text: &str, extra: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}

/// Whether `name` may be a device's name, and so may stand where ssh expects a host or user.
pub(crate) fn is_device_name(name: &str) -> bool {
    is_made_of(name, "._-") && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// Whether `login` may be a login name on a device.
pub(crate) fn is_login(login: &str) -> bool {
    is_made_of(login, "._-@+$") && !login.starts_with('-')
}

/// The name under which the gateway's key is known to ssh, whatever its host and port become.
fn alias(name: &ProfileName) -> String {
    format!("moorline-{name}")
}

/// Writes the file that ssh checks the gateway's key against; keys of devices in it stay.
pub(crate) fn save_known_hosts(
    store: &Store,
    name: &ProfileName,
    gateway: &GatewayInfo,
) -> anyhow::Result<()> {
    let path = store.known_hosts(name);
    let old = private_file::read(&path)?.unwrap_or_default();
    let new = known_hosts(&old, name, gateway);
    if new == old {
        return Ok(());
    }
    private_file::write(&path, new.as_bytes(), PRIVATE)
}

fn known_hosts(old: &str, name: &ProfileName, gateway: &GatewayInfo) -> String {
    let alias = alias(name);
    let mut text = format!("{alias} {}\n", gateway.host_key);
    for line in old.lines() {
        if line.split(' ').next() != Some(alias.as_str()) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// How ssh gets to the gateway of one profile.
pub(crate) struct Route<'a> {
    /// The gateway.
    pub(crate) gateway: &'a GatewayInfo,
    /// The profile's name.
    pub(crate) profile: &'a ProfileName,
    /// The operator's user name at the server.
    pub(crate) operator: &'a str,
    /// The profile's file of host keys.
    pub(crate) known_hosts: &'a Path,
    /// Private keys to try; none: those that ssh tries by itself.
    pub(crate) identities: &'a [PathBuf],
}

impl Route<'_> {
    /// Arguments of ssh for a session on `device` that the gateway opens.
    pub(crate) fn session(&self, device: &str) -> Vec<String> {
        let mut arguments = self.options();
        arguments.extend(["-p".to_owned(), self.gateway.port.to_string()]);
        arguments.extend(["-l".to_owned(), self.user(device)]);
        arguments.push(self.gateway.host.clone());
        arguments
    }

    /// Arguments of ssh for a session on the host with `short_id`, which is all that its users say.
    pub(crate) fn host(&self, short_id: &str) -> Vec<String> {
        let mut arguments = self.options();
        arguments.extend(["-p".to_owned(), self.gateway.port.to_string()]);
        arguments.extend(["-l".to_owned(), short_id.to_owned()]);
        arguments.push(self.gateway.host.clone());
        arguments
    }

    /// Arguments of ssh for a login as `login` at the sshd of `device` itself, end to end through the
    /// gateway. The device's own key is remembered when it is first seen.
    /// `identity` is offered to both.
    pub(crate) fn end_to_end(
        &self,
        device: &str,
        login: &str,
        identity: Option<&str>,
    ) -> Vec<String> {
        let mut hop = vec!["ssh".to_owned()];
        if let Some(identity) = identity {
            hop.extend(["-i".to_owned(), identity.to_owned()]);
        }
        hop.extend(self.options());
        hop.extend(["-p".to_owned(), self.gateway.port.to_string()]);
        hop.extend(["-l".to_owned(), self.operator.to_owned()]);
        hop.extend(["-W".to_owned(), "[%h]:%p".to_owned()]);
        hop.push(self.gateway.host.clone());
        // ssh expands %h and %p here and hands the rest to a shell.
        let proxy: Vec<String> = hop
            .iter()
            .map(|word| {
                shell_word(&if word == "[%h]:%p" {
                    word.clone()
                } else {
                    escaped(word)
                })
            })
            .collect();
        let mut arguments = Vec::new();
        for option in [
            format!("ProxyCommand={}", proxy.join(" ")),
            format!("HostKeyAlias={}-{device}", alias(self.profile)),
            format!("UserKnownHostsFile={}", self.known_hosts_value()),
            "StrictHostKeyChecking=accept-new".to_owned(),
        ] {
            arguments.extend(["-o".to_owned(), option]);
        }
        arguments.extend(self.identity_options());
        arguments.extend(["-l".to_owned(), login.to_owned(), device.to_owned()]);
        arguments
    }

    /// The block of an ssh config for `devices`, so that `ssh NAME` is enough.
    pub(crate) fn config(&self, devices: &[&str]) -> String {
        let Self {
            gateway, profile, ..
        } = self;
        let mut text = format!(
            "# Devices of the Moorline profile {profile}, by name.\n\
             # Written by `moorline ssh-config`, which writes it anew: changes here are lost.\n"
        );
        let mut common = format!(
            "    HostName {}\n    Port {}\n    HostKeyAlias {}\n    \
             UserKnownHostsFile {}\n    GlobalKnownHostsFile /dev/null\n    \
             StrictHostKeyChecking yes\n    UpdateHostKeys no\n",
            gateway.host,
            gateway.port,
            alias(profile),
            self.known_hosts_value(),
        );
        for path in self.identities {
            common.push_str(&format!("    IdentityFile {}\n", path_value(path)));
        }
        for device in devices {
            let user = self.user(device);
            text.push_str(&format!("\nHost {device}\n    User {user}\n{common}"));
        }
        text
    }

    /// The SSH user name for a session on `device`: with the operator's own in front, so that the gateway
    /// knows whose password or key to expect. A name that would not read clearly there is left out; the
    /// gateway then goes by the key, or asks.
    fn user(&self, device: &str) -> String {
        if is_made_of(self.operator, "._-@") {
            format!("{}+{device}", self.operator)
        } else {
            device.to_owned()
        }
    }

    fn options(&self) -> Vec<String> {
        [
            format!("HostKeyAlias={}", alias(self.profile)),
            format!("UserKnownHostsFile={}", self.known_hosts_value()),
            "GlobalKnownHostsFile=/dev/null".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            "UpdateHostKeys=no".to_owned(),
        ]
        .into_iter()
        .flat_map(|option| ["-o".to_owned(), option])
        .chain(self.identity_options())
        .collect()
    }

    fn identity_options(&self) -> impl Iterator<Item = String> {
        self.identities.iter().flat_map(|path| {
            let option = format!("IdentityFile={}", path_value(path));
            ["-o".to_owned(), option]
        })
    }

    /// The file of host keys as an ssh option takes it.
    fn known_hosts_value(&self) -> String {
        path_value(self.known_hosts)
    }
}

/// `path` as an ssh option takes it: quoted for its blanks, `%` doubled.
fn path_value(path: &Path) -> String {
    format!("\"{}\"", escaped(&path.to_string_lossy()))
}

/// The keys for ssh to try: the `kept` ones that are still there and, since naming any keeps ssh from trying
/// its usual ones, those too.
pub(crate) fn identities(kept: &[PathBuf], home: Option<&Path>) -> Vec<PathBuf> {
    let kept: Vec<PathBuf> = kept.iter().filter(|path| path.is_file()).cloned().collect();
    if kept.is_empty() {
        return kept;
    }
    let usual = home.into_iter().flat_map(|home| {
        USUAL_IDENTITIES
            .iter()
            .map(move |name| home.join(".ssh").join(name))
    });
    let usual: Vec<PathBuf> = usual
        .filter(|path| path.is_file() && !kept.contains(path))
        .collect();
    [kept, usual].concat()
}

/// `text` with `%` as ssh wants it where it expands tokens.
fn escaped(text: &str) -> String {
    text.replace('%', "%%")
}

/// `text` as one word of a shell.
pub(crate) fn shell_word(text: &str) -> String {
    if is_made_of(text, "-_./:=@%[]+,") {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway() -> GatewayInfo {
        GatewayInfo {
            host: "eu.moor.example.com".to_owned(),
            port: 2222,
            host_key: "ssh-ed25519 AAAA+/=".to_owned(),
        }
    }

    #[test]
    fn a_server_cannot_smuggle_options_or_lines() {
        checked(gateway()).unwrap();
        for host in ["", "-oProxyCommand=x", "a b", "a\nb", "a%h"] {
            let host = host.to_owned();
            assert!(checked(GatewayInfo { host, ..gateway() }).is_err());
        }
        for host_key in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AA\n* x",
            "a b c",
            "ssh-ed25519  AA",
        ] {
            let host_key = host_key.to_owned();
            assert!(
                checked(GatewayInfo {
                    host_key,
                    ..gateway()
                })
                .is_err()
            );
        }
        for device in ["", "-l", ".a", "a b", "a*", "a\nHost *"] {
            assert!(!is_device_name(device), "{device}");
        }
        assert!(is_device_name("cam000123.eu_west-1"));
    }

    #[test]
    fn known_hosts_keep_the_keys_of_devices_and_one_of_the_gateway() {
        let name = ProfileName::first();
        let old = "moorline-default ssh-ed25519 OLD\nmoorline-default-cam1 ssh-rsa BBBB\n";
        assert_eq!(
            known_hosts(old, &name, &gateway()),
            "moorline-default ssh-ed25519 AAAA+/=\nmoorline-default-cam1 ssh-rsa BBBB\n"
        );
    }

    #[test]
    fn the_config_has_a_strict_block_per_device() {
        let (gateway, name) = (gateway(), ProfileName::first());
        let route = Route {
            gateway: &gateway,
            profile: &name,
            operator: "ada",
            known_hosts: Path::new("/home/a b/100%/known_hosts"),
            identities: &["/home/a b/.ssh/work".into()],
        };
        let text = route.config(&["cam1", "cam2"]);
        assert!(
            text.contains("\nHost cam2\n    User ada+cam2\n    HostName eu.moor.example.com\n")
        );
        assert_eq!(text.matches("StrictHostKeyChecking yes").count(), 2);
        assert!(text.contains("UserKnownHostsFile \"/home/a b/100%%/known_hosts\"\n"));
        assert!(text.contains("IdentityFile \"/home/a b/.ssh/work\"\n"));
    }

    #[test]
    fn a_kept_key_does_not_hide_the_usual_ones() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".ssh")).unwrap();
        let [work, usual, gone] =
            ["work", "id_ed25519", "gone"].map(|name| home.path().join(".ssh").join(name));
        std::fs::write(&work, "").unwrap();
        std::fs::write(&usual, "").unwrap();
        let kept = [gone.clone(), work.clone()];
        assert_eq!(identities(&kept, Some(home.path())), [work, usual]);
        assert!(identities(&[gone], Some(home.path())).is_empty());
    }

    #[test]
    fn an_operator_whose_name_would_be_misread_is_left_to_the_key() {
        let (gateway, name) = (gateway(), ProfileName::first());
        let user = |operator| {
            let known_hosts = Path::new("/k");
            Route {
                gateway: &gateway,
                profile: &name,
                operator,
                known_hosts,
                identities: &[],
            }
            .user("cam1")
        };
        assert_eq!(user("ada@example.com"), "ada@example.com+cam1");
        assert_eq!(user("ada+b"), "cam1");
        assert_eq!(user("ada b"), "cam1");
    }

    #[test]
    fn end_to_end_goes_through_a_quoted_proxy_command() {
        let (gateway, name) = (gateway(), ProfileName::first());
        let route = Route {
            gateway: &gateway,
            profile: &name,
            operator: "ada",
            known_hosts: Path::new("/home/it's/known_hosts"),
            identities: &[],
        };
        let arguments = route.end_to_end("cam1", "root", None);
        let proxy = arguments
            .iter()
            .find(|a| a.starts_with("ProxyCommand="))
            .unwrap();
        assert!(
            proxy.contains(r#"'UserKnownHostsFile="/home/it'\''s/known_hosts"'"#),
            "{proxy}"
        );
        assert!(
            proxy.contains(" -l ada -W [%h]:%p eu.moor.example.com"),
            "{proxy}"
        );
        assert!(arguments.ends_with(&["-l".into(), "root".into(), "cam1".into()]));
    }
}
