use crate::board::Board;
use crate::boot::say;
use crate::device::{Device, Root};
use crate::memory::Memory;
use crate::yard::Yard;

#[test]
fn a_read_only_root_keeps_its_data_apart() {
    let yard = Yard::open();
    let mut fittings = yard.fittings("sealed-");
    fittings.root = Root::ReadOnly;
    let mut device = Device::new("read-only", &Board::named("mipsel"), &fittings);

    let mut boot = device.boot();
    let tunnel = yard.operator.wait_online("sealed-000001", None);
    let ssh = yard.ssh("sealed-000001");
    assert_ne!(ssh.run("touch /etc/moorline/x").code, 0);
    assert_eq!(
        ssh.run("awk '$2 == \"/\" { print $3 }' /proc/mounts").ok(),
        "squashfs\n"
    );
    // The key that enrolled it cannot be removed there; that is no reason to do anything again.
    ssh.run("test -e /etc/moorline/api_key").ok();
    assert_eq!(boot.run("ls /data/moorline | grep -c device_key"), "1");
    say(&format!(
        "on a read-only squashfs: {} KiB resident (of it anonymous)\n",
        Memory::of_agent(&mut boot)
    ));
    boot.power_off();
    yard.operator.wait_offline("sealed-000001");

    let boot = device.boot();
    yard.operator.wait_online("sealed-000001", Some(tunnel));
    assert_eq!(ssh.run("uname -m").ok(), "mips\n");
    assert_eq!(yard.clients("sealed-"), ["sealed-000001"]);
    boot.cut();
}
