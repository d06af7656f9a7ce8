//! The state folder: device key, identity, client script, last seen time.
//!
//! | file | mode | holds |
//! |---|---|---|
//! | `device_key` | 0600 | the private key, OpenSSH form; made once, never sent |
//! | `identity.toml` | 0600 | who the server says this device is |
//! | `client.sh` | 0600 | the client script as it came; never executed by the agent |
//! | `last_seen_time` | 0644 | seconds since 1970, from the last answer that TLS vouched for |
//! | `provisioning_key` | 0600 | the API key, only with `keep_api_key = true` |
//!
//! *Invariant:* each file is written durably before the next step of first boot begins.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use moorline_protocol::Secret;
use moorline_protocol::script::MAX_SCRIPT_BYTES;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::clock::UnixSeconds;
use crate::device_key::{DeviceKey, KeyError};
use crate::fault;
use crate::provision::Provision;

mod durable;
mod search;

pub(crate) use durable::write as write_durably;

const DEVICE_KEY: &str = "device_key";
const IDENTITY: &str = "identity.toml";
const SCRIPT: &str = "client.sh";
const LAST_SEEN: &str = "last_seen_time";
const API_KEY: &str = "provisioning_key";

/// Seconds by which a trusted time must be ahead of the stored one before it is written: flash wears out.
const LAST_SEEN_STEP_SECS: UnixSeconds = 86_400;

/// Largest state file that is read, in bytes; a script is the largest.
const MAX_FILE_BYTES: u64 = MAX_SCRIPT_BYTES as u64;

/// Why the state folder cannot be used as it is.
#[derive(Debug, Error)]
pub enum StateError {
    /// The file system refused: full, read-only, not mounted yet, wrong rights.
    #[error("{action} {}", .path.display())]
    Disk {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// A file is there but is not what it should be.
    #[error("{} is damaged: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another agent holds the folder.
    #[error("another moorline-agent uses {}", .0.display())]
    InUse(PathBuf),
}

/// Who this device is at the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// UUID of the device.
    pub client_id: String,
    /// Name of the device.
    pub name: String,
    /// Node it belongs to.
    pub region: String,
    /// API that gave the identity.
    pub api_url: String,
}

/// The folder itself.
#[derive(Clone, Debug)]
pub struct StateFolder {
    path: PathBuf,
}

/// Keeps a second agent out of the folder as long as it lives.
#[derive(Debug)]
pub struct StateLock {
    _lock: Flock<File>,
}

impl StateFolder {
    /// The folder at `configured`, else where the search of the device's data places finds it.
    #[must_use]
    pub fn find(configured: Option<&Path>) -> Self {
        let path = configured.map_or_else(
            || search::find(Path::new("/"), is_writable),
            Path::to_path_buf,
        );
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the folder, 0700, if it is not there.
    ///
    /// # Errors
    /// [`StateError::Disk`].
    pub fn create(&self) -> Result<(), StateError> {
        if self.path.is_dir() {
            return Ok(());
        }
        fault::point("before state folder");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(|source| self.disk("make folder", "", source))?;
        fault::point("after state folder");
        Ok(())
    }

    /// Takes the folder for this process; works on a read-only disk too.
    ///
    /// # Errors
    /// [`StateError::InUse`], or [`StateError::Disk`] when there is no folder.
    pub fn lock(&self) -> Result<StateLock, StateError> {
        let folder = File::open(&self.path).map_err(|source| self.disk("open", "", source))?;
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(StateLock { _lock: lock }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(StateError::InUse(self.path.clone())),
            Err((_, errno)) => Err(self.disk("lock", "", errno.into())),
        }
    }

    /// The device key, if it was made already.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn device_key(&self) -> Result<Option<DeviceKey>, StateError> {
        let Some(text) = self.read(DEVICE_KEY)? else {
            return Ok(None);
        };
        let key = DeviceKey::parse(&Secret::new(text));
        key.map(Some)
            .map_err(|error| self.damaged(DEVICE_KEY, &error))
    }

    /// The device key; made now if there is none.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn ensure_device_key(&self) -> Result<DeviceKey, StateError> {
        if let Some(key) = self.device_key()? {
            return Ok(key);
        }
        let make = || -> Result<(DeviceKey, Secret<String>), KeyError> {
            let key = DeviceKey::generate()?;
            let text = key.to_openssh()?;
            Ok((key, text))
        };
        let (key, text) = make().map_err(|error| self.damaged(DEVICE_KEY, &error))?;
        self.write(DEVICE_KEY, 0o600, text.expose().as_bytes())?;
        Ok(key)
    }

    /// The identity, if the device is enrolled.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn identity(&self) -> Result<Option<Identity>, StateError> {
        let Some(text) = self.read(IDENTITY)? else {
            return Ok(None);
        };
        toml::from_str(&text)
            .map(Some)
            .map_err(|error| self.damaged(IDENTITY, &error.message()))
    }

    /// Keeps the identity.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn write_identity(&self, identity: &Identity) -> Result<(), StateError> {
        let text = toml::to_string(identity).map_err(|error| self.damaged(IDENTITY, &error))?;
        self.write(IDENTITY, 0o600, text.as_bytes())
    }

    /// What the stored client script says, if there is one.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn provision(&self) -> Result<Option<Provision>, StateError> {
        let Some(text) = self.read(SCRIPT)? else {
            return Ok(None);
        };
        Provision::parse(&text)
            .map(Some)
            .map_err(|error| self.damaged(SCRIPT, &error))
    }

    /// Keeps the client script as it came, unless the same is there.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn write_script(&self, script: &str) -> Result<(), StateError> {
        if self.read(SCRIPT)?.as_deref() == Some(script) {
            return Ok(());
        }
        self.write(SCRIPT, 0o600, script.as_bytes())
    }

    /// The last time a trusted server told, if any; damage counts as none.
    #[must_use]
    pub fn last_seen(&self) -> Option<UnixSeconds> {
        let text = self.read(LAST_SEEN).ok()??;
        text.trim().parse().ok()
    }

    /// Notes a time that a trusted server told.
    ///
    /// # Errors
    /// [`StateError`]; not being able to keep it is no reason to stop.
    pub fn note_seen(&self, seen: UnixSeconds) -> Result<(), StateError> {
        if seen < self.last_seen().unwrap_or(0) + LAST_SEEN_STEP_SECS {
            return Ok(());
        }
        self.write(LAST_SEEN, 0o644, seen.to_string().as_bytes())
    }

    /// The API key kept here with `keep_api_key`.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn api_key(&self) -> Result<Option<Secret<String>>, StateError> {
        let key = self.read(API_KEY)?;
        Ok(key.map(|text| Secret::new(text.trim().to_owned())))
    }

    /// Keeps the API key, unless the same is there.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn write_api_key(&self, key: &Secret<String>) -> Result<(), StateError> {
        if self.api_key()?.as_ref() == Some(key) {
            return Ok(());
        }
        self.write(API_KEY, 0o600, key.expose().as_bytes())
    }

    /// Forgets the API key kept here.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn remove_api_key(&self) -> Result<(), StateError> {
        self.remove(API_KEY)
    }

    /// Back to before first boot. The identity goes first: a power cut in between leaves a device that is not
    /// enrolled, never one with a name and no key.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn clear(&self) -> Result<(), StateError> {
        for name in [SCRIPT, IDENTITY, API_KEY, DEVICE_KEY] {
            self.remove(name)?;
        }
        Ok(())
    }

    /// Whether a file can be made in the folder now.
    ///
    /// # Errors
    /// [`StateError::Disk`] with what the system says.
    pub fn check_writable(&self) -> Result<(), StateError> {
        self.write(".check", 0o600, b"x")?;
        self.remove(".check")
    }

    fn read(&self, name: &str) -> Result<Option<String>, StateError> {
        use io::Read as _;
        let path = self.path.join(name);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(|source| self.disk("open", name, source))?,
        };
        let mut text = String::new();
        match file.take(MAX_FILE_BYTES).read_to_string(&mut text) {
            Ok(_) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(self.damaged(name, &"it is not text"))
            }
            Err(source) => Err(self.disk("read", name, source)),
        }
    }

    fn write(&self, name: &str, mode: u32, bytes: &[u8]) -> Result<(), StateError> {
        self.create()?;
        durable::write(&self.path, name, mode, bytes)
            .map_err(|source| self.disk("write", name, source))
    }

    fn remove(&self, name: &str) -> Result<(), StateError> {
        if !self.path.join(name).exists() {
            return Ok(());
        }
        durable::remove(&self.path, name).map_err(|source| self.disk("remove", name, source))
    }

    fn disk(&self, action: &'static str, name: &str, source: io::Error) -> StateError {
        let path = if name.is_empty() {
            self.path.clone()
        } else {
            self.path.join(name)
        };
        StateError::Disk {
            action,
            path,
            source,
        }
    }

    fn damaged(&self, name: &str, reason: &dyn std::fmt::Display) -> StateError {
        StateError::Damaged {
            path: self.path.join(name),
            reason: reason.to_string(),
        }
    }
}

/// Whether files can be made in `folder`; asks the system, writes nothing.
pub(crate) fn is_writable(folder: &Path) -> bool {
    nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK).is_ok()
        && fs::metadata(folder).is_ok_and(|metadata| metadata.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, StateFolder) {
        let place = tempfile::tempdir().unwrap();
        let folder = StateFolder::find(Some(&place.path().join("state")));
        (place, folder)
    }

    #[test]
    fn the_key_is_made_once_and_read_back() {
        let (_place, folder) = folder();
        assert!(folder.device_key().unwrap().is_none());
        let made = folder.ensure_device_key().unwrap().public_line();
        assert_eq!(folder.ensure_device_key().unwrap().public_line(), made);
        folder.clear().unwrap();
        assert_ne!(folder.ensure_device_key().unwrap().public_line(), made);
    }

    #[test]
    fn a_damaged_file_is_named_and_not_replaced() {
        let (_place, folder) = folder();
        folder.create().unwrap();
        fs::write(folder.path().join(DEVICE_KEY), "").unwrap();
        assert!(matches!(
            folder.ensure_device_key(),
            Err(StateError::Damaged { path, .. }) if path.ends_with(DEVICE_KEY)
        ));
        fs::write(folder.path().join(IDENTITY), [0xff, 0xfe]).unwrap();
        assert!(matches!(folder.identity(), Err(StateError::Damaged { .. })));
    }

    #[test]
    fn a_second_agent_is_kept_out() {
        let (_place, folder) = folder();
        folder.create().unwrap();
        let held = folder.lock().unwrap();
        assert!(matches!(folder.lock(), Err(StateError::InUse(_))));
        drop(held);
        folder.lock().unwrap();
    }

    #[test]
    fn the_last_seen_time_is_written_once_a_day_at_most() {
        let (_place, folder) = folder();
        folder.note_seen(1_000_000).unwrap();
        assert_eq!(folder.last_seen(), Some(1_000_000));
        folder.note_seen(1_000_100).unwrap();
        assert_eq!(folder.last_seen(), Some(1_000_000));
        folder.note_seen(1_100_000).unwrap();
        assert_eq!(folder.last_seen(), Some(1_100_000));
    }
}
