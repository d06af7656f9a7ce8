use crate::board::Board;
use crate::device::Device;
use crate::yard::Yard;

/// Fills the data disk to its last block; files of one block lie beside the large one.
const FILL: &str = "#!/bin/sh
for number in 1 2 3 4; do echo >/data/block$number; done
dd if=/dev/zero of=/data/filler bs=64k 2>/dev/null
dd if=/dev/zero of=/data/rest bs=1k 2>/dev/null
sync
";
/// What the agent says.
const FULL: &str = "No space left on device";

#[test]
fn a_full_disk_delays_enrolment_until_there_is_room() {
    let yard = Yard::open();
    let mut fittings = yard.fittings("full-");
    fittings.at_start = FILL.into();
    let mut device = Device::new("full-disk", &Board::named("armv7"), &fittings);
    let mut boot = device.boot();

    boot.wait_shown(FULL, 0);
    let agent = boot.run("cat /var/run/moorline-agent.pid; agent-memory | grep Pid");
    assert!(agent.contains("Pid:"), "the agent is gone: {agent}");
    assert_eq!(yard.clients(""), [""; 0]);

    // Room for the device key, but not for all that the server answers. The tunnel is held all the same.
    boot.run("rm /data/block1 /data/block2 /data/block3 /data/block4; sync");
    harness::eventually("the server knows the device", || {
        yard.clients("").len() == 1
    });
    boot.wait_shown("keep the client script", 0);
    let name = "full-000001";
    yard.operator.wait_online(name, None);

    // With room for the gateway's key, too, operators get in.
    boot.run("rm /data/filler; sync");
    harness::eventually("the device lets the gateway in", || {
        yard.ssh(name).run("uname -m").code == 0
    });
    assert_eq!(yard.ssh(name).run("uname -m").ok(), "armv7l\n");
    assert_eq!(yard.clients(""), [name]);
    let now = boot.run("cat /var/run/moorline-agent.pid; agent-memory | grep Pid");
    assert_eq!(now, agent, "the agent was started anew");
    boot.cut();
}
