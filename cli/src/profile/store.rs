//! [`Store`]: the folder in which profiles live.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use moorline_protocol::Secret;
use serde::{Deserialize, Serialize};

use super::{Profile, ProfileName};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::private_file::{self, PRIVATE};

/// The user's config folder for Moorline.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    folder: PathBuf,
}

/// What a login brought.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Token {
    /// The JWT.
    pub(crate) token: Secret<String>,
    /// RFC 3339; the server refuses it from then on.
    pub(crate) expires_at: String,
}

/// [`Token`] on its way to its file; a [`Secret`] cannot be written by accident.
#[derive(Serialize)]
struct TokenFile<'a> {
    token: &'a str,
    expires_at: &'a str,
}

impl Store {
    /// The store of this user: `MOORLINE_CONFIG_DIR`, else the config folder of the system's custom.
    pub(crate) fn of_user() -> anyhow::Result<Self> {
        let folder = match std::env::var_os("MOORLINE_CONFIG_DIR") {
            Some(folder) if !folder.is_empty() => PathBuf::from(folder),
            _ => directories::ProjectDirs::from("", "", "moorline")
                .context("find the config folder: no home folder; set MOORLINE_CONFIG_DIR")?
                .config_dir()
                .to_owned(),
        };
        let folder = std::path::absolute(&folder)
            .with_context(|| format!("find the config folder {}", folder.display()))?;
        Ok(Self::at(folder))
    }

    /// The store in `folder`.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of gateway host keys that ssh is pointed at for `name`.
    pub(crate) fn known_hosts(&self, name: &ProfileName) -> PathBuf {
        self.profile_folder(name).join("known_hosts")
    }

    /// The ssh config written for `name`.
    pub(crate) fn ssh_config(&self, name: &ProfileName) -> PathBuf {
        self.folder.join("ssh").join(format!("{name}.conf"))
    }

    /// The profile in use, if one was chosen.
    pub(crate) fn current(&self) -> anyhow::Result<Option<ProfileName>> {
        let text = private_file::read(&self.folder.join("current"))?;
        Ok(text.and_then(|text| text.trim().parse().ok()))
    }

    /// Makes `name` the profile in use.
    pub(crate) fn set_current(&self, name: &ProfileName) -> anyhow::Result<()> {
        let line = format!("{name}\n");
        private_file::write(&self.folder.join("current"), line.as_bytes(), PRIVATE)
    }

    /// The names of all profiles, sorted.
    pub(crate) fn names(&self) -> anyhow::Result<Vec<ProfileName>> {
        let folder = self.folder.join("profiles");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(error).with_context(|| format!("read folder {}", folder.display()));
            }
        };
        let mut names: Vec<ProfileName> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|name| self.profile_file(name).is_file())
            .collect();
        names.sort();
        Ok(names)
    }

    /// The profile `name`.
    pub(crate) fn profile(&self, name: &ProfileName) -> anyhow::Result<Option<Profile>> {
        let path = self.profile_file(name);
        let Some(text) = private_file::read(&path)? else {
            return Ok(None);
        };
        toml::from_str(&text)
            .map(Some)
            .with_context(|| format!("read {}", path.display()))
    }

    /// Keeps `profile` under `name`.
    pub(crate) fn save_profile(&self, name: &ProfileName, profile: &Profile) -> anyhow::Result<()> {
        let text = toml::to_string(profile).context("write profile")?;
        private_file::write(&self.profile_file(name), text.as_bytes(), PRIVATE)
    }

    /// The token of `name`, if somebody is logged in there.
    pub(crate) fn token(&self, name: &ProfileName) -> anyhow::Result<Option<Token>> {
        let path = self.token_file(name);
        let Some(text) = private_file::read(&path)? else {
            return Ok(None);
        };
        // The parser's own error would quote the line, which holds the token.
        toml::from_str(&text).map(Some).map_err(|_| {
            Failure::new(
                Exit::Failed,
                format!("read {}: not a token file", path.display()),
            )
            .hint("log in again with `moorline login`")
            .into()
        })
    }

    /// Keeps `token` for `name`.
    pub(crate) fn save_token(&self, name: &ProfileName, token: &Token) -> anyhow::Result<()> {
        let text = toml::to_string(&TokenFile {
            token: token.token.expose(),
            expires_at: &token.expires_at,
        })
        .context("write token")?;
        private_file::write(&self.token_file(name), text.as_bytes(), PRIVATE)
    }

    /// Forgets the token of `name`; says whether there was one.
    pub(crate) fn remove_token(&self, name: &ProfileName) -> anyhow::Result<bool> {
        private_file::remove(&self.token_file(name))
    }

    /// Forgets `name` with everything kept for it.
    pub(crate) fn remove(&self, name: &ProfileName) -> anyhow::Result<()> {
        let folder = self.profile_folder(name);
        fs::remove_dir_all(&folder)
            .with_context(|| format!("remove folder {}", folder.display()))?;
        private_file::remove(&self.ssh_config(name))?;
        if self.current()?.as_ref() == Some(name) {
            private_file::remove(&self.folder.join("current"))?;
        }
        Ok(())
    }

    /// The profile to use: `asked` for, else the current one, else the only one.
    pub(crate) fn choose(&self, asked: Option<&ProfileName>) -> anyhow::Result<ProfileName> {
        if let Some(name) = asked {
            return Ok(name.clone());
        }
        if let Some(name) = self.current()? {
            return Ok(name);
        }
        let mut names = self.names()?;
        match (names.pop(), names.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(_), false) => Err(
                Failure::new(Exit::Usage, "choose a profile: none is in use")
                    .hint("`moorline profile use NAME`, or --profile NAME")
                    .into(),
            ),
            (None, _) => Err(
                Failure::new(Exit::NotFound, "choose a profile: there is none")
                    .hint("log in with `moorline login URL`")
                    .into(),
            ),
        }
    }

    fn profile_folder(&self, name: &ProfileName) -> PathBuf {
        self.folder.join("profiles").join(name.as_str())
    }

    fn profile_file(&self, name: &ProfileName) -> PathBuf {
        self.profile_folder(name).join("profile.toml")
    }

    fn token_file(&self, name: &ProfileName) -> PathBuf {
        self.profile_folder(name).join("token")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use moorline_protocol::operator::GatewayInfo;

    use super::*;
    use crate::failure::exit_of;
    use crate::profile::{Pin, Trust};

    fn profile(trust: Trust) -> Profile {
        Profile {
            url: "https://moor.example.com".to_owned(),
            username: "ada".to_owned(),
            role: "admin".to_owned(),
            short_id: "a1b2c3".to_owned(),
            identities: vec!["/home/ada/.ssh/work".into()],
            trust,
            gateway: Some(GatewayInfo {
                host: "moor.example.com".to_owned(),
                port: 2222,
                host_key: "ssh-ed25519 AAAA".to_owned(),
            }),
        }
    }

    #[test]
    fn profiles_come_back_as_they_were_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("moorline"));
        let pem = "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n".to_owned();
        for (name, trust) in [
            ("a", Trust::Public),
            ("b", Trust::Ca(pem)),
            ("c", Trust::Pin(Pin::of(b"key"))),
        ] {
            let name: ProfileName = name.parse().unwrap();
            store.save_profile(&name, &profile(trust.clone())).unwrap();
            let kept = store.profile(&name).unwrap().unwrap();
            assert_eq!(kept.trust, trust);
            assert_eq!(kept.gateway.unwrap().port, 2222);
        }
        assert_eq!(store.names().unwrap().len(), 3);
    }

    #[test]
    fn the_token_is_private_and_can_be_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().to_owned());
        let name = ProfileName::first();
        let token = Token {
            token: Secret::new("a.b.c".to_owned()),
            expires_at: "2026-11-23T00:00:00Z".to_owned(),
        };
        store.save_token(&name, &token).unwrap();
        let mode = fs::metadata(store.token_file(&name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let kept = store.token(&name).unwrap().unwrap();
        assert_eq!(kept.token.expose(), "a.b.c");
        assert!(store.remove_token(&name).unwrap());
        assert!(store.token(&name).unwrap().is_none());
    }

    #[test]
    fn a_broken_token_file_is_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().to_owned());
        let name = ProfileName::first();
        private_file::write(&store.token_file(&name), b"token = 'hush", PRIVATE).unwrap();
        let error = store.token(&name).unwrap_err();
        assert!(!crate::failure::chain(&error).contains("hush"));
    }

    #[test]
    fn asked_beats_current_beats_only() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().to_owned());
        let (a, b): (ProfileName, ProfileName) = ("a".parse().unwrap(), "b".parse().unwrap());
        assert_eq!(exit_of(&store.choose(None).unwrap_err()), Exit::NotFound);
        store.save_profile(&a, &profile(Trust::Public)).unwrap();
        assert_eq!(store.choose(None).unwrap(), a);
        store.save_profile(&b, &profile(Trust::Public)).unwrap();
        assert_eq!(exit_of(&store.choose(None).unwrap_err()), Exit::Usage);
        store.set_current(&b).unwrap();
        assert_eq!(store.choose(None).unwrap(), b);
        assert_eq!(store.choose(Some(&a)).unwrap(), a);
        store.remove(&b).unwrap();
        assert_eq!(store.choose(None).unwrap(), a);
    }
}
