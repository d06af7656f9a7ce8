//! Whether a login or a way between devices goes on, by what the registry says now.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use moorline_protocol::operator::DeviceState;

use super::{DeviceHold, Hold, Kept, Passage};
use crate::registry::Registry;
use crate::registry::error::RegistryError;
use crate::registry::model::{
    AccountId, DeviceId, Host, HostId, HostStatus, Timestamp, User, UserId, UserStatus,
};

/// What the registry knows of those that logins hang on.
#[derive(Debug, Default)]
pub(super) struct Known {
    users: HashMap<UserId, User>,
    hosts: HashMap<HostId, Host>,
    devices: HashMap<DeviceId, (AccountId, DeviceState)>,
    keys: HashSet<(UserId, String)>,
    suspended: HashSet<AccountId>,
}

impl Known {
    /// What these hang on, as it is now.
    pub(super) async fn of(
        registry: &Registry,
        holds: impl Iterator<Item = &Hold> + Clone,
        passages: impl Iterator<Item = Passage>,
    ) -> Result<Self, RegistryError> {
        let keyed = holds.clone().filter(|hold| hold.key.is_some());
        let keyed = once_each(keyed.map(|hold| hold.user));
        let users = once_each(holds.clone().map(|hold| hold.user));
        let hosts = once_each(
            holds
                .clone()
                .filter_map(|hold| Some(hold.host.as_ref()?.id)),
        );
        let on_devices = holds.filter_map(|hold| Some(hold.device?.id));
        let between = passages.flat_map(|passage| [passage.caller, passage.target]);
        let devices = once_each(on_devices.chain(between));
        let users = registry.users_by_id(&users).await?;
        let hosts = registry.hosts_by_id(&hosts).await?;
        Ok(Self {
            users: users.into_iter().map(|user| (user.id, user)).collect(),
            hosts: hosts.into_iter().map(|host| (host.id, host)).collect(),
            devices: registry.places_of(&devices).await?,
            keys: registry
                .inbound_keys_of(&keyed)
                .await?
                .into_iter()
                .collect(),
            suspended: registry.suspended_accounts().await?.into_iter().collect(),
        })
    }

    /// Why what is in the table may not go on now, if so.
    pub(super) fn judge_kept(&self, kept: &Kept) -> Option<&'static str> {
        match kept {
            Kept::Login(hold) => self.judge(hold, Timestamp::now()),
            Kept::Passage(passage) => self.judge_passage(*passage),
        }
    }

    /// Why a login may not go on at `now`, if so.
    fn judge(&self, hold: &Hold, now: Timestamp) -> Option<&'static str> {
        self.judge_user(hold, now)
            .or_else(|| self.judge_host(hold))
            .or_else(|| self.judge_device(hold.device?))
    }

    fn judge_user(&self, hold: &Hold, now: Timestamp) -> Option<&'static str> {
        let Some(user) = self.users.get(&hold.user) else {
            return Some("user was deleted");
        };
        match user.status {
            UserStatus::Active => {}
            UserStatus::Disabled => return Some("user was disabled"),
            UserStatus::Expired => return Some("user expired"),
        }
        if user.expires_at.is_some_and(|end| end <= now) {
            return Some("user expired");
        }
        if self.suspended.contains(&user.account) {
            return Some("account was suspended");
        }
        let changed = hold.token_version.filter(|own| *own != user.token_version);
        if changed.is_some() {
            return Some("password was changed");
        }
        let key = hold.key.as_ref().map(|key| (user.id, key.clone()));
        key.filter(|key| !self.keys.contains(key))
            .map(|_| "key was removed")
    }

    fn judge_host(&self, hold: &Hold) -> Option<&'static str> {
        let hold = hold.host.as_ref()?;
        let host = self.hosts.get(&hold.id);
        let Some(host) = host.filter(|host| host.user == hold.owner) else {
            return Some("host was deleted");
        };
        let entry = hold.entry_password_hash.as_ref();
        if entry.is_some_and(|own| *own != host.entry_password_hash) {
            return Some("password was changed");
        }
        (host.status != HostStatus::Running).then_some("host was stopped")
    }

    fn judge_device(&self, hold: DeviceHold) -> Option<&'static str> {
        match self.devices.get(&hold.id) {
            None => Some("device was deleted"),
            Some((account, _)) if *account != hold.account => Some("device was moved"),
            Some((_, state)) => judge_state(*state),
        }
    }

    /// Why a stream between two devices may not go on, if so: both are to be in service, and in one account.
    fn judge_passage(&self, passage: Passage) -> Option<&'static str> {
        let [caller, target] =
            [passage.caller, passage.target].map(|device| self.devices.get(&device));
        let (Some((from, caller)), Some((to, target))) = (caller, target) else {
            return Some("device was deleted");
        };
        if from != to {
            return Some("device was moved");
        }
        judge_state(*caller).or_else(|| judge_state(*target))
    }
}

const fn judge_state(state: DeviceState) -> Option<&'static str> {
    match state {
        DeviceState::Active => None,
        DeviceState::Blocked => Some("device was blocked"),
        DeviceState::Inactive => Some("device is inactive"),
    }
}

fn once_each<T: Eq + Hash>(all: impl Iterator<Item = T>) -> Vec<T> {
    let all: HashSet<T> = all.collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use moorline_protocol::Secret;

    use super::*;
    use crate::registry::model::{AccessPolicy, HostKind, HostLimits, HostWanted, Role};

    fn user() -> User {
        User {
            id: UserId(uuid::Uuid::from_u128(1)),
            account: AccountId(1),
            username: "udo".into(),
            short_id: "abc123".into(),
            role: Role::User,
            status: UserStatus::Active,
            expires_at: None,
            password_hash: Secret::new(String::new()),
            token_version: 3,
            keys_version: 0,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn host() -> Host {
        Host {
            id: HostId(uuid::Uuid::from_u128(2)),
            account: AccountId(1),
            user: user().id,
            kind: HostKind::Device,
            device: None,
            status: HostStatus::Running,
            wanted: HostWanted::Running,
            short_id: "def456".into(),
            slot_key: String::new(),
            region: None,
            timezone: String::new(),
            hostname: String::new(),
            limits: HostLimits {
                memory_mb: 0,
                cpus: 0.0,
                disk_gb: 0,
            },
            home_volume_name: String::new(),
            entry_password_hash: Secret::new("one".into()),
            policy: AccessPolicy {
                recording_required: false,
                direct_tcpip_allowed: false,
            },
            keys_version: 0,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn hold() -> Hold {
        Hold::on_host(&host(), &user())
    }

    fn known(user: User, host: Host) -> Known {
        Known {
            keys: HashSet::from([(user.id, "SHA256:own".to_owned())]),
            users: HashMap::from([(user.id, user)]),
            hosts: HashMap::from([(host.id, host)]),
            devices: HashMap::new(),
            suspended: HashSet::new(),
        }
    }

    const NOW: Timestamp = Timestamp(1000);

    /// How the login to the host, an operator's by password and by key, and an administrator's to the host of
    /// somebody else go on.
    fn judged(change: fn(&mut User, &mut Host)) -> [Option<&'static str>; 4] {
        let (mut user, mut host) = (user(), host());
        let holds = [
            hold(),
            Hold::on_user(&user),
            Hold::on_key_of(&user, "SHA256:own".into()),
            Hold::on_host_of_another(&host, &user),
        ];
        change(&mut user, &mut host);
        let known = known(user, host);
        holds.map(|hold| known.judge(&hold, NOW))
    }

    #[test]
    fn each_change_that_closes_a_host_ends_its_logins() {
        assert_eq!(judged(|_, _| {}), [None; 4]);
        let all = |reason| [Some(reason); 4];
        let disabled = judged(|user, _| user.status = UserStatus::Disabled);
        assert_eq!(disabled, all("user was disabled"));
        let expired = judged(|user, _| user.status = UserStatus::Expired);
        assert_eq!(expired, all("user expired"));
        let over = judged(|user, _| user.expires_at = Some(NOW));
        assert_eq!(over, all("user expired"), "before anybody wrote it down");
        let later = judged(|user, _| user.expires_at = Some(Timestamp(NOW.0 + 1)));
        assert_eq!(later, [None; 4]);
        let changed = Some("password was changed");
        assert_eq!(
            judged(|user, _| user.token_version += 1),
            [changed, changed, None, changed]
        );
        assert_eq!(
            judged(|_, host| host.entry_password_hash = Secret::new("two".into())),
            [changed, None, None, None]
        );
        let stopped = Some("host was stopped");
        for change in [
            |_: &mut User, host: &mut Host| host.status = HostStatus::Stopped,
            |_: &mut User, host: &mut Host| host.status = HostStatus::Failed,
        ] {
            assert_eq!(judged(change), [stopped, None, None, stopped]);
        }
        let nobody = Known::default();
        assert_eq!(nobody.judge(&hold(), NOW), Some("user was deleted"));
        let mut no_host = known(user(), host());
        no_host.hosts.clear();
        assert_eq!(no_host.judge(&hold(), NOW), Some("host was deleted"));
        let mut suspended = known(user(), host());
        suspended.suspended.insert(user().account);
        let reason = Some("account was suspended");
        assert_eq!(suspended.judge(&hold(), NOW), reason);
    }

    #[test]
    fn a_key_that_is_removed_ends_what_it_opened() {
        let known = known(user(), host());
        let by = |key: &str| {
            let hold = hold().by_key(Some(key.to_owned()));
            known.judge(&hold, NOW)
        };
        assert_eq!(by("SHA256:own"), None);
        assert_eq!(by("SHA256:other"), Some("key was removed"));
        let operators = Hold::on_key_of(&user(), "SHA256:other".into());
        assert_eq!(known.judge(&operators, NOW), Some("key was removed"));
    }

    #[test]
    fn a_device_that_goes_ends_the_ways_to_it_and_from_it() {
        let [caller, target] = [3, 4].map(|number| DeviceId(uuid::Uuid::from_u128(number)));
        let judged = |from: (i64, DeviceState), to: (i64, DeviceState)| {
            let found = [(caller, from), (target, to)];
            let found = found.map(|(id, (account, state))| (id, (AccountId(account), state)));
            let known = Known {
                devices: HashMap::from(found),
                ..Known::default()
            };
            known.judge_passage(Passage { caller, target })
        };
        let own = (1, DeviceState::Active);
        assert_eq!(judged(own, own), None);
        let moved = (2, DeviceState::Active);
        assert_eq!(judged(moved, moved), None, "together");
        assert_eq!(judged(own, moved), Some("device was moved"));
        assert_eq!(judged(moved, own), Some("device was moved"));
        let blocked = (1, DeviceState::Blocked);
        assert_eq!(judged(blocked, own), Some("device was blocked"));
        assert_eq!(judged(own, blocked), Some("device was blocked"));
        let nothing = Known::default();
        let gone = nothing.judge_passage(Passage { caller, target });
        assert_eq!(gone, Some("device was deleted"));
    }

    #[test]
    fn a_device_that_goes_ends_what_is_open_on_it() {
        let device = DeviceHold {
            id: DeviceId(uuid::Uuid::from_u128(3)),
            account: AccountId(1),
        };
        let hold = Hold {
            device: Some(device),
            ..Hold::on_user(&user())
        };
        let judged = |found: Option<(i64, DeviceState)>| {
            let mut known = known(user(), host());
            known
                .devices
                .extend(found.map(|(account, state)| (device.id, (AccountId(account), state))));
            known.judge(&hold, NOW)
        };
        assert_eq!(judged(Some((1, DeviceState::Active))), None);
        assert_eq!(judged(None), Some("device was deleted"));
        let moved = Some("device was moved");
        assert_eq!(judged(Some((2, DeviceState::Active))), moved);
        let blocked = Some("device was blocked");
        assert_eq!(judged(Some((1, DeviceState::Blocked))), blocked);
        let inactive = Some("device is inactive");
        assert_eq!(judged(Some((1, DeviceState::Inactive))), inactive);
    }
}
