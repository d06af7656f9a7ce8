//! The configuration as it is typed.

use std::path::{Path, PathBuf};

use moorline_protocol::Secret;
use serde::Deserialize;

use super::ConfigError;

/// The file as it is typed; see [`super::Config`] for the meanings.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigFile {
    pub(super) api_url: Option<String>,
    pub(super) api_key: Option<Secret<String>>,
    pub(super) api_key_file: Option<PathBuf>,
    pub(super) keep_api_key: Option<bool>,
    pub(super) region: Option<String>,
    #[serde(rename = "type")]
    pub(super) name_type: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) name: Option<String>,
    pub(super) fwport: Option<i64>,
    pub(super) username: Option<String>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) authorized_keys: Option<PathBuf>,
    pub(super) profile: Option<String>,
    pub(super) log: Option<String>,
    pub(super) trust: TrustFile,
}

/// Section `[trust]` as it is typed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrustFile {
    pub(super) server_spki_sha256: Vec<String>,
    pub(super) ca_file: Option<PathBuf>,
}

/// Names under which a setting can be given outside the file, as `moorline.<name>` or `MOORLINE_<NAME>`.
pub(super) const SETTINGS: [&str; 16] = [
    "api_url",
    "api_key",
    "api_key_file",
    "keep_api_key",
    "region",
    "type",
    "prefix",
    "name",
    "fwport",
    "username",
    "state_dir",
    "authorized_keys",
    "profile",
    "log",
    "trust.server_spki_sha256",
    "trust.ca_file",
];

impl ConfigFile {
    /// Reads `text`, which came from `path`.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] with the line; never with its text, which may hold a secret.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            ConfigError::Syntax {
                path: path.to_owned(),
                line: before.map_or(1, |before| before.matches('\n').count() + 1),
                reason: error.message().replace('\n', " "),
            }
        })
    }

    /// Sets the setting called `name` from text.
    ///
    /// # Errors
    /// [`ConfigError::Value`] when there is no such setting or the text is of the wrong kind.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let text = || Some(value.to_owned());
        let path = || Some(PathBuf::from(value)).filter(|_| !value.is_empty());
        match name {
            "api_url" => self.api_url = text(),
            // The stronger source wins as a whole: a key given here replaces a key file given below, and back.
            "api_key" => {
                self.api_key = Some(Secret::new(value.to_owned()));
                self.api_key_file = None;
            }
            "api_key_file" => {
                self.api_key_file = path();
                self.api_key = None;
            }
            "keep_api_key" => self.keep_api_key = Some(truth(name, value)?),
            "region" => self.region = text(),
            "type" => self.name_type = text(),
            "prefix" => self.prefix = text(),
            "name" => self.name = text(),
            "fwport" => {
                let number = value
                    .parse()
                    .map_err(|_| ConfigError::value(name, "must be a number from 1 to 65535"))?;
                self.fwport = Some(number);
            }
            "username" => self.username = text(),
            "state_dir" => self.state_dir = path(),
            "authorized_keys" => self.authorized_keys = path(),
            "profile" => self.profile = text(),
            "log" => self.log = text(),
            "trust.server_spki_sha256" => {
                self.trust.server_spki_sha256 = value
                    .split(',')
                    .map(str::trim)
                    .filter(|pin| !pin.is_empty())
                    .map(str::to_owned)
                    .collect();
            }
            "trust.ca_file" => self.trust.ca_file = path(),
            _ => return Err(ConfigError::value(name, "is not a setting")),
        }
        Ok(())
    }
}

fn truth(name: &str, value: &str) -> Result<bool, ConfigError> {
    match value {
        "true" | "1" | "on" | "yes" => Ok(true),
        "false" | "0" | "off" | "no" => Ok(false),
        _ => Err(ConfigError::value(name, "must be true or false")),
    }
}
