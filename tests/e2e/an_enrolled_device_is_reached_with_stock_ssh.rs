use harness::{ADMIN_PASSWORD, ADMIN_USER, Ssh};

use crate::station::{Station, me};

#[test]
fn an_enrolled_device_is_reached_with_stock_ssh() {
    let station = Station::with_device("boat");
    let kernel = harness::run(std::process::Command::new("uname").arg("-a")).ok();

    // By name through the gateway, with a registered key.
    let by_name = station.by_name("boat");
    assert_eq!(by_name.run("uname -a").ok(), kernel);

    // By name with the password of the operator.
    let user = format!("{ADMIN_USER}+boat");
    let by_password =
        Ssh::gateway(&station.server, &user, station.folder()).password(ADMIN_PASSWORD);
    assert_eq!(by_password.run("uname -a").ok(), kernel);
    let wrong = Ssh::gateway(&station.server, &user, station.folder()).password("not the password");
    assert_ne!(wrong.run("true").code, 0);

    // Through the public port, end to end with the device's own sshd.
    station.device.sshd().authorize(&station.key);
    let by_port = station.by_port(station.public_port("boat"));
    harness::eventually("ssh is served on the public port", || {
        by_port.run("true").code == 0
    });
    assert_eq!(by_port.run("uname -a").ok(), kernel);
}

#[test]
fn a_jump_through_the_gateway_ends_in_the_devices_own_sshd() {
    let station = Station::with_device("jumped");
    station.device.sshd().authorize(&station.key);
    let device_port = station.device.sshd().port();
    let known_hosts = station.folder().join("both");
    let lines = format!(
        "{}{} {}\n",
        station.server.known_hosts(),
        "jumped",
        station.device.sshd().host_key()
    );
    std::fs::write(&known_hosts, lines).unwrap();

    // The jump host is the gateway; for it the device's name is the host to reach.
    let gateway = Ssh::new(
        station.server.host(),
        station.server.ssh_port(),
        ADMIN_USER,
        &known_hosts,
    )
    .key(&station.key);
    let jump = format!("{} -W %h:%p {}", gateway.as_text(), gateway.target());
    let end = Ssh::new("jumped", 22, &me(), &known_hosts)
        .key(&station.key)
        .option(&format!("ProxyCommand={jump}"))
        .option(&format!("HostKeyAlias={}", "jumped"));
    assert_eq!(
        end.run("echo hello").ok(),
        "hello\n",
        "device port {device_port}"
    );
}

#[test]
fn a_stream_through_the_gateway_ends_when_both_its_sides_have() {
    let station = Station::with_device("brief");
    let known_hosts = station.folder().join("gateway");
    std::fs::write(&known_hosts, station.server.known_hosts()).unwrap();
    let (host, port) = (station.server.host(), station.server.ssh_port());
    let gateway = Ssh::new(host, port, ADMIN_USER, &known_hosts).key(&station.key);
    // Its input has ended before the device's sshd says a word; that ends, too, when it sees that.
    let mut stream = gateway.program("ssh");
    let done = harness::run(stream.args(["-W", "brief:22", gateway.target()]));
    assert!(done.stdout.starts_with("SSH-2.0-"), "{done:?}");
    assert_eq!(done.code, 0, "{done:?}");
}
