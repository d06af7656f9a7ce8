//! Where the state folder is. Read-only and A/B roots keep data apart, each in its own place.

use std::path::{Path, PathBuf};

/// Places to look at, the ones that survive a change of root first. The last is where OpenWrt keeps state over
/// updates; its service names it, and a command typed by hand finds the key there.
const CANDIDATES: [&str; 5] = [
    "data/moorline",
    "persist/moorline",
    "var/lib/moorline",
    "overlay/moorline",
    "etc/moorline/state",
];

/// Finds the state folder below `root` (`/` on a device): the first candidate that holds a device key, else the
/// first one whose parent folder exists and `writable` accepts, else the classic place.
pub(super) fn find(root: &Path, writable: impl Fn(&Path) -> bool) -> PathBuf {
    let candidates = || CANDIDATES.iter().map(|candidate| root.join(candidate));
    let in_use = candidates().find(|folder| folder.join(super::DEVICE_KEY).exists());
    let usable = || {
        candidates().find(|folder| {
            folder
                .parent()
                .is_some_and(|parent| parent.is_dir() && writable(parent))
        })
    };
    in_use
        .or_else(usable)
        .unwrap_or_else(|| root.join("var/lib/moorline"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_data_partition_comes_before_var_lib_and_a_key_before_both() {
        let root = tempfile::tempdir().unwrap();
        let any = |_: &Path| true;
        assert_eq!(find(root.path(), any), root.path().join("var/lib/moorline"));
        fs::create_dir_all(root.path().join("var/lib")).unwrap();
        fs::create_dir_all(root.path().join("data")).unwrap();
        assert_eq!(find(root.path(), any), root.path().join("data/moorline"));
        let not_data = |parent: &Path| !parent.ends_with("data");
        assert_eq!(
            find(root.path(), not_data),
            root.path().join("var/lib/moorline")
        );
        let used = root.path().join("persist/moorline");
        fs::create_dir_all(&used).unwrap();
        fs::write(used.join("device_key"), "").unwrap();
        assert_eq!(find(root.path(), any), used);
    }

    #[test]
    fn a_key_that_openwrt_keeps_in_etc_is_found() {
        let root = tempfile::tempdir().unwrap();
        for parent in ["var/lib", "overlay", "etc/moorline/state"] {
            fs::create_dir_all(root.path().join(parent)).unwrap();
        }
        let kept = root.path().join("etc/moorline/state");
        assert_ne!(find(root.path(), |_| true), kept);
        fs::write(kept.join("device_key"), "").unwrap();
        assert_eq!(find(root.path(), |_| true), kept);
    }
}
