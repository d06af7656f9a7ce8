use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{repository, run};
use tempfile::TempDir;

use crate::board::Board;
use crate::boot::Boot;

/// Size of the data disk, as small ones are.
const DISK_MIB: u64 = 16;

/// Where a device keeps its programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// In memory, from an initramfs.
    Memory,
    /// On a disk that nobody can write to.
    ReadOnly,
}

/// What a factory puts on a device.
#[derive(Clone, Debug)]
pub(crate) struct Fittings {
    pub(crate) root: Root,
    /// `/etc/moorline/agent.toml`.
    pub(crate) config: String,
    /// `/etc/moorline/api_key`.
    pub(crate) api_key: String,
    /// `/etc/moorline/ca.pem`.
    pub(crate) authority: String,
    /// Shell commands that run before the agent starts.
    pub(crate) at_start: String,
    /// What its clock shows at start, if not the time.
    pub(crate) clock: Option<String>,
}

/// A device with its disks, switched off.
#[derive(Debug)]
pub(crate) struct Device {
    name: String,
    board: Board,
    root: Root,
    clock: Option<String>,
    folder: TempDir,
    boots: u32,
}

impl Device {
    /// A device fresh from the factory; its logs are called `name`.
    pub(crate) fn new(name: &str, board: &Board, fittings: &Fittings) -> Self {
        let mut device = Self {
            name: name.to_owned(),
            board: board.clone(),
            root: fittings.root,
            clock: fittings.clock.clone(),
            folder: TempDir::new().unwrap(),
            boots: 0,
        };
        let site = device.folder.path().join("site");
        if fittings.root == Root::ReadOnly {
            copy(&board.prepared("root"), &site);
        }
        write_site(&site, board, fittings);
        match fittings.root {
            Root::Memory => device.make_initramfs(&site),
            Root::ReadOnly => device.make_squashfs(&site),
        }
        std::fs::remove_dir_all(&site).unwrap();
        device.change_data_disk();
        device
    }

    /// The base followed by what this device adds: the kernel unpacks one after the other.
    fn make_initramfs(&self, site: &Path) {
        let mut list = Command::new("sh");
        let to = self.folder.path().join("initramfs");
        list.args(["-euc", "cp \"$0\" \"$1\"; chmod u+w \"$1\"; cd \"$2\"; find . | cpio -o -H newc -R 0:0 --quiet >>\"$1\""])
            .arg(self.board.prepared("base.cpio"))
            .arg(to)
            .arg(site);
        run(&mut list).ok();
    }

    fn make_squashfs(&self, site: &Path) {
        let mut make = Command::new("mksquashfs");
        make.arg(site)
            .arg(self.folder.path().join("root.squashfs"))
            .args(["-all-root", "-noappend", "-quiet", "-no-progress"]);
        run(&mut make).ok();
    }

    /// Puts an empty data disk in.
    pub(crate) fn change_data_disk(&mut self) {
        let disk = self.disk();
        std::fs::remove_file(&disk).ok();
        std::fs::File::create(&disk)
            .unwrap()
            .set_len(DISK_MIB * 1024 * 1024)
            .unwrap();
        run(Command::new("mkfs.ext4").arg("-qF").arg(&disk)).ok();
    }

    fn disk(&self) -> PathBuf {
        self.folder.path().join("data.ext4")
    }

    /// Switches it on.
    pub(crate) fn boot(&mut self) -> Boot {
        self.boots += 1;
        Boot::start(&format!("{}.{}", self.name, self.boots), self.emulator())
    }

    fn emulator(&self) -> Command {
        let system = &self.board.system;
        let mut emulator = Command::new(&system.emulator);
        emulator
            .args(&system.arguments)
            .args(["-m", "256", "-display", "none", "-nodefaults", "-no-reboot"])
            .arg("-kernel")
            .arg(self.board.prepared("kernel"))
            .args(["-netdev", "user,id=net0", "-device"])
            .arg("virtio-net-pci,netdev=net0,id=link0,romfile=");
        let mut words = format!("console={} panic=-1 quiet", system.console);
        match self.root {
            Root::Memory => {
                emulator
                    .arg("-initrd")
                    .arg(self.folder.path().join("initramfs"));
                words += " data=/dev/vda";
            }
            Root::ReadOnly => {
                emulator
                    .arg("-initrd")
                    .arg(self.board.prepared("base.cpio"));
                let disk = self.folder.path().join("root.squashfs");
                add_disk(&mut emulator, "root0", &disk, ",readonly=on");
                words += " root=/dev/vda data=/dev/vdb";
            }
        }
        add_disk(&mut emulator, "data0", &self.disk(), "");
        if let Some(clock) = &self.clock {
            emulator.args(["-rtc", &format!("base={clock}")]);
        }
        emulator.args(["-append", &words]);
        emulator
    }
}

fn add_disk(emulator: &mut Command, id: &str, file: &Path, more: &str) {
    let drive = format!("if=none,format=raw,id={id},file={}{more}", file.display());
    let card = format!("virtio-blk-pci,drive={id}");
    emulator.args(["-drive", &drive, "-device", &card]);
}

/// Writes what the factory adds to the base: the agent, its init script as it is, its settings.
fn write_site(site: &Path, board: &Board, fittings: &Fittings) {
    for folder in ["usr/bin", "etc/init.d", "etc/moorline"] {
        std::fs::create_dir_all(site.join(folder)).unwrap();
    }
    std::fs::copy(board.target.agent(), site.join("usr/bin/moorline-agent")).unwrap();
    let script = repository().join("agent/dist/moorline-agent.init");
    std::fs::copy(script, site.join("etc/init.d/moorline-agent")).unwrap();
    let files = [
        ("etc/moorline/agent.toml", 0o600, &fittings.config),
        ("etc/moorline/api_key", 0o600, &fittings.api_key),
        ("etc/moorline/ca.pem", 0o644, &fittings.authority),
        ("etc/init.d/site", 0o755, &fittings.at_start),
    ];
    for (name, mode, text) in files {
        std::fs::write(site.join(name), text).unwrap();
        std::fs::set_permissions(site.join(name), Permissions::from_mode(mode)).unwrap();
    }
    for name in ["usr/bin/moorline-agent", "etc/init.d/moorline-agent"] {
        std::fs::set_permissions(site.join(name), Permissions::from_mode(0o755)).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to)).ok();
}
