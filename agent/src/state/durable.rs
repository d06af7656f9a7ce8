//! The one function that writes files that must survive a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::fault;

/// Replaces `folder/name` by `bytes`: temporary file, mode from creation, fsync, rename, fsync of the folder. At
/// any moment there is the old file or the whole new one.
///
/// # Errors
/// What the file system answers; a full or read-only disk among it.
pub(crate) fn write(folder: &Path, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!(".{name}.new"));
    // One fixed name: what a power cut left behind is replaced here, not added to.
    remove_if_there(&temporary)?;
    fault::point("before write");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| {
        fault::point("before fsync");
        file.sync_all()
    });
    if let Err(error) = written {
        // A full disk: give its last blocks back, the error that matters is the first.
        fs::remove_file(&temporary).unwrap_or_default();
        return Err(error);
    }
    fault::point("before rename");
    fs::rename(&temporary, folder.join(name))?;
    fault::point("before fsync of the folder");
    sync_folder(folder)?;
    fault::point("after fsync of the folder");
    Ok(())
}

/// Removes `folder/name` durably; nothing to remove is fine.
///
/// # Errors
/// What the file system answers.
pub(crate) fn remove(folder: &Path, name: &str) -> io::Result<()> {
    fault::point("before remove");
    remove_if_there(&folder.join(name))?;
    sync_folder(folder)?;
    fault::point("after remove");
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some file systems (vfat, some overlays) cannot sync a folder; they order renames by themselves.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".key.new"), "left by a power cut").unwrap();
        for text in ["first", "second"] {
            write(folder.path(), "key", 0o600, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(folder.path().join("key")).unwrap(), text);
        }
        let mode = fs::metadata(folder.path().join("key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        remove(folder.path(), "key").unwrap();
        remove(folder.path(), "key").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
