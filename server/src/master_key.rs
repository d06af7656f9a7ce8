//! The master key: 32 random bytes in a private file, under which secrets at rest are sealed and found again.
//!
//! Each use has a key of its own, derived by HKDF from the master key and a word for the purpose.
//!
//! | module | holds |
//! |---|---|
//! | [`files`] | the file, and how another key takes its place |

pub mod files;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use moorline_protocol::Secret;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use thiserror::Error;

use crate::private_file;

/// Length of the key, in bytes.
const KEY_BYTES: usize = 32;

/// Purpose of the key of keyed hashes.
const HASHING: &str = "keyed hash";
/// Where the lasting key is sealed into.
const LASTING_PLACE: &str = "master_key_check.lasting";

/// Why there is no master key.
#[derive(Debug, Error)]
pub enum MasterKeyError {
    /// The file cannot be read or made.
    #[error("read master key {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The file does not hold a key.
    #[error("read master key {}: {found} bytes, expected 32", path.display())]
    Length {
        /// Which file.
        path: PathBuf,
        /// How long it is.
        found: usize,
    },
    /// A key file cannot be put in its place.
    #[error("{attempt} {}: {source}", path.display())]
    Replace {
        /// What was attempted.
        attempt: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The file of the key is a link: replacing it would leave the key where it leads to.
    #[error("replace master key {}: it is no plain file", .0.display())]
    NoPlainFile(PathBuf),
    /// The system gave no random bytes, or a key could not be derived.
    #[error("make keys: the system's random source failed")]
    Random,
}

/// A sealed value that cannot be opened: another master key, another place, or damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("value cannot be sealed or opened with this master key")]
pub struct SealError;

/// The master key and what follows from it. Clones share it.
#[derive(Clone)]
pub struct MasterKey {
    derived: Arc<Derived>,
}

struct Derived {
    root: hkdf::Prk,
    sealing: LessSafeKey,
    hashing: hmac::Key,
    random: SystemRandom,
}

impl MasterKey {
    /// Reads the key from `path`, or makes the file (mode 0600) if there is none.
    ///
    /// # Errors
    /// [`MasterKeyError`].
    pub fn read_or_create(path: &Path) -> Result<Self, MasterKeyError> {
        let fresh = Self::random_bytes()?;
        let bytes = private_file::read_or_create(path, || fresh.to_vec()).map_err(|source| {
            MasterKeyError::File {
                path: path.to_owned(),
                source,
            }
        })?;
        Self::of_file(path, &bytes)
    }

    /// Reads the key from `path`, where it has to be.
    ///
    /// # Errors
    /// [`MasterKeyError`].
    pub fn read(path: &Path) -> Result<Self, MasterKeyError> {
        let bytes = std::fs::read(path).map_err(|source| MasterKeyError::File {
            path: path.to_owned(),
            source,
        })?;
        Self::of_file(path, &bytes)
    }

    fn of_file(path: &Path, bytes: &[u8]) -> Result<Self, MasterKeyError> {
        let key: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| MasterKeyError::Length {
            path: path.to_owned(),
            found: bytes.len(),
        })?;
        Self::from_bytes(&key)
    }

    /// A key for tests and for what lives no longer than the process.
    ///
    /// # Errors
    /// [`MasterKeyError::Random`].
    pub fn random() -> Result<Self, MasterKeyError> {
        Self::from_bytes(&Self::random_bytes()?)
    }

    /// The key made of these bytes.
    ///
    /// # Errors
    /// [`MasterKeyError::Random`].
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Result<Self, MasterKeyError> {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"moorline").extract(bytes);
        let sealing = UnboundKey::new(&AES_256_GCM, &expand(&root, "seal")?)
            .map_err(|_| MasterKeyError::Random)?;
        let hashing = hmac::Key::new(hmac::HMAC_SHA256, &expand(&root, HASHING)?);
        Ok(Self {
            derived: Arc::new(Derived {
                root,
                sealing: LessSafeKey::new(sealing),
                hashing,
                random: SystemRandom::new(),
            }),
        })
    }

    /// A key of its own for `purpose`, such as signing tokens; the same at every start.
    ///
    /// # Errors
    /// [`MasterKeyError::Random`].
    pub fn derive(&self, purpose: &str) -> Result<Secret<[u8; KEY_BYTES]>, MasterKeyError> {
        expand(&self.derived.root, &format!("derived {purpose}")).map(Secret::new)
    }

    /// Encrypts `plain` (AES-256-GCM, random nonce in front). It opens only for the same `place`: a sealed value that
    /// is copied to another row is refused there.
    ///
    /// # Errors
    /// [`SealError`] when the system gives no random bytes.
    pub fn seal(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        self.derived
            .random
            .fill(&mut nonce)
            .map_err(|_| SealError)?;
        let mut sealed = plain.to_vec();
        let tag = self
            .derived
            .sealing
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.as_bytes()),
                &mut sealed,
            )
            .map_err(|_| SealError)?;
        let mut out = Vec::with_capacity(NONCE_LEN + sealed.len() + AES_256_GCM.tag_len());
        out.extend_from_slice(&nonce);
        out.append(&mut sealed);
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Decrypts what [`MasterKey::seal`] made for this `place`.
    ///
    /// # Errors
    /// [`SealError`] when key, place or bytes are not those.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, SealError> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(SealError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError)?;
        let mut body = body.to_vec();
        let length = self
            .derived
            .sealing
            .open_in_place(nonce, Aad::from(place.as_bytes()), &mut body)
            .map_err(|_| SealError)?
            .len();
        body.truncate(length);
        Ok(Secret::new(body))
    }

    /// HMAC-SHA256 of `value` for `purpose`: finds a secret without keeping it. Whoever keeps such a hash must be able
    /// to make it anew, or do without it, when the master key is rotated; else it is one for [`LastingKey`].
    #[must_use]
    pub fn keyed_hash(&self, purpose: &str, value: &[u8]) -> Vec<u8> {
        keyed_hash(&self.derived.hashing, purpose, value)
    }

    /// The lasting key of a database that has seen no other master key than this.
    ///
    /// # Errors
    /// [`MasterKeyError::Random`].
    pub fn first_lasting(&self) -> Result<LastingKey, MasterKeyError> {
        expand(&self.derived.root, HASHING).map(LastingKey::new)
    }

    /// Encrypts the lasting key for the database.
    ///
    /// # Errors
    /// As [`MasterKey::seal`].
    pub fn seal_lasting(&self, lasting: &LastingKey) -> Result<Vec<u8>, SealError> {
        self.seal(LASTING_PLACE, lasting.bytes.expose())
    }

    /// Decrypts what [`MasterKey::seal_lasting`] made.
    ///
    /// # Errors
    /// As [`MasterKey::open`].
    pub fn open_lasting(&self, sealed: &[u8]) -> Result<LastingKey, SealError> {
        let opened = self.open(LASTING_PLACE, sealed)?;
        let bytes = opened.expose().as_slice().try_into();
        bytes.map(LastingKey::new).map_err(|_| SealError)
    }

    fn random_bytes() -> Result<[u8; KEY_BYTES], MasterKeyError> {
        let mut bytes = [0; KEY_BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| MasterKeyError::Random)?;
        Ok(bytes)
    }
}

/// The key of hashes that a new master key leaves as they are: of random secrets whose plain text nobody keeps, and
/// of what has to look the same for ever. It stands sealed in the database. Such a hash cannot be turned back by who
/// knows this key, as what is hashed has 95 random bits or is no secret.
#[derive(Clone)]
pub struct LastingKey {
    bytes: Secret<[u8; KEY_BYTES]>,
    hashing: hmac::Key,
}

impl LastingKey {
    fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self {
            hashing: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
            bytes: Secret::new(bytes),
        }
    }

    /// HMAC-SHA256 of `value` for `purpose`.
    #[must_use]
    pub fn keyed_hash(&self, purpose: &str, value: &[u8]) -> Vec<u8> {
        keyed_hash(&self.hashing, purpose, value)
    }
}

fn keyed_hash(key: &hmac::Key, purpose: &str, value: &[u8]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(key);
    context.update(purpose.as_bytes());
    context.update(&[0]);
    context.update(value);
    context.sign().as_ref().to_vec()
}

/// The master keys that may be the one of a database: two only where a rotation is under way or was cut off.
#[derive(Clone, Debug)]
pub struct Candidates {
    current: MasterKey,
    pending: Option<MasterKey>,
}

/// Which of two key files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFile {
    /// The one in its place.
    Current,
    /// The one that a rotation wrote beside it.
    Pending,
}

impl Candidates {
    /// The key in its place.
    #[must_use]
    pub fn current(&self) -> &MasterKey {
        &self.current
    }

    /// The first that `fits`.
    pub fn find(&self, fits: impl Fn(&MasterKey) -> bool) -> Option<(KeyFile, &MasterKey)> {
        if fits(&self.current) {
            return Some((KeyFile::Current, &self.current));
        }
        let pending = self.pending.as_ref().filter(|key| fits(key))?;
        Some((KeyFile::Pending, pending))
    }
}

impl From<MasterKey> for Candidates {
    fn from(current: MasterKey) -> Self {
        Self {
            current,
            pending: None,
        }
    }
}

fn expand(root: &hkdf::Prk, purpose: &str) -> Result<[u8; KEY_BYTES], MasterKeyError> {
    let mut key = [0; KEY_BYTES];
    root.expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256)
        .and_then(|output| output.fill(&mut key))
        .map_err(|_| MasterKeyError::Random)?;
    Ok(key)
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(<redacted>)")
    }
}

impl fmt::Debug for LastingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LastingKey(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_in_its_place_only() {
        let key = MasterKey::random().unwrap();
        let sealed = key.seal("device 1", b"secret").unwrap();
        assert_eq!(key.open("device 1", &sealed).unwrap().expose(), b"secret");
        assert_eq!(key.open("device 2", &sealed), Err(SealError));
        assert_eq!(key.open("device 1", &sealed[..20]), Err(SealError));
        assert_eq!(key.open("device 1", b""), Err(SealError));
        let other = MasterKey::random().unwrap();
        assert_eq!(other.open("device 1", &sealed), Err(SealError));
    }

    #[test]
    fn the_key_of_a_file_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let one = MasterKey::read_or_create(&path).unwrap();
        let two = MasterKey::read_or_create(&path).unwrap();
        assert_eq!(one.keyed_hash("k", b"x"), two.keyed_hash("k", b"x"));
        assert_ne!(one.keyed_hash("k", b"x"), one.keyed_hash("other", b"x"));
        assert_eq!(
            one.derive("jwt").unwrap().expose(),
            two.derive("jwt").unwrap().expose()
        );
        std::fs::write(&path, b"short").unwrap();
        assert!(MasterKey::read_or_create(&path).is_err());
    }

    #[test]
    fn a_lasting_key_goes_from_one_master_key_to_the_next() {
        let (one, two) = (MasterKey::random().unwrap(), MasterKey::random().unwrap());
        let first = one.first_lasting().unwrap();
        let hash = one.keyed_hash("k", b"x");
        assert_eq!(
            first.keyed_hash("k", b"x"),
            hash,
            "nothing changes at first"
        );
        let sealed = two.seal_lasting(&first).unwrap();
        assert!(one.open_lasting(&sealed).is_err());
        let carried = two.open_lasting(&sealed).unwrap();
        assert_eq!(carried.keyed_hash("k", b"x"), hash);
        assert_ne!(two.keyed_hash("k", b"x"), hash);
        assert!(
            two.open_lasting(&two.seal("elsewhere", &[0; 32]).unwrap())
                .is_err()
        );
    }
}
