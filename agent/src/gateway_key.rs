//! Puts the gateway's public key into an `authorized_keys` file, where the owner of the device asked for that
//! (`authorized_keys` in the configuration), so that operators can log in by name.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use ssh_key::PublicKey;

use crate::state::write_durably;

/// Ends the line that is ours; everything else in the file is left alone.
const MARK: &str = "moorline-gateway";
/// Largest file that is changed, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Makes `key` the one gateway key in the file at `path`; `None` takes it out. Owner and mode of the file stay; a
/// new one belongs to the owner of its folder, as sshd demands.
///
/// # Errors
/// What the file system answers.
pub fn put(path: &Path, key: Option<&PublicKey>) -> io::Result<()> {
    let text = match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_FILE_BYTES => {
            return Err(io::Error::other("the file is too large to be changed"));
        }
        Ok(_) => fs::read_to_string(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let line = key.map(|key| format!("{} {MARK}", bare(key)));
    let changed = with_line(&text, line.as_deref());
    if changed == text {
        return Ok(());
    }
    let (folder, name) = path
        .parent()
        .zip(path.file_name().and_then(|name| name.to_str()))
        .ok_or(io::ErrorKind::InvalidInput)?;
    make_folder(folder)?;
    let like = fs::metadata(path).or_else(|_| fs::metadata(folder))?;
    let mode = fs::metadata(path).map_or(0o600, |metadata| metadata.mode() & 0o777);
    write_durably(folder, name, mode, changed.as_bytes())?;
    give_to(path, &like)
}

/// `type base64` without a comment.
fn bare(key: &PublicKey) -> String {
    let mut key = key.clone();
    key.set_comment("");
    key.to_openssh().unwrap_or_default().trim().to_owned()
}

/// `text` with `line` as its only line that ends in our mark.
fn with_line(text: &str, line: Option<&str>) -> String {
    let ours = |other: &&str| other.split_whitespace().next_back() == Some(MARK);
    let mut lines: Vec<&str> = text.lines().filter(|other| !ours(other)).collect();
    lines.extend(line);
    if lines.is_empty() {
        return String::new();
    }
    lines.join("\n") + "\n"
}

/// Makes `~/.ssh`, 0700, for the owner of the home folder; more folders than that are not made.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    let home = folder.parent().ok_or(io::ErrorKind::NotFound)?;
    give_to(folder, &fs::metadata(home)?)
}

fn give_to(path: &Path, like: &Metadata) -> io::Result<()> {
    let now = fs::metadata(path)?;
    if (now.uid(), now.gid()) == (like.uid(), like.gid()) {
        return Ok(());
    }
    std::os::unix::fs::chown(path, Some(like.uid()), Some(like.gid()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device_key::DeviceKey;

    fn key() -> PublicKey {
        PublicKey::from_openssh(&DeviceKey::generate().unwrap().public_line()).unwrap()
    }

    #[test]
    fn the_key_is_added_replaced_and_taken_out_and_others_stay() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".ssh/authorized_keys");
        put(&path, Some(&key())).unwrap();
        fs::write(&path, "ssh-ed25519 AAAA me@home\n# a comment").unwrap();
        for _ in 0..2 {
            let key = key();
            put(&path, Some(&key)).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            assert!(
                text.starts_with("ssh-ed25519 AAAA me@home\n# a comment\n"),
                "{text}"
            );
            assert_eq!(text.matches(MARK).count(), 1);
            assert!(text.contains(&bare(&key)));
        }
        put(&path, None).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "ssh-ed25519 AAAA me@home\n# a comment\n");
        let mode = fs::metadata(path.parent().unwrap()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_home_that_is_not_there_is_not_made() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("nobody/.ssh/authorized_keys");
        assert!(put(&path, Some(&key())).is_err());
        assert!(!place.path().join("nobody").exists());
    }
}
