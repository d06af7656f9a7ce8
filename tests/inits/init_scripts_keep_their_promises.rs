use std::time::Duration;

use harness::wait_for;

use crate::fleet::{Fleet, PATIENCE};
use crate::userland::{Flavour, Reach, Userland};

/// The agent's configuration.
const SETTINGS: &str = "/etc/moorline/agent.toml";
/// LSB: the program is not running.
const NOT_RUNNING: i32 = 3;
/// Longer than any of them waits before it starts the agent again.
const LONGER_THAN_RESPAWN: &str = "sleep 8";

#[test]
fn sysvinit_starts_stops_and_keeps_the_agent() {
    keeps_its_promises(Flavour::Sysvinit);
}

#[test]
fn busybox_init_starts_stops_and_keeps_the_agent() {
    keeps_its_promises(Flavour::Busybox);
}

#[test]
fn openrc_starts_stops_and_keeps_the_agent() {
    keeps_its_promises(Flavour::OpenRc);
}

#[test]
fn a_boot_without_network_ends_with_the_agent_waiting() {
    let fleet = Fleet::known_as("127.0.0.1");
    for flavour in [Flavour::Sysvinit, Flavour::Busybox, Flavour::OpenRc] {
        let device = Userland::boot(&fleet, flavour, "alone", Reach::Nowhere);
        // Booting ended, and the agent runs without having reached anybody.
        assert_eq!(device.service("status"), 0, "{flavour:?}");
        device.wait_for_one_agent();
        assert_eq!(device.service("stop"), 0, "{flavour:?}");
        assert_eq!(device.agents().len(), 0, "{flavour:?}");
    }
    assert!(fleet.devices().is_empty());
}

fn keeps_its_promises(flavour: Flavour) {
    let fleet = Fleet::known_as("127.0.0.1");
    let name = format!("{flavour:?}").to_lowercase();
    let device = Userland::boot(&fleet, flavour, &name, Reach::Server);
    device.start_sshd();
    let mut tunnel = online_again(&fleet, &device, 0);
    assert_eq!(
        device.network_log(),
        "start:\n",
        "the agent came before the network"
    );

    tunnel = verbs_do_what_they_say(&fleet, &device, tunnel);
    tunnel = a_killed_agent_is_started_again(&fleet, &device, tunnel);
    // How far the script is when the terminal hangs up is chance.
    for _ in 0..3 {
        tunnel = a_restart_over_the_tunnel_comes_back(&fleet, &device, tunnel);
    }
    tunnel = a_bad_configuration_stops_nothing_and_starts_nothing(&fleet, &device, flavour, tunnel);
    if flavour != Flavour::OpenRc {
        tunnel = a_pid_file_of_somebody_else_is_no_agent(&fleet, &device, tunnel);
    }
    assert!(tunnel > 1);
    assert_eq!(fleet.devices(), [name.as_str()]);

    device.power_off();
    assert_eq!(fleet.wait_offline(&name), "clean stop");
    wait_for("the network went down without the agent", PATIENCE, || {
        (device.network_log() == "start:\nstop:\n").then_some(())
    });
}

fn verbs_do_what_they_say(fleet: &Fleet, device: &Userland, tunnel: u64) -> u64 {
    let running = device.agents();
    assert_eq!(running.len(), 1);
    assert_eq!(device.service("status"), 0);
    assert_eq!(device.service("start"), 0);
    assert_eq!(device.agents(), running, "a second start did something");

    assert_eq!(device.service("stop"), 0);
    assert_eq!(device.agents(), [0; 0]);
    assert_eq!(fleet.wait_offline(device.name()), "clean stop");
    assert_eq!(device.service("status"), NOT_RUNNING);
    assert_eq!(device.service("stop"), 0);

    assert_eq!(device.service("start"), 0);
    let tunnel = online_again(fleet, device, tunnel);
    let running = device.agents();
    assert_eq!(running.len(), 1);
    assert_eq!(device.service("restart"), 0);
    let tunnel = online_again(fleet, device, tunnel);
    assert_eq!(device.agents().len(), 1);
    assert_ne!(device.agents(), running);
    tunnel
}

fn a_killed_agent_is_started_again(fleet: &Fleet, device: &Userland, tunnel: u64) -> u64 {
    let killed = device.agents();
    device.run(&format!("kill -9 {}", killed[0])).ok();
    let tunnel = online_again(fleet, device, tunnel);
    assert_eq!(device.agents().len(), 1);
    assert_ne!(device.agents(), killed);
    assert_eq!(device.service("status"), 0);
    tunnel
}

/// The session that asks for it, with its terminal, ends with the tunnel that carries it.
fn a_restart_over_the_tunnel_comes_back(fleet: &Fleet, device: &Userland, tunnel: u64) -> u64 {
    let before = device.agents();
    let ssh = fleet.by_name(device.name());
    let mut session = ssh.command(&["-tt", &device.restart()]);
    drop(harness::run(&mut session));
    let tunnel = online_again(fleet, device, tunnel);
    assert_eq!(device.agents().len(), 1);
    assert_ne!(device.agents(), before);
    assert_eq!(device.service("status"), 0);
    tunnel
}

fn a_bad_configuration_stops_nothing_and_starts_nothing(
    fleet: &Fleet,
    device: &Userland,
    flavour: Flavour,
    tunnel: u64,
) -> u64 {
    device
        .run(&format!(
            "cp {SETTINGS} /tmp/good; echo 'log = \"loud\"' >>{SETTINGS}"
        ))
        .ok();
    let running = device.agents();
    assert_ne!(device.service("restart"), 0);
    assert_eq!(device.agents(), running, "a working agent was stopped");

    assert_eq!(device.service("stop"), 0);
    assert_eq!(device.service("start"), flavour.not_configured());
    device.run(LONGER_THAN_RESPAWN).ok();
    assert_eq!(device.agents(), [0; 0]);
    assert_eq!(device.service("status"), NOT_RUNNING);

    device.run(&format!("cp /tmp/good {SETTINGS}")).ok();
    assert_eq!(device.service("start"), 0);
    let tunnel = online_again(fleet, device, tunnel);
    if flavour == Flavour::OpenRc {
        // Its supervisor knows no exit status that ends it.
        return tunnel;
    }
    device
        .run(&format!(
            "echo 'log = \"loud\"' >>{SETTINGS}; kill -9 $(agent-pids)"
        ))
        .ok();
    wait_for("the script has given up", Duration::from_secs(300), || {
        (device.service("status") == NOT_RUNNING).then_some(())
    });
    assert_eq!(device.agents(), [0; 0]);
    device.run(&format!("cp /tmp/good {SETTINGS}")).ok();
    assert_eq!(device.service("start"), 0);
    online_again(fleet, device, tunnel)
}

/// After a power cut the number in the pid file may be that of any process.
fn a_pid_file_of_somebody_else_is_no_agent(fleet: &Fleet, device: &Userland, tunnel: u64) -> u64 {
    assert_eq!(device.service("stop"), 0);
    device.run("echo 1 >/run/moorline-agent.pid").ok();
    // LSB: dead, and the pid file exists.
    assert_eq!(device.service("status"), 1);
    assert_eq!(device.service("start"), 0);
    device.wait_for_one_agent();
    online_again(fleet, device, tunnel)
}

/// Waits until the device has another tunnel than `before`, as both ends see it; tells which.
fn online_again(fleet: &Fleet, device: &Userland, before: u64) -> u64 {
    let tunnel = fleet.wait_online(device.name(), Some(before));
    device.wait_settled();
    tunnel
}
