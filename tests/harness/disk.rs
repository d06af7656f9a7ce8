use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

use crate::process::run;

/// Bytes that the smallest file takes.
const BLOCK: usize = 4096;
/// Room in all.
const SIZE: &str = "size=4m,mode=700";
/// What fills it.
const BALLAST: &str = "ballast";

/// A file system in memory that can be full or read-only. The thread that makes it gets a mount namespace of its own,
/// and only what is started from that thread afterwards sees it.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts one at `folder`, which is made.
    ///
    /// # Panics
    /// When not run as root: nothing can be mounted then.
    #[must_use]
    pub fn mount(folder: &Path) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this story mounts a file system and needs root"
        );
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        run(Command::new("mount").args(["--make-rprivate", "/"])).ok();
        std::fs::create_dir_all(folder).unwrap();
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "moorline-test"])
            .arg(folder))
        .ok();
        Self {
            folder: folder.to_path_buf(),
        }
    }

    /// Lets nobody write, or everybody again.
    pub fn read_only(&self, read_only: bool) {
        self.remount(if read_only { "ro" } else { "rw" });
    }

    /// Fills it up but for so many blocks of 4 KiB.
    pub fn fill(&self, leaving: u64) {
        let mut ballast = File::create(self.folder.join(BALLAST)).unwrap();
        let mut written = 0;
        while ballast.write_all(&[0; BLOCK]).is_ok() {
            written += BLOCK as u64;
        }
        ballast.set_len(written - leaving * BLOCK as u64).unwrap();
    }

    /// Makes room again.
    pub fn free(&self) {
        std::fs::remove_file(self.folder.join(BALLAST)).unwrap();
    }

    fn remount(&self, options: &str) {
        run(Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(&self.folder))
        .ok();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(&self.folder));
    }
}
