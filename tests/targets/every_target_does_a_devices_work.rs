use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;

use harness::{
    Authority, DeviceOptions, Done, KeyPair, Operator, ServerOptions, Ssh, Target, TestDevice,
    TestServer, eventually, run,
};
use tempfile::TempDir;

/// Targets that are looked at side by side; each has a server, an emulator and an sshd of its own.
const AT_ONCE: usize = 3;
/// Exit code of `status` before first boot.
const NOT_ENROLLED: i32 = 3;
/// Where the emulator hands the kernel's list of addresses on in the wrong byte order, so that the C library reads it
/// for ever: this target is taken through first boot over HTTPS and no further.
const NETLINK_NOT_EMULATED: &str = "mips";
/// What is copied each way, in bytes.
const COPIED: usize = 1024 * 1024;

#[test]
fn every_target_enrols_serves_ssh_and_comes_back() {
    let waiting: Mutex<VecDeque<Target>> = Mutex::new(Target::all().into());
    let failed = Mutex::new(Vec::new());
    let next = || waiting.lock().unwrap().pop_front();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(target) = next() {
                    if !passes(&target) {
                        failed.lock().unwrap().push(target.name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "failed, with the reasons above: {failed:?}"
    );
}

/// Takes one target through the story, in a thread that bears its name, so that a panic tells which it was.
fn passes(target: &Target) -> bool {
    let named = std::thread::Builder::new().name(target.name.clone());
    std::thread::scope(|scope| {
        let story = named.spawn_scoped(scope, || Rig::new(target).story());
        story.unwrap().join().is_ok()
    })
}

/// The words of the command that runs its agent on the oldest CPU it must run on.
fn emulated(target: &Target) -> Vec<String> {
    let emulator = &target.qemu_user;
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&folders).any(|folder| folder.join(emulator).exists());
    assert!(installed, "{emulator} is not installed: run `make setup`");
    let agent = target.agent().into_os_string().into_string().unwrap();
    vec![
        emulator.clone(),
        "-cpu".into(),
        target.qemu_cpu.clone(),
        agent,
    ]
}

/// A server, and a device of one target that knows it by HTTPS and the authority of its certificate.
struct Rig {
    // Fields go in this order: the device before the server it talks to.
    device: TestDevice,
    operator: Operator,
    ssh: Ssh,
    server: TestServer,
    target: Target,
    folder: TempDir,
}

impl Rig {
    fn new(target: &Target) -> Self {
        let emulated = emulated(target);
        let folder = TempDir::new().unwrap();
        let authority = Authority::make(folder.path(), "127.0.0.1");
        let server = TestServer::start_with(ServerOptions {
            https: Some(authority.https()),
            ..ServerOptions::default()
        });
        let operator = Operator::login(&server);
        let key = KeyPair::make(&folder.path().join("operator"));
        operator.add_key(&key);
        let options = DeviceOptions {
            name: Some(target.name.replace('_', "-")),
            api_url: Some(server.https_url()),
            config: format!("[trust]\nca_file = \"{}\"\n", authority.file().display()),
            agent: emulated,
            ..DeviceOptions::default()
        };
        let name = options.name.clone().unwrap();
        let device = TestDevice::new(&server, &server.full_key("maker"), options);
        let ssh = Ssh::gateway(&server, &name, folder.path()).key(&key);
        Self {
            device,
            operator,
            ssh,
            server,
            target: target.clone(),
            folder,
        }
    }

    fn name(&self) -> String {
        self.target.name.replace('_', "-")
    }

    fn story(mut self) {
        let version = format!("moorline-agent {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(self.device.run_agent(&["--version"]).ok(), version);
        assert_eq!(self.device.run_agent(&["status"]).code, NOT_ENROLLED);

        let enrolled = self.device.run_agent(&["enrol"]).ok();
        let name = self.name();
        assert!(enrolled.contains(&name), "{enrolled}");
        if self.target.name == NETLINK_NOT_EMULATED {
            return;
        }
        self.device.launch();
        self.operator.wait_online(&name, None);
        let device = self.operator.device(&name);
        assert_eq!(device.hardware["arch"], self.target.machine);
        self.assert_served();
        self.assert_copies_both_ways();
        self.assert_speaks();

        self.server.stop();
        self.server.launch();
        self.operator.wait_online(&name, None);
        self.assert_served();

        // A power cut; the server may still hold the tunnel of before.
        let before = self.operator.generation(&name);
        self.device.kill();
        self.device.launch();
        self.operator.wait_online(&name, before);
        assert_eq!(self.operator.device(&name).id, device.id);
        self.assert_served();
        self.device.stop();
    }

    /// A command through the gateway, by name, with its output and its status.
    fn assert_served(&mut self) {
        self.device.assert_alive();
        eventually("the gateway reaches the device", || {
            self.ssh.run("true").code == 0
        });
        let done: Done = self.ssh.run("echo aye; exit 7");
        assert_eq!((done.stdout.as_str(), done.code), ("aye\n", 7), "{done:?}");
    }

    fn assert_copies_both_ways(&self) {
        let file = |name: &str| self.folder.path().join(name);
        let (here, there, back) = (file("here"), file("there"), file("back"));
        let bytes: Vec<u8> = (0..COPIED).map(|at| ((at * at) >> 7) as u8).collect();
        std::fs::write(&here, &bytes).unwrap();
        let remote = format!("{}:{}", self.ssh.target(), there.display());
        let copy = |from: &Path, to: &Path| {
            run(self.ssh.program("scp").args(["-q"]).arg(from).arg(to)).ok();
        };
        copy(&here, Path::new(&remote));
        copy(Path::new(&remote), &back);
        assert!(std::fs::read(&there).unwrap() == bytes, "the way there");
        assert!(std::fs::read(&back).unwrap() == bytes, "the way back");
    }

    /// `status` and `doctor` beside the running agent.
    fn assert_speaks(&self) {
        let status = self.device.run_agent(&["status", "--json"]).ok();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["activity"], "connected", "{status}");
        assert!(
            status["received_bytes"].as_u64().unwrap() >= COPIED as u64,
            "{status}"
        );
        self.device.run_agent(&["doctor"]).ok();
    }
}
