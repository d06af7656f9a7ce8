//! Files that nobody else may read: keys and secrets.
//!
//! *Invariant:* every private file of the server is written here, whole or not at all, with mode 0600 from its first byte.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

const MODE: u32 = 0o600;
/// How the names of temporary files end, behind a dot and 32 hexadecimal digits.
const TEMPORARY: &str = ".tmp";
/// What SQLite puts behind the name of a file that it writes, for a file beside it.
const JOURNAL: &str = "-journal";

/// Writes `bytes` to `path`, replacing what was there. After it returned, a power cut does not undo it.
///
/// # Errors
/// Of the file system; then `path` is as it was.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = write_temporary(path, bytes)?;
    fs::rename(&temporary, path).inspect_err(|_| discard(&temporary))?;
    sync_folder(path)
}

/// Reads `path`, or makes it with what `make` gives if there is none. Of several processes that do so at once one
/// makes it and all get the same.
///
/// # Errors
/// Of the file system.
pub fn read_or_create(path: &Path, make: impl FnOnce() -> Vec<u8>) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let temporary = write_temporary(path, &make())?;
    // A hard link is made only where nothing is, unlike a rename.
    let linked = fs::hard_link(&temporary, path);
    discard(&temporary);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) | Ok(()) => {}
    }
    sync_folder(path)?;
    fs::read(path)
}

/// Gives the file `path` the further name `to`, where nothing is yet. After it returned, a power cut does not undo it.
///
/// # Errors
/// Of the file system; [`io::ErrorKind::AlreadyExists`] when the name is taken.
pub fn link(path: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(path, to)?;
    sync_folder(to)
}

/// Moves the file `path` to the name `to`, replacing what was there. After it returned, a power cut does not undo it.
///
/// # Errors
/// Of the file system.
pub fn rename(path: &Path, to: &Path) -> io::Result<()> {
    fs::rename(path, to)?;
    sync_folder(to)
}

/// Makes an empty private file unless there is a file already, for a library that opens it by name.
///
/// # Errors
/// Of the file system.
pub fn create_empty(path: &Path) -> io::Result<()> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(MODE)
        .open(path)
        .map(drop)
}

/// Takes every right to a file from others.
///
/// # Errors
/// Of the file system.
pub fn make_private(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))
}

/// A private file that others write by its name, such as a library, beside the place it is meant for. It is removed
/// when it goes out of scope before it got there; if the process is killed, [`remove_abandoned`] does so later.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
    place: PathBuf,
    kept: bool,
    /// The sign that somebody writes it; given back when the process ends, however it ends.
    _lock: Flock<File>,
}

impl Temporary {
    /// Makes it, empty.
    ///
    /// # Errors
    /// Of the file system.
    pub fn beside(place: &Path) -> io::Result<Self> {
        loop {
            let path = write_temporary(place, b"")?;
            let lock = Flock::lock(File::open(&path)?, FlockArg::LockExclusiveNonblock)
                .map_err(|(_, error)| io::Error::from(error))?;
            // Another process may have found it abandoned a moment before.
            if fs::metadata(&path).is_ok_and(|there| is_same(&there, &lock)) {
                return Ok(Self {
                    path,
                    place: place.to_owned(),
                    kept: false,
                    _lock: lock,
                });
            }
        }
    }

    /// Where it is written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves it to its place, replacing what was there. After it returned, a power cut does not undo it.
    ///
    /// # Errors
    /// Of the file system.
    pub fn keep(mut self) -> io::Result<()> {
        make_private(&self.path)?;
        File::open(&self.path)?.sync_all()?;
        fs::rename(&self.path, &self.place)?;
        self.kept = true;
        sync_folder(&self.place)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            discard(&self.path);
        }
    }
}

/// Removes from `folder` what a [`Temporary`] left whose process was killed, if it was meant for a file whose name
/// `fits`; tells which.
///
/// # Errors
/// Of the file system.
pub fn remove_abandoned(folder: &Path, fits: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let temporary = name.strip_suffix(JOURNAL).unwrap_or(name);
        if !meant_for(temporary).is_some_and(&fits) || !entry.file_type()?.is_file() {
            continue;
        }
        // A journal goes with its file.
        if temporary != name && folder.join(temporary).exists() {
            continue;
        }
        let file = match File::open(entry.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        // Its writer holds the lock for as long as it lives.
        if Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok() {
            fs::remove_file(entry.path())?;
            remove_journal(&entry.path())?;
            removed.push(entry.path());
        }
    }
    removed.sort();
    Ok(removed)
}

/// Removes the journal that SQLite left beside `path`, if it did.
///
/// # Errors
/// Of the file system.
pub fn remove_journal(path: &Path) -> io::Result<()> {
    let mut journal = OsString::from(path);
    journal.push(JOURNAL);
    match fs::remove_file(PathBuf::from(journal)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_) | Ok(()) => Ok(()),
    }
}

/// The name of the file that the temporary one called `name` was meant for.
fn meant_for(name: &str) -> Option<&str> {
    let (place, id) = name.strip_suffix(TEMPORARY)?.rsplit_once('.')?;
    let made_here = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    made_here.then_some(place)
}

fn is_same(there: &fs::Metadata, file: &File) -> bool {
    file.metadata()
        .is_ok_and(|open| (open.dev(), open.ino()) == (there.dev(), there.ino()))
}

/// A file beside `path` that holds `bytes` for good.
fn write_temporary(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(format!(".{}{TEMPORARY}", uuid::Uuid::new_v4().simple()));
    let temporary = path.with_file_name(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&temporary)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .inspect_err(|_| discard(&temporary))?;
    Ok(temporary)
}

fn discard(temporary: &Path) {
    if let Err(error) = fs::remove_file(temporary) {
        tracing::warn!(path = %temporary.display(), %error, "remove temporary file");
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_private_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            MODE
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_exists_is_read_and_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert_eq!(read_or_create(&path, || b"one".to_vec()).unwrap(), b"one");
        assert_eq!(read_or_create(&path, || b"two".to_vec()).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_abandoned_is_removed_and_what_is_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let written = Temporary::beside(&path("one.db")).unwrap();
        let id = "0123456789abcdef0123456789abcdef";
        let (abandoned, other) = (format!("one.db.{id}.tmp"), format!("two.db.{id}.tmp"));
        let orphan = abandoned.replace('0', "f") + JOURNAL;
        for name in [&abandoned, &other, "one.db", "one.db.tmp", "one.db.x.tmp"] {
            fs::write(path(name), b"x").unwrap();
        }
        for name in [format!("{abandoned}{JOURNAL}"), orphan.clone()] {
            fs::write(path(&name), b"x").unwrap();
        }
        let removed = remove_abandoned(folder.path(), |name| name == "one.db").unwrap();
        assert_eq!(removed, [path(&abandoned), path(&orphan)]);
        assert!(written.path().exists() && path(&other).exists());
        written.keep().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn makers_at_once_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let read: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8u8)
                .map(|n| {
                    let path = &path;
                    scope.spawn(move || read_or_create(path, || vec![n; 32]).unwrap())
                })
                .collect();
            makers
                .into_iter()
                .map(|maker| maker.join().unwrap())
                .collect()
        });
        assert!(read.iter().all(|bytes| bytes == &read[0]));
    }
}
