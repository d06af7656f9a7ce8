use std::fs::{File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Start of the range that the test programs of a machine share.
const FIRST: u32 = 12_000;
/// Its length; the kernel's own range begins at 32,768.
const SPAN: u32 = 20_000;
/// Says who has which: whoever was given a port has a lock on the byte with its number, until his process ends.
const CLAIMS: &str = "/tmp/moorline-test-ports";

/// A port on loopback that is free now, below the range the kernel hands out, so that it stays free for a while.
#[must_use]
pub fn free_port() -> u16 {
    free_ports(1)
}

/// First of `count` ports in a row that nobody else was given, in this test program or in another one that runs.
///
/// # Panics
/// When there are not as many.
#[must_use]
pub fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static SHARED: OnceLock<Option<File>> = OnceLock::new();
    let shared = SHARED.get_or_init(claims).as_ref();
    let next = |of_others: bool| {
        (0..SPAN).find_map(|_| {
            let offset = NEXT.fetch_add(u32::from(count), Ordering::Relaxed);
            let first = u16::try_from(FIRST + offset % SPAN).unwrap();
            let end = first.checked_add(count)?;
            let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
            let ours = of_others || shared.is_none_or(|file| claim(file, first, count));
            (ours && (first..end).all(free)).then_some(first)
        })
    };
    // Where so many programs run that each port is somebody's, one that nobody listens on has to do.
    next(false)
        .or_else(|| next(true))
        .unwrap_or_else(|| panic!("no {count} free ports in a row on 127.0.0.1"))
}

/// The file of claims; nothing where another user made it and keeps it to himself.
fn claims() -> Option<File> {
    let open = || File::options().write(true).open(CLAIMS).ok();
    open().or_else(|| {
        let mut fresh = File::options();
        let file = fresh.write(true).create_new(true).open(CLAIMS);
        let file = file.ok().or_else(open)?;
        // It may be another user's by now, who has done the same.
        file.set_permissions(Permissions::from_mode(0o666)).ok();
        Some(file)
    })
}

/// Locks the bytes of these ports, unless another process has one of them.
fn claim(file: &File, first: u16, count: u16) -> bool {
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: first.into(),
        l_len: count.into(),
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_was_given_is_nobody_elses() {
        let given = free_ports(4);
        let another_program = claims().unwrap();
        for port in given..given + 4 {
            assert!(!claim(&another_program, port, 1), "{port}");
        }
        assert!(!claim(&another_program, given - 1, 2));
        assert_ne!(free_port(), given);
    }
}
