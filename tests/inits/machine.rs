use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::{Done, KeyPair, Running, Ssh, free_port, run, wait_for};

use crate::fleet::{Fleet, PATIENCE, agent, dist, prepared};

/// What the machine calls the host.
pub(crate) const HOST: &str = "10.0.2.2";
/// Longest wait for an answer of the emulator itself.
const MONITOR_LIMIT: Duration = Duration::from_secs(120);
/// Units that take time and that no story is about.
const LEFT_OUT: [&str; 10] = [
    "networking.service",
    "getty-static.service",
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-pstore.service",
    "e2scrub_reap.service",
    "fstrim.timer",
    "dpkg-db-backup.timer",
];

/// Files of the root that are not Debian's: path, mode, content.
const SITE: [(&str, &str, &str); 6] = [
    // As on devices whose data partition may fail without keeping them from booting.
    (
        "etc/fstab",
        "644",
        "/dev/vda / squashfs ro 0 0\n/dev/vdb /data ext4 nofail,noatime 0 0\ntmpfs /tmp tmpfs nosuid,nodev 0 0\n",
    ),
    // The data partition comes later than everything else that the agent waits for.
    (
        "etc/systemd/system/data.mount.d/late.conf",
        "644",
        "[Unit]\nWants=late.service\nAfter=late.service\n",
    ),
    (
        "etc/systemd/system/late.service",
        "644",
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nTimeoutStartSec=120\n\
         ExecStart=/bin/sh -c 'until systemctl -q is-active network.target && systemctl -q is-active basic.target; \
         do sleep 0.2; done; sleep 2'\n",
    ),
    (
        "etc/systemd/network/lan.network",
        "644",
        "[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\n",
    ),
    (
        "etc/ssh/sshd_config.d/data.conf",
        "644",
        "AuthorizedKeysFile /data/ssh/authorized_keys\nUsePAM no\n",
    ),
    (
        "etc/moorline/agent.toml",
        "600",
        "api_key_file = \"/data/provisioning_key\"\nauthorized_keys = \"/data/ssh/authorized_keys\"\n\
         username = \"root\"\nprefix = \"vm\"\n",
    ),
];

/// A computer that is switched off: a read-only root with the agent, and a data disk.
pub(crate) struct Computer {
    folder: PathBuf,
    key: KeyPair,
}

/// How it is switched on.
#[derive(Clone, Copy)]
pub(crate) enum Boot {
    /// With the right time and the cable in.
    Usual,
    /// With the clock at 1970 and the cable out.
    InTheDark,
}

impl Computer {
    /// Makes both disks below the fleet's folder.
    pub(crate) fn make(fleet: &Fleet) -> Self {
        let folder = fleet.folder().join("computer");
        std::fs::create_dir_all(folder.join("data/ssh")).unwrap();
        let key = KeyPair::make(&folder.join("console"));
        std::fs::write(folder.join("data/ssh/authorized_keys"), key.public()).unwrap();
        std::fs::write(
            folder.join("data/provisioning_key"),
            &fleet.provisioning_key,
        )
        .unwrap();
        let computer = Self { folder, key };
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-d"])
            .arg(computer.folder.join("data"))
            .arg(computer.data_disk())
            .arg("64M"))
        .ok();
        computer.make_root();
        computer
    }

    fn data_disk(&self) -> PathBuf {
        self.folder.join("data.ext4")
    }

    fn root_disk(&self) -> PathBuf {
        self.folder.join("root.squashfs")
    }

    /// Debian, and over it the files that an image with the agent has.
    fn make_root(&self) {
        let mut text = String::from("data d 755 0 0\n");
        for folder in ["etc/moorline", "etc/systemd/system/data.mount.d"] {
            writeln!(text, "{folder} d 755 0 0").unwrap();
        }
        let mut copy = |path: &str, mode: &str, from: &Path| {
            writeln!(text, "{path} f {mode} 0 0 cat '{}'", from.display()).unwrap();
        };
        for (index, (path, mode, content)) in SITE.iter().enumerate() {
            let file = self.folder.join(format!("site{index}"));
            std::fs::write(&file, content).unwrap();
            copy(path, mode, &file);
        }
        let unit = "usr/lib/systemd/system/moorline-agent.service";
        copy(unit, "644", &dist("moorline-agent.service"));
        copy("usr/bin/moorline-agent", "755", &agent());
        let mut link = |path: &str, to: &str| {
            writeln!(text, "etc/systemd/system/{path} s 777 0 0 {to}").unwrap();
        };
        for unit in LEFT_OUT {
            link(unit, "/dev/null");
        }
        for unit in ["moorline-agent.service", "systemd-networkd.service"] {
            link(
                &format!("multi-user.target.wants/{unit}"),
                &format!("/usr/lib/systemd/system/{unit}"),
            );
        }
        let list = self.folder.join("root.list");
        std::fs::write(&list, text).unwrap();
        // What the list replaces or leaves out must not come from the base.
        run(Command::new("mksquashfs")
            .arg(prepared("base"))
            .arg(self.root_disk())
            .args(["-noappend", "-no-progress", "-comp", "lz4", "-pf"])
            .arg(&list)
            .args(["-e", "etc/systemd/system/getty.target.wants"])
            .args(["etc/systemd/system/multi-user.target.wants/networking.service"]))
        .ok();
    }

    /// Switches it on. `settings` go onto the kernel command line.
    pub(crate) fn boot(&self, boot: Boot, settings: &str) -> Machine {
        let port = free_port();
        let monitor = self.folder.join("monitor");
        std::fs::remove_file(&monitor).unwrap_or_default();
        let log = self.folder.join("console.log");
        std::fs::remove_file(&log).unwrap_or_default();
        let mut command = Command::new("qemu-system-x86_64");
        // Without KVM everywhere: what is the same on every machine fails on none of them only.
        command
            .args(["-M", "q35", "-accel", "tcg,tb-size=256", "-cpu", "qemu64"])
            .args(["-m", "256", "-display", "none", "-serial", "stdio"])
            .args(["-no-reboot", "-S", "-monitor"])
            .arg(format!("unix:{},server=on,wait=off", monitor.display()))
            .arg("-kernel")
            .arg(prepared("kernel"))
            .arg("-initrd")
            .arg(prepared("initrd"))
            .arg("-append")
            .arg(format!(
                "console=ttyS0 panic=-1 quiet systemd.show_status=1 net.ifnames=0 {settings}"
            ));
        for (disk, options) in [
            (self.root_disk(), ",readonly=on"),
            // A power cut is not what the stories are about.
            (self.data_disk(), ",cache=unsafe"),
        ] {
            let drive = format!("file={},if=virtio,format=raw{options}", disk.display());
            command.args(["-drive", &drive]);
        }
        command
            .arg("-netdev")
            .arg(format!("user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:22"))
            .args(["-device", "virtio-net-pci,netdev=n0,romfile="])
            .args(["-device", "virtio-rng-pci"]);
        if matches!(boot, Boot::InTheDark) {
            command.args(["-rtc", "base=1970-01-02T00:00:00"]);
        }
        let mut machine = Machine {
            qemu: Running::start("the machine", &command, &log),
            monitor,
            ssh: self.ssh(port),
        };
        if matches!(boot, Boot::InTheDark) {
            machine.cable("off");
        }
        machine.monitor("cont");
        machine
    }

    /// The console key at the machine's own sshd, past the tunnel.
    fn ssh(&self, port: u16) -> Ssh {
        let host_key = prepared("base/etc/ssh/ssh_host_ed25519_key.pub");
        let host_key = std::fs::read_to_string(host_key).unwrap();
        let known_hosts = self.folder.join("console_known_hosts");
        std::fs::write(&known_hosts, format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        Ssh::new("127.0.0.1", port, "root", &known_hosts).key(&self.key)
    }
}

/// A computer that is switched on; it loses its power with this handle.
pub(crate) struct Machine {
    qemu: Running,
    monitor: PathBuf,
    ssh: Ssh,
}

impl Machine {
    /// Waits until the console shows `text`.
    pub(crate) fn wait_console(&mut self, text: &str) {
        wait_for(&format!("the console shows {text:?}"), PATIENCE, || {
            let log = self.qemu.log();
            assert!(self.qemu.ended().is_none(), "it went off\n{log}");
            log.contains(text).then_some(())
        });
    }

    /// Runs a command line as root, past the tunnel.
    pub(crate) fn run(&self, line: &str) -> Done {
        self.ssh.run(line)
    }

    /// Runs a command line that has to succeed.
    pub(crate) fn ok(&self, line: &str) -> String {
        self.run(line).ok().trim().to_owned()
    }

    /// Puts the network cable in (`on`) or out (`off`).
    pub(crate) fn cable(&mut self, state: &str) {
        self.monitor(&format!("set_link n0 {state}"));
    }

    /// Shuts it down in order.
    pub(crate) fn shut_down(mut self) {
        // The session ends with the machine, in whatever way comes first.
        self.run("systemctl poweroff --no-block");
        let status = self.qemu.wait(PATIENCE);
        assert!(status.success(), "the emulator ended with {status}");
    }

    /// Gives the emulator a command and waits until it is done.
    fn monitor(&mut self, line: &str) {
        let mut monitor = wait_for("the monitor listens", MONITOR_LIMIT, || {
            assert!(
                self.qemu.ended().is_none(),
                "it went off\n{}",
                self.qemu.log()
            );
            UnixStream::connect(&self.monitor).ok()
        });
        monitor.set_read_timeout(Some(MONITOR_LIMIT)).unwrap();
        prompt(&mut monitor);
        writeln!(monitor, "{line}").unwrap();
        prompt(&mut monitor);
    }
}

/// Reads up to the prompt.
fn prompt(monitor: &mut UnixStream) {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"(qemu) ") {
        monitor.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
}
