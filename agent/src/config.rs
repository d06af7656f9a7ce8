//! Settings: `/etc/moorline/agent.toml`, over it the kernel command line, over that the environment.
//!
//! [`ConfigFile`] is what was typed, [`Config`] what it means: complete and checked. Reading is pure; only
//! [`load`] touches files and the environment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use moorline_protocol::Secret;
use reqwest::Url;
use thiserror::Error;

mod file;
mod overrides;

pub use file::{ConfigFile, TrustFile};
pub use overrides::kernel_settings;

/// Where the file is unless `--config` or `MOORLINE_CONFIG` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/moorline/agent.toml";
/// Longest configuration file, in bytes; ours with all comments has 4 KiB.
const MAX_CONFIG_BYTES: u64 = 64 * 1024;

/// What the configuration means.
#[derive(Clone, Debug)]
pub struct Config {
    /// Base of the API; not needed once the device is enrolled.
    pub api_url: Option<Url>,
    /// Where the provisioning key comes from.
    pub api_key: KeySource,
    /// What becomes of the provisioning key after enrolment.
    pub after_enrolment: AfterEnrolment,
    /// What the device asks for when it enrols.
    pub wishes: Wishes,
    /// Where the state folder is, if fixed.
    pub state_dir: Option<PathBuf>,
    /// Whom to trust.
    pub trust: Trust,
    /// How much data an idle tunnel may cost.
    pub profile: Profile,
    /// File that gets the gateway's key, if the owner of the device wants that.
    pub authorized_keys: Option<PathBuf>,
    /// How much is logged.
    pub log: LogLevel,
}

/// Where the provisioning key comes from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// Nowhere: only a device that is enrolled already can run.
    None,
    /// It stands in the configuration.
    Given(Secret<String>),
    /// It is the content of a file.
    File(PathBuf),
}

/// What becomes of the provisioning key once the device is enrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterEnrolment {
    /// Its file is removed where the agent may do so, and it is copied nowhere.
    Forget,
    /// It stays, and a copy is kept in the state folder, so that the agent can ask where its node is.
    Keep,
}

/// Parameters of `create_new_client`; the server checks them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Node to connect to.
    pub region: Option<String>,
    /// `serial` or `random`.
    pub name_type: Option<String>,
    /// Put before the serial number.
    pub prefix: Option<String>,
    /// A name of its own.
    pub name: Option<String>,
    /// Device port of the first forward.
    pub fwport: Option<u16>,
    /// Login name on the device.
    pub username: Option<String>,
}

/// Whom to trust at the other end of HTTPS. The SSH host key comes with the client script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// SHA-256 of the server's public key (SPKI). With pins nothing else counts: neither names nor dates.
    pub server_spki: Vec<[u8; 32]>,
    /// PEM file with the only authorities to trust, in place of the public ones.
    pub ca_file: Option<PathBuf>,
}

/// How much data an idle tunnel may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// At most 0.35 MB a day; a dead link is noticed within 30 s while the tunnel is in use or young.
    #[default]
    Default,
    /// At most 1 MB a month, for metered mobile links.
    Lte,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// What someone must act on.
    Error,
    /// And what will heal by itself.
    Warn,
    /// And each change of state.
    #[default]
    Info,
    /// And details.
    Debug,
}

/// Why a configuration cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The file is there but cannot be read, or one was named that is not there.
    #[error("read {}: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The text is not such a file: bad TOML, an unknown key, a value of the wrong kind.
    #[error("{}:{line}: {reason}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong, without the text of the line: it may hold a secret.
        reason: String,
    },
    /// A value cannot be used.
    #[error("`{key}` {reason}")]
    Value {
        /// The setting.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigError {
    fn value(key: &str, reason: impl Into<String>) -> Self {
        Self::Value {
            key: key.to_owned(),
            reason: reason.into(),
        }
    }
}

impl ConfigFile {
    /// Checks what was typed.
    ///
    /// # Errors
    /// [`ConfigError::Value`] with the setting and what is wrong with it.
    pub fn check(self) -> Result<Config, ConfigError> {
        let api_key = match (
            non_empty(self.api_key.map(Secret::into_exposed)),
            self.api_key_file,
        ) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::value(
                    "api_key_file",
                    "cannot stand beside `api_key`; give one of them",
                ));
            }
            (Some(key), None) => KeySource::Given(Secret::new(key)),
            (None, Some(path)) => KeySource::File(absolute("api_key_file", path)?),
            (None, None) => KeySource::None,
        };
        let after_enrolment = match self.keep_api_key {
            Some(true) => AfterEnrolment::Keep,
            Some(false) | None => AfterEnrolment::Forget,
        };
        let optional_path =
            |key, path: Option<PathBuf>| path.map(|path| absolute(key, path)).transpose();
        Ok(Config {
            api_url: non_empty(self.api_url)
                .map(|text| api_url(&text))
                .transpose()?,
            api_key,
            after_enrolment,
            wishes: Wishes {
                region: non_empty(self.region),
                name_type: name_type(non_empty(self.name_type))?,
                prefix: non_empty(self.prefix),
                name: non_empty(self.name),
                fwport: self.fwport.map(port).transpose()?,
                username: non_empty(self.username),
            },
            state_dir: optional_path("state_dir", self.state_dir)?,
            trust: Trust {
                server_spki: self
                    .trust
                    .server_spki_sha256
                    .iter()
                    .map(|text| pin(text))
                    .collect::<Result<_, _>>()?,
                ca_file: optional_path("trust.ca_file", self.trust.ca_file)?,
            },
            profile: profile(self.profile.as_deref())?,
            authorized_keys: optional_path("authorized_keys", self.authorized_keys)?,
            log: log_level(self.log.as_deref())?,
        })
    }
}

impl Config {
    /// How long a call to the API may take in all.
    #[must_use]
    pub const fn api_timeout(&self) -> Duration {
        match self.profile {
            Profile::Default => Duration::from_secs(30),
            Profile::Lte => Duration::from_secs(60),
        }
    }
}

/// Reads the configuration: the file at `path` (absent is fine unless `named`), the kernel command line, the
/// environment. The second value lists settings of the kernel command line that were not understood.
///
/// # Errors
/// [`ConfigError`].
pub fn load(path: &Path, named: Named) -> Result<(Config, Vec<String>), ConfigError> {
    let mut file = match read(path) {
        Ok(text) => ConfigFile::parse(&text, path)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named == Named::No => {
            ConfigFile::default()
        }
        Err(error) => {
            return Err(ConfigError::Unreadable {
                path: path.to_owned(),
                reason: error.to_string(),
            });
        }
    };
    let unknown = overrides::apply_kernel(&mut file)?;
    overrides::apply_environment(&mut file, |name| std::env::var(name).ok())?;
    Ok((file.check()?, unknown))
}

/// Whether somebody named the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// It must be there.
    Yes,
    /// It is the default one and may be absent.
    No,
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MAX_CONFIG_BYTES)
        .read_to_string(&mut text)?;
    Ok(text)
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn api_url(text: &str) -> Result<Url, ConfigError> {
    let bad = |reason: &str| ConfigError::value("api_url", reason);
    if !has_ascii_host(text) {
        return Err(bad(
            "must name its host in ASCII, an international name as xn--…",
        ));
    }
    let url = Url::parse(text)
        .map_err(|_| bad("is not a URL; write for example https://moorline.example.com"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(bad("must begin with https:// (or http://) and a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("must not hold a login"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("must end with the host or a path"));
    }
    Ok(url)
}

/// Whether no letter of the host is outside ASCII, as it is or percent-encoded: the tables for such names are left out
/// of the agent, and what stands in for them asserts in debug builds that it is never asked.
fn has_ascii_host(url: &str) -> bool {
    let ends = ['/', '\\', '?', '#'];
    let rest = url.split_once(':').map_or(url, |(_, rest)| rest);
    let rest = rest.trim_start_matches(['/', '\\', '\t', '\r', '\n']);
    let authority = rest.split(ends).next().unwrap_or_default();
    authority.is_ascii() && !authority.contains('%')
}

fn name_type(text: Option<String>) -> Result<Option<String>, ConfigError> {
    match text.as_deref() {
        None | Some("serial" | "random") => Ok(text),
        Some(_) => Err(ConfigError::value("type", "must be serial or random")),
    }
}

fn port(number: i64) -> Result<u16, ConfigError> {
    u16::try_from(number)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| ConfigError::value("fwport", "must be a number from 1 to 65535"))
}

fn profile(text: Option<&str>) -> Result<Profile, ConfigError> {
    match text {
        None | Some("" | "default") => Ok(Profile::Default),
        Some("lte") => Ok(Profile::Lte),
        Some(_) => Err(ConfigError::value("profile", "must be default or lte")),
    }
}

fn log_level(text: Option<&str>) -> Result<LogLevel, ConfigError> {
    match text {
        Some("error") => Ok(LogLevel::Error),
        Some("warn") => Ok(LogLevel::Warn),
        None | Some("" | "info") => Ok(LogLevel::Info),
        Some("debug") => Ok(LogLevel::Debug),
        Some(_) => Err(ConfigError::value(
            "log",
            "must be error, warn, info or debug",
        )),
    }
}

fn absolute(key: &str, path: PathBuf) -> Result<PathBuf, ConfigError> {
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(ConfigError::value(key, "must be a path that begins with /"))
    }
}

/// A pin: base64 or hexadecimal of a SHA-256, `sha256/` before it or not.
fn pin(text: &str) -> Result<[u8; 32], ConfigError> {
    // `sha256/` and `sha256//` are both in use, and a digest may itself begin with a slash.
    let bare = text.strip_prefix("sha256/").unwrap_or(text);
    let bare = if bare.len() == 45 {
        bare.strip_prefix('/').unwrap_or(bare)
    } else {
        bare
    };
    let decoded = if bare.len() == 64 {
        data_encoding::HEXLOWER_PERMISSIVE.decode(bare.as_bytes())
    } else {
        data_encoding::BASE64.decode(bare.as_bytes())
    };
    decoded
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| {
            ConfigError::value(
                "trust.server_spki_sha256",
                "must hold SHA-256 pins, base64 (44 characters) or hexadecimal (64)",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Config, ConfigError> {
        ConfigFile::parse(text, Path::new("agent.toml"))?.check()
    }

    #[test]
    fn an_empty_file_is_complete() {
        let config = check("").unwrap();
        assert!(matches!(config.api_key, KeySource::None));
        assert_eq!(config.after_enrolment, AfterEnrolment::Forget);
        assert_eq!(
            (config.profile, config.log),
            (Profile::Default, LogLevel::Info)
        );
    }

    #[test]
    fn the_example_is_understood_with_and_without_its_comment_signs() {
        let example = include_str!("../dist/agent.toml");
        check(example).unwrap();
        let settings = example.lines().filter(|line| {
            let bare = line.strip_prefix('#').unwrap_or_default();
            bare.starts_with(|c: char| c.is_ascii_lowercase()) && bare.contains(" = ")
        });
        let mut seen = 0;
        for setting in settings.filter_map(|line| line.strip_prefix('#')) {
            let in_trust = setting.starts_with("server_spki") || setting.starts_with("ca_file");
            let section = if in_trust { "[trust]\n" } else { "" };
            check(&format!("{section}{setting}")).unwrap();
            seen += 1;
        }
        assert_eq!(seen, 16);
    }

    #[test]
    fn every_setting_is_understood() {
        let config = check(
            r#"
            api_url = "https://m.example/base"
            api_key_file = "/etc/moorline/api_key"
            keep_api_key = true
            region = "eu"
            type = "serial"
            prefix = "cli"
            name = "x"
            fwport = 2222
            username = "pi"
            state_dir = "/data/moorline"
            authorized_keys = "/root/.ssh/authorized_keys"
            profile = "lte"
            log = "debug"
            [trust]
            server_spki_sha256 = ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
            ca_file = "/etc/moorline/ca.pem"
            "#,
        )
        .unwrap();
        assert_eq!(config.wishes.fwport, Some(2222));
        assert_eq!(config.trust.server_spki, [[0; 32]]);
        assert_eq!(
            (config.profile, config.log),
            (Profile::Lte, LogLevel::Debug)
        );
        assert_eq!(config.after_enrolment, AfterEnrolment::Keep);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_no_value_is_repeated() {
        let error = check("region = \"eu\"\napi_kay = \"hunter2\"\n").unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("agent.toml:2: "), "{text}");
        assert!(
            text.contains("api_kay") && !text.contains("hunter2"),
            "{text}"
        );
        let text = check("[trust]\nca = 1\n").unwrap_err().to_string();
        assert!(text.starts_with("agent.toml:2: "), "{text}");
        let text = check("api_key = hunter2\n").unwrap_err().to_string();
        assert!(
            text.starts_with("agent.toml:1: ") && !text.contains("hunter2"),
            "{text}"
        );
    }

    #[test]
    fn values_that_cannot_be_used_are_named() {
        for (text, key) in [
            ("api_url = \"ftp://x\"", "api_url"),
            ("api_url = \"moorline\"", "api_url"),
            ("api_url = \"https://u:p@x\"", "api_url"),
            ("api_url = \"https://x/?a\"", "api_url"),
            ("api_url = \"https://BÜCHER.example\"", "api_url"),
            ("api_url = \"https:\\\\A%AA/\"", "api_url"),
            ("api_key = \"a\"\napi_key_file = \"/b\"", "api_key_file"),
            ("api_key_file = \"b\"", "api_key_file"),
            ("type = \"cereal\"", "type"),
            ("fwport = 0", "fwport"),
            ("fwport = 70000", "fwport"),
            ("profile = \"dial-up\"", "profile"),
            ("log = \"loud\"", "log"),
            ("state_dir = \"x\"", "state_dir"),
            (
                "[trust]\nserver_spki_sha256 = [\"x\"]",
                "trust.server_spki_sha256",
            ),
        ] {
            match check(text).unwrap_err() {
                ConfigError::Value { key: named, .. } => assert_eq!(named, key, "{text}"),
                other => panic!("{text}: {other}"),
            }
        }
    }
}
