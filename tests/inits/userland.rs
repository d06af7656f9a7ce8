use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Done, Running, eventually, free_port, run, wait_for};
use tempfile::TempDir;

use crate::fleet::{Fleet, PATIENCE, agent, dist, prepared};

/// An init system other than systemd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Debian's, with start-up in parallel and links made by insserv.
    Sysvinit,
    /// Busybox alone, with `/etc/init.d/rcS` and `rcK` as Buildroot has them.
    Busybox,
    /// OpenRC, called by busybox as on Alpine.
    OpenRc,
}

/// How far the network of a userland reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To the server.
    Server,
    /// Nowhere: not even loopback is up.
    Nowhere,
}

/// Prints the process ids of the agent, of no script and of no program that is called alike.
const AGENT_PIDS: &str = "#!/bin/sh\nfor process in /proc/[0-9]*; do\n\
    [ \"$(readlink \"$process/exe\")\" != /usr/bin/moorline-agent ] || echo \"${process#/proc/}\"\ndone\n";
/// A network that takes its time and notes which agents run when it has come up and when it goes down.
const NETWORK: &str = "\
    [ \"$1\" = stop ] || sleep 1\n\
    echo \"$1:$(agent-pids | tr '\\n' ' ')\" >>/run/network.log\n";

impl Flavour {
    fn name(self) -> &'static str {
        match self {
            Self::Sysvinit => "sysvinit",
            Self::Busybox => "busybox",
            Self::OpenRc => "openrc",
        }
    }

    /// The command that does `verb` with the agent's service.
    pub(crate) fn service(self, verb: &str) -> String {
        match self {
            Self::Sysvinit => format!("/etc/init.d/moorline-agent {verb}"),
            Self::Busybox => format!("/etc/init.d/S95moorline-agent {verb}"),
            Self::OpenRc => format!("rc-service moorline-agent {verb}"),
        }
    }

    /// Exit status of `start` when the configuration cannot be used.
    pub(crate) fn not_configured(self) -> i32 {
        match self {
            // LSB: program is not configured.
            Self::Sysvinit | Self::Busybox => 6,
            Self::OpenRc => 1,
        }
    }

    /// Tells process 1 to shut down.
    fn power_off(self) -> &'static str {
        match self {
            Self::Sysvinit => "telinit 0",
            Self::Busybox | Self::OpenRc => "kill -USR2 1",
        }
    }

    /// Every file that makes it start the agent: path, mode, content.
    fn files(self) -> Vec<(&'static str, u32, String)> {
        let script = |name| std::fs::read_to_string(dist(name)).unwrap();
        let network_header = "### BEGIN INIT INFO\n# Provides: networking\n# Required-Start:\n# Required-Stop:\n\
            # Default-Start: S\n# Default-Stop: 0 6\n# Short-Description: network\n### END INIT INFO\n";
        let mount_header = network_header.replace("networking", "mountall");
        let booted = "/bin/sh -c 'echo up >/run/booted'";
        match self {
            Self::Sysvinit => vec![
                (
                    "etc/init.d/moorline-agent",
                    0o755,
                    script("moorline-agent.init"),
                ),
                (
                    "etc/init.d/networking",
                    0o755,
                    format!("#!/bin/sh\n{network_header}{NETWORK}"),
                ),
                (
                    "etc/init.d/mountall",
                    0o755,
                    format!("#!/bin/sh\n{mount_header}"),
                ),
                (
                    "etc/inittab",
                    0o644,
                    format!(
                        "id:2:initdefault:\nsi::sysinit:/etc/init.d/rcS\nl0:0:wait:/etc/init.d/rc 0\n\
                         l2:2:wait:/etc/init.d/rc 2\nzz:2:once:{booted}\n"
                    ),
                ),
            ],
            Self::Busybox => vec![
                (
                    "etc/init.d/S95moorline-agent",
                    0o755,
                    script("moorline-agent.init"),
                ),
                (
                    "etc/init.d/S40network",
                    0o755,
                    format!("#!/bin/sh\n{NETWORK}"),
                ),
                (
                    "etc/init.d/rcS",
                    0o755,
                    "#!/bin/sh\nfor i in /etc/init.d/S??*; do $i start; done\n".into(),
                ),
                (
                    "etc/init.d/rcK",
                    0o755,
                    "#!/bin/sh\nfor i in $(ls -r /etc/init.d/S??*); do $i stop; done\n".into(),
                ),
                (
                    "etc/inittab",
                    0o644,
                    format!(
                        "::sysinit:/etc/init.d/rcS\n::once:{booted}\n::shutdown:/etc/init.d/rcK\n"
                    ),
                ),
            ],
            Self::OpenRc => vec![
                (
                    "etc/init.d/moorline-agent",
                    0o755,
                    script("moorline-agent.openrc"),
                ),
                (
                    "etc/init.d/networking",
                    0o755,
                    format!(
                        "#!/sbin/openrc-run\ndepend() {{\nprovide net\n}}\nnote() {{\n{NETWORK}}}\n\
                         start() {{\nnote start\n}}\nstop() {{\nnote stop\n}}\n"
                    ),
                ),
                (
                    "etc/init.d/localmount",
                    0o755,
                    "#!/sbin/openrc-run\n".into(),
                ),
                (
                    "etc/inittab",
                    0o644,
                    format!(
                        "::sysinit:/sbin/openrc sysinit\n::sysinit:/sbin/openrc boot\n\
                         ::wait:/sbin/openrc default\n::once:{booted}\n::shutdown:/sbin/openrc shutdown\n"
                    ),
                ),
            ],
        }
    }
}

/// A running userland with an init of its own as process 1; it ends with this handle, and all its processes with it.
pub(crate) struct Userland {
    outer: Running,
    flavour: Flavour,
    name: String,
    ssh_port: u16,
    _folder: TempDir,
}

impl Userland {
    /// Boots it; `name` is what its agent asks for.
    pub(crate) fn boot(fleet: &Fleet, flavour: Flavour, name: &str, reach: Reach) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this story makes namespaces and needs root"
        );
        let folder = TempDir::new().unwrap();
        let ssh_port = free_port();
        let mut files = flavour.files();
        files.push(("usr/bin/agent-pids", 0o755, AGENT_PIDS.into()));
        files.push((
            "etc/moorline/agent.toml",
            0o600,
            format!(
                "api_url = \"{}\"\napi_key = \"{}\"\nname = \"{name}\"\nfwport = {ssh_port}\nusername = \"root\"\n\
                 authorized_keys = \"/root/.ssh/authorized_keys\"\n",
                fleet.server.url(),
                fleet.provisioning_key,
            ),
        ));
        for (path, mode, content) in files {
            put(
                &folder.path().join("files").join(path),
                mode,
                content.as_bytes(),
            );
        }
        let program = std::fs::read(agent()).unwrap();
        put(
            &folder.path().join("files/usr/bin/moorline-agent"),
            0o755,
            &program,
        );
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--fork",
            "--kill-child=KILL",
        ]);
        if reach == Reach::Nowhere {
            command.arg("--net");
        }
        let init = Path::new(env!("CARGO_MANIFEST_DIR")).join("inits/become_init");
        command
            .arg(init)
            .arg(flavour.name())
            .arg(prepared(""))
            .arg(folder.path());
        let mut userland = Self {
            outer: Running::start(flavour.name(), &command, &folder.path().join("log")),
            flavour,
            name: name.to_owned(),
            ssh_port,
            _folder: folder,
        };
        userland.wait_booted();
        userland
    }

    fn wait_booted(&mut self) {
        wait_for("init has started everything", PATIENCE, || {
            assert!(
                self.outer.ended().is_none(),
                "it ended: {}",
                self.outer.log()
            );
            self.inside("run/booted")?.exists().then_some(())
        });
    }

    /// A path inside, as the host sees it.
    fn inside(&self, path: &str) -> Option<PathBuf> {
        Some(
            Path::new("/proc")
                .join(self.init()?)
                .join("root")
                .join(path),
        )
    }

    /// Process id of its init, as the host sees it.
    fn init(&self) -> Option<String> {
        let outer = self.outer.id();
        let children = std::fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"));
        children.ok()?.split_whitespace().next().map(str::to_owned)
    }

    /// Runs a command line as root inside.
    pub(crate) fn run(&self, line: &str) -> Done {
        let init = self.init().unwrap();
        run(Command::new("nsenter")
            .args(["-m", "-p", "-u", "-i", "-n", "-r", "-w", "-t", &init, "--"])
            .args(["/bin/sh", "-c", line]))
    }

    /// Runs the agent's service with `verb`; gives its exit status.
    pub(crate) fn service(&self, verb: &str) -> i32 {
        self.run(&self.flavour.service(verb)).code
    }

    /// The command line that restarts the agent's service.
    pub(crate) fn restart(&self) -> String {
        self.flavour.service("restart")
    }

    /// Process ids of all running agents.
    pub(crate) fn agents(&self) -> Vec<u32> {
        let pids = self.run("agent-pids").ok();
        pids.split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect()
    }

    /// Starts an sshd inside, where the device's forward leads.
    pub(crate) fn start_sshd(&self) {
        self.run(&format!(
            "/usr/sbin/sshd -p {} -o ListenAddress=127.0.0.1 -o UsePAM=no",
            self.ssh_port
        ))
        .ok();
    }

    /// Waits until one agent runs: who starts it may be done before it has begun.
    pub(crate) fn wait_for_one_agent(&self) {
        eventually("one agent runs", || self.agents().len() == 1);
    }

    /// Waits until the agent itself says that its tunnel is up, and not only the server.
    pub(crate) fn wait_settled(&self) {
        eventually("the agent says that it is connected", || {
            self.run("moorline-agent status").code == 0
        });
    }

    /// Its device's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Tells init to shut down.
    pub(crate) fn power_off(&self) {
        self.run(self.flavour.power_off()).ok();
    }

    /// What the network noted: when it came up and went down, each with the agents that ran then.
    pub(crate) fn network_log(&self) -> String {
        let file = self.inside("run/network.log").unwrap();
        std::fs::read_to_string(file).unwrap_or_default()
    }
}

fn put(path: &Path, mode: u32, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}
