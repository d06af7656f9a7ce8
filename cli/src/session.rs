//! [`Session`]: what a command that talks to a server works with.

use std::path::PathBuf;

use moorline_protocol::operator::{DeviceInfo, DeviceList, GatewayInfo};

use crate::api::{Address, Api};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::gateway;
use crate::output::Output;
use crate::profile::{Profile, ProfileName, Store};

/// Devices asked for in one call.
const PAGE: u64 = 500;

/// Most devices listed by one command, so that a server cannot fill the memory here.
const MAX_DEVICES: usize = 1_000_000;

/// What holds for every command.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Where to print.
    pub(crate) output: Output,
    /// Where profiles are.
    pub(crate) store: Store,
    /// The profile named on the command line or in the environment.
    pub(crate) asked: Option<ProfileName>,
}

impl Context {
    /// The chosen profile; it has to exist.
    pub(crate) fn profile(&self) -> anyhow::Result<(ProfileName, Profile)> {
        let name = self.store.choose(self.asked.as_ref())?;
        match self.store.profile(&name)? {
            Some(profile) => Ok((name, profile)),
            None => Err(unknown_profile(&name)),
        }
    }

    /// A session with the server of the chosen profile, logged in.
    pub(crate) fn session(&self) -> anyhow::Result<Session> {
        let (name, profile) = self.profile()?;
        let Some(token) = self.store.token(&name)? else {
            return Err(
                Failure::new(Exit::Refused, format!("use profile {name}: not logged in"))
                    .hint(format!("log in with `moorline --profile {name} login`"))
                    .into(),
            );
        };
        let api = connect(self.output, &name, &profile)?.with_token(token.token);
        Ok(Session {
            output: self.output,
            store: self.store.clone(),
            name,
            profile,
            api,
        })
    }
}

/// The failure of a command for a profile that is not there.
pub(crate) fn unknown_profile(name: &ProfileName) -> anyhow::Error {
    Failure::new(
        Exit::NotFound,
        format!("use profile {name}: there is no such profile"),
    )
    .hint("`moorline profile list` shows them, `moorline login URL` makes one")
    .into()
}

/// A client for the server of `profile`, after a warning if what is sent there can be read on the way.
pub(crate) fn connect(
    output: Output,
    name: &ProfileName,
    profile: &Profile,
) -> anyhow::Result<Api> {
    let address: Address = profile.url.parse().map_err(|reason| {
        Failure::new(Exit::Failed, format!("read profile {name}: {reason}"))
            .hint("make it again with `moorline login URL`")
    })?;
    if address.is_exposed() {
        output.warn(&format!(
            "{address} is not encrypted: passwords and tokens can be read on the way"
        ));
    }
    Api::new(address, &profile.trust, name)
}

/// A login to one server.
pub(crate) struct Session {
    /// Where to print.
    pub(crate) output: Output,
    /// Where profiles are.
    pub(crate) store: Store,
    /// Name of the profile.
    pub(crate) name: ProfileName,
    /// The profile.
    pub(crate) profile: Profile,
    /// Its server.
    pub(crate) api: Api,
}

impl Session {
    /// Whether an administrator is logged in; others see their own hosts and keys.
    pub(crate) fn is_admin(&self) -> bool {
        self.profile.role != "user"
    }

    /// Every device whose name begins with `prefix`, oldest first, page by page.
    pub(crate) async fn devices(&self, prefix: Option<&str>) -> anyhow::Result<Vec<DeviceInfo>> {
        let mut devices: Vec<DeviceInfo> = Vec::new();
        let mut bar = None;
        loop {
            let mut query = vec![
                ("limit", PAGE.to_string()),
                ("offset", devices.len().to_string()),
            ];
            if let Some(prefix) = prefix {
                query.push(("prefix", prefix.to_owned()));
            }
            let page: DeviceList = self
                .api
                .get("list devices", &["v1", "admin", "devices"], &query)
                .await?;
            let is_last = page.devices.is_empty();
            devices.extend(page.devices);
            if is_last || devices.len() as u64 >= page.total {
                break;
            }
            if devices.len() > MAX_DEVICES {
                let message = format!("list devices: more than {MAX_DEVICES}");
                return Err(Failure::new(Exit::Failed, message)
                    .hint("ask for fewer with --prefix")
                    .into());
            }
            bar.get_or_insert_with(|| self.output.progress("devices", page.total))
                .set_position(devices.len() as u64);
        }
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        Ok(devices)
    }

    /// Private keys for ssh to try at the gateway.
    pub(crate) fn identities(&self) -> Vec<PathBuf> {
        let folders = directories::BaseDirs::new();
        let home = folders.as_ref().map(directories::BaseDirs::home_dir);
        gateway::identities(&self.profile.identities, home)
    }

    /// Remembers that the private key at `path` belongs to a key added to the server.
    pub(crate) fn keep_identity(&self, path: PathBuf) -> anyhow::Result<()> {
        if self.profile.identities.contains(&path) {
            return Ok(());
        }
        let mut profile = self.profile.clone();
        profile.identities.push(path);
        self.store.save_profile(&self.name, &profile)
    }

    /// Where the SSH gateway is. A host key other than the one known since login is refused: the
    /// operator has to log in again to believe it.
    pub(crate) async fn gateway(&mut self) -> anyhow::Result<GatewayInfo> {
        let fresh = self
            .api
            .get("find the gateway", &["v1", "gateway"], &[])
            .await;
        let gateway = match (fresh, &self.profile.gateway) {
            (Ok(fresh), known) => {
                let fresh: GatewayInfo = gateway::checked(fresh)?;
                if known
                    .as_ref()
                    .is_some_and(|known| known.host_key != fresh.host_key)
                {
                    return Err(changed_host_key(&self.name));
                }
                fresh
            }
            // ssh needs no login of ours and no API: what is known is enough.
            (Err(_), Some(known)) => known.clone(),
            (Err(error), None) => return Err(error),
        };
        if self.profile.gateway.as_ref() != Some(&gateway) {
            self.profile.gateway = Some(gateway.clone());
            self.store.save_profile(&self.name, &self.profile)?;
        }
        gateway::save_known_hosts(&self.store, &self.name, &gateway)?;
        Ok(gateway)
    }
}

fn changed_host_key(name: &ProfileName) -> anyhow::Error {
    Failure::new(
        Exit::Refused,
        "find the gateway: its host key is not the one known since login",
    )
    .hint(format!(
        "if the server was set up anew, believe it with `moorline --profile {name} login`"
    ))
    .into()
}
