//! Files that nobody else may read: keys and secrets.
//!
//! *Invariant:* every private file of the server is written here, whole or not at all, with mode 0600 from its first byte.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

const MODE: u32 = 0o600;

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
/// when it goes out of scope before it got there.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
    place: PathBuf,
    kept: bool,
}

impl Temporary {
    /// Makes it, empty.
    ///
    /// # Errors
    /// Of the file system.
    pub fn beside(place: &Path) -> io::Result<Self> {
        let path = write_temporary(place, b"")?;
        Ok(Self {
            path,
            place: place.to_owned(),
            kept: false,
        })
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

/// A file beside `path` that holds `bytes` for good.
fn write_temporary(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
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
