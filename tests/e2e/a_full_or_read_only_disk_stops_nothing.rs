use harness::{DeviceOptions, Disk, Operator, TestDevice, TestServer, eventually};

const NAME: &str = "soaked";
/// Exit code of the agent: the disk, or another reason of its own.
const FAILED: i32 = 1;
/// Blocks that device key and identity take; the client script is the next file.
const KEY_AND_IDENTITY: u64 = 2;

/// A device whose state folder is a disk of its own, and its server.
struct Bilge {
    // Fields go in this order: the disk before the folder it is mounted in.
    disk: Disk,
    device: TestDevice,
    operator: Operator,
    server: TestServer,
    key: String,
}

impl Bilge {
    fn new() -> Self {
        let server = TestServer::start();
        let operator = Operator::login(&server);
        let key = server.full_key("maker");
        let options = DeviceOptions {
            name: Some(NAME.into()),
            ..DeviceOptions::default()
        };
        let device = TestDevice::new(&server, &key, options);
        Self {
            disk: Disk::mount(&device.state()),
            device,
            operator,
            server,
            key,
        }
    }

    /// The running agent says why it is not enrolled, as do the commands beside it.
    fn assert_complains(&mut self, words: &str) {
        let device = &mut self.device;
        eventually("the agent tells about the disk", || {
            device.assert_alive();
            let log = device.log();
            log.lines()
                .any(|line| line.contains("not enrolled") && line.contains(words))
        });
        let doctor = device.run_agent(&["doctor"]);
        assert_eq!(doctor.code, FAILED, "{doctor:?}");
        assert!(doctor.stdout.contains(words), "{doctor:?}");
        let status = device.run_agent(&["status"]);
        assert!(status.stdout.contains(words), "{status:?}");
    }

    fn assert_one_device(&mut self) {
        self.operator.wait_online(NAME, None);
        self.device.assert_alive();
        assert_eq!(self.server.api(&self.key).devices().len(), 1);
    }
}

#[test]
fn a_device_with_a_read_only_disk_enrols_once_it_can_write() {
    let mut bilge = Bilge::new();
    bilge.disk.read_only(true);
    assert_eq!(bilge.device.run_agent(&["enrol"]).code, FAILED);
    bilge.device.launch();
    bilge.assert_complains("Read-only file system");
    assert!(bilge.operator.try_device(NAME).is_none());
    bilge.disk.read_only(false);
    bilge.assert_one_device();
}

#[test]
fn a_device_whose_disk_fills_up_during_first_boot_becomes_one_device() {
    for room in 0..KEY_AND_IDENTITY {
        let mut bilge = Bilge::new();
        bilge.disk.fill(room);
        bilge.device.launch();
        bilge.assert_complains("No space left on device");
        bilge.disk.free();
        bilge.assert_one_device();
    }
}

#[test]
fn a_device_without_room_for_its_script_holds_its_tunnel_all_the_same() {
    let mut bilge = Bilge::new();
    let script = bilge.device.state().join("client.sh");
    bilge.disk.fill(KEY_AND_IDENTITY);
    let mut before = None;
    for _ in 0..2 {
        bilge.device.launch();
        before = Some(bilge.operator.wait_online(NAME, before));
        assert!(bilge.device.log().contains("keep the client script"));
        assert!(!script.exists());
        bilge.device.kill();
    }
    bilge.disk.free();
    bilge.device.launch();
    bilge.operator.wait_online(NAME, before);
    assert!(script.exists());
    bilge.assert_one_device();
}

#[test]
fn an_enrolled_device_needs_no_disk() {
    let mut bilge = Bilge::new();
    bilge.device.run_agent(&["enrol"]).ok();
    let boots: [fn(&Disk); 2] = [|disk| disk.fill(0), |disk| disk.read_only(true)];
    let mut before = None;
    for spoil in boots {
        spoil(&bilge.disk);
        bilge.device.launch();
        bilge.operator.wait_online(NAME, before);
        // Nor does it need one to come back.
        bilge.server.stop();
        bilge.server.launch();
        before = Some(bilge.operator.wait_online(NAME, None));
        let doctor = bilge.device.run_agent(&["doctor"]);
        assert_eq!(doctor.code, 0, "{doctor:?}");
        assert!(doctor.stdout.contains("note  disk"), "{doctor:?}");
        bilge.device.stop();
    }
    assert_eq!(bilge.server.api(&bilge.key).devices().len(), 1);
}
