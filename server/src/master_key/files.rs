//! The file of the master key, and how another key takes its place.
//!
//! | file | holds |
//! |---|---|
//! | `master.key` | the key |
//! | `master.key.new` | the next one, while a rotation is under way or was cut off |
//! | `master.key.old-YYYYmmdd_HHMMSS` | a former one, for the snapshots from its time |
//!
//! *Invariant:* no key is ever deleted here, and `master.key` is there at every moment. Which of the first two is the
//! key of the database is not for the files to say: the database has a mark of it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Candidates, MasterKey, MasterKeyError};
use crate::private_file;

/// Behind the name of the key: the next one.
const NEW: &str = ".new";
/// Behind the name of the key, before a time: a former one.
const OLD: &str = ".old-";
/// Most rotations in one second for whose former keys there are names.
const SAME_SECOND: u32 = 100;

/// The key files of a data folder.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    path: PathBuf,
    candidates: Candidates,
}

impl KeyFiles {
    /// Reads the keys, or makes the file `path` (mode 0600) if there is none.
    ///
    /// # Errors
    /// [`MasterKeyError`].
    pub fn read_or_create(path: &Path) -> Result<Self, MasterKeyError> {
        // The pending one first: it may be moved to the place of the other meanwhile, and is found there then.
        let pending = read_pending(path)?;
        let current = MasterKey::read_or_create(path)?;
        Ok(Self::of(path, current, pending))
    }

    /// Reads the keys, which have to be there.
    ///
    /// # Errors
    /// [`MasterKeyError`].
    pub fn read(path: &Path) -> Result<Self, MasterKeyError> {
        let pending = read_pending(path)?;
        let current = MasterKey::read(path)?;
        Ok(Self::of(path, current, pending))
    }

    fn of(path: &Path, current: MasterKey, pending: Option<MasterKey>) -> Self {
        Self {
            path: path.to_owned(),
            candidates: Candidates { current, pending },
        }
    }

    /// The keys of which one is that of the database.
    #[must_use]
    pub fn candidates(&self) -> &Candidates {
        &self.candidates
    }

    /// Writes the next key beside the present one, where it stays until [`KeyFiles::promote`]. One that is there
    /// already, from a rotation that changed nothing, is as good as new.
    ///
    /// # Errors
    /// [`MasterKeyError`].
    pub fn prepare(&self) -> Result<MasterKey, MasterKeyError> {
        let found = self.path.symlink_metadata();
        if !found.map_err(self.cannot("look at master key"))?.is_file() {
            return Err(MasterKeyError::NoPlainFile(self.path.clone()));
        }
        MasterKey::read_or_create(&with_suffix(&self.path, NEW))
    }

    /// Puts the pending key in the place of the present one, which is kept; tells where. Only for whoever holds the
    /// lock of the data folder, and once the database is under the pending key.
    ///
    /// # Errors
    /// [`MasterKeyError`]; both keys are there then as before.
    pub fn promote(&self, stamp: &str) -> Result<PathBuf, MasterKeyError> {
        let found = self.already_kept();
        let kept = match found.map_err(self.cannot("look beside master key"))? {
            Some(kept) => kept,
            None => self.keep(stamp)?,
        };
        private_file::rename(&with_suffix(&self.path, NEW), &self.path)
            .map_err(self.cannot("replace master key"))?;
        Ok(kept)
    }

    /// Where a promotion that was cut off has kept the present key.
    fn already_kept(&self) -> io::Result<Option<PathBuf>> {
        let present = fs::read(&self.path)?;
        let prefix = with_suffix(&self.path, OLD);
        let prefix = prefix.file_name().unwrap_or_default().as_encoded_bytes();
        for entry in fs::read_dir(folder(&self.path))? {
            let entry = entry?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(prefix) && fs::read(entry.path())? == present {
                return Ok(Some(entry.path()));
            }
        }
        Ok(None)
    }

    fn keep(&self, stamp: &str) -> Result<PathBuf, MasterKeyError> {
        let plain = with_suffix(&self.path, &format!("{OLD}{stamp}"));
        let numbered = (2..=SAME_SECOND).map(|n| with_suffix(&plain, &format!("-{n}")));
        let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
        for name in std::iter::once(plain.clone()).chain(numbered) {
            match private_file::link(&self.path, &name) {
                Ok(()) => return Ok(name),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
                Err(error) => return Err(self.cannot("keep former master key")(error)),
            }
        }
        Err(self.cannot("keep former master key")(taken))
    }

    fn cannot(&self, attempt: &'static str) -> impl FnOnce(io::Error) -> MasterKeyError + use<> {
        let path = self.path.clone();
        move |source| MasterKeyError::Replace {
            attempt,
            path,
            source,
        }
    }
}

fn read_pending(path: &Path) -> Result<Option<MasterKey>, MasterKeyError> {
    match MasterKey::read(&with_suffix(path, NEW)) {
        Ok(key) => Ok(Some(key)),
        Err(MasterKeyError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::master_key::KeyFile;

    const STAMP: &str = "20261122_030405";

    fn same(one: &MasterKey, other: &MasterKey) -> bool {
        one.keyed_hash("k", b"x") == other.keyed_hash("k", b"x")
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_next_key_takes_the_place_and_the_former_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        assert!(KeyFiles::read(&path).is_err());
        let before = KeyFiles::read_or_create(&path).unwrap();
        let next = before.prepare().unwrap();
        assert!(same(&next, &before.prepare().unwrap()), "one is enough");
        let both = KeyFiles::read(&path).unwrap();
        let found = both.candidates().find(|key| same(key, &next)).unwrap();
        assert_eq!(found.0, KeyFile::Pending);
        let kept = both.promote(STAMP).unwrap();
        let old = format!("master.key.old-{STAMP}");
        assert_eq!(names(folder.path()), ["master.key", old.as_str()]);
        for file in [&kept, &path] {
            let mode = fs::metadata(file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let after = KeyFiles::read(&path).unwrap();
        assert!(same(after.candidates().current(), &next));
        let former = MasterKey::read(&kept).unwrap();
        assert!(same(&former, before.candidates().current()));
        // Another one in the same second.
        after.prepare().unwrap();
        let second = KeyFiles::read(&path).unwrap().promote(STAMP).unwrap();
        assert!(same(&MasterKey::read(&second).unwrap(), &next));
        assert_eq!(names(folder.path()).len(), 3);
    }

    #[test]
    fn a_promotion_that_was_cut_off_keeps_the_former_key_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let files = KeyFiles::read_or_create(&path).unwrap();
        let next = files.prepare().unwrap();
        let first = files.keep(STAMP).unwrap();
        assert_eq!(files.promote("20261122_040000").unwrap(), first);
        assert_eq!(names(folder.path()).len(), 2);
        assert!(same(&MasterKey::read(&path).unwrap(), &next));
    }

    #[test]
    fn a_key_behind_a_link_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        fs::write(folder.path().join("elsewhere"), [7; 32]).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
        let error = KeyFiles::read(&path).unwrap().prepare().unwrap_err();
        assert!(matches!(error, MasterKeyError::NoPlainFile(_)));
        assert_eq!(names(folder.path()), ["elsewhere", "master.key"]);
    }
}
