use std::collections::BTreeMap;
use std::time::Duration;

use harness::wait_for;

use crate::fleet::{Fleet, PATIENCE};
use crate::machine::{Boot, Computer, HOST, Machine};

/// Name that the server gives to the only device.
const NAME: &str = "vm000001";
/// When the unit became active last.
const ENTERED: &str = "ActiveEnterTimestampMonotonic";
/// Settings of the unit that last until the next boot.
const DROP_IN: &str = "/run/systemd/system/moorline-agent.service.d/test.conf";

#[test]
fn a_device_with_systemd_and_a_read_only_root_keeps_its_identity_and_its_agent() {
    let fleet = Fleet::known_as(HOST);
    let computer = Computer::make(&fleet);
    let url = fleet.server.url().replace("127.0.0.1", HOST);
    let settings = format!("moorline.api_url={url}");

    let machine = computer.boot(Boot::Usual, &settings);
    let tunnel = fleet.wait_online(NAME, None);
    let first_machine_id = reached_by_name(&fleet);
    whole_boot_went_well(&machine);
    let tunnel = a_bad_configuration_is_tried_once(&fleet, &machine, tunnel);
    let tunnel = a_second_agent_keeps_the_unit_from_being_ready(&fleet, &machine, tunnel);
    let tunnel = the_watchdog_is_fed_and_bites(&fleet, &machine, tunnel);
    let tunnel = a_restart_over_the_tunnel_comes_back(&fleet, tunnel);
    machine.shut_down();
    assert_eq!(fleet.wait_offline(NAME), "clean stop");

    let mut machine = computer.boot(Boot::InTheDark, &settings);
    machine.wait_console("Multi-User System");
    machine.cable("on");
    fleet.wait_online(NAME, Some(tunnel));
    assert_ne!(reached_by_name(&fleet), first_machine_id);
    assert_eq!(fleet.devices(), [NAME]);
    the_clock_is_wrong_and_nobody_waited(&machine);
    assert_eq!(unit(&machine)["NRestarts"], "0");
    machine.shut_down();
    assert_eq!(fleet.wait_offline(NAME), "clean stop");
}

/// Gives the machine id, read by an operator with stock ssh.
fn reached_by_name(fleet: &Fleet) -> String {
    let seen = fleet
        .by_name(NAME)
        .run("findmnt -no FSTYPE,OPTIONS /; cat /etc/machine-id; ls /data")
        .ok();
    let mut lines = seen.lines();
    let root = lines.next().unwrap();
    assert!(
        root.starts_with("squashfs") && root.contains("ro"),
        "{seen}"
    );
    let machine_id = lines.next().unwrap().to_owned();
    assert_eq!(machine_id.len(), 32, "{seen}");
    // The identity is where the data is, and the provisioning key was used up.
    let data: Vec<_> = lines.collect();
    assert!(data.contains(&"moorline"), "{seen}");
    assert!(!data.contains(&"provisioning_key"), "{seen}");
    machine_id
}

fn whole_boot_went_well(machine: &Machine) {
    let state = machine.run("systemctl is-system-running --wait");
    let failed = machine.ok("systemctl --failed --no-legend --no-pager");
    assert_eq!((state.stdout.trim(), failed.as_str()), ("running", ""));
    let unit = unit(machine);
    assert_eq!(unit["Type"], "notify");
    assert_eq!(unit["ActiveState"], "active");
    assert_eq!(unit["NRestarts"], "0");
    assert_eq!(unit["StatusText"], format!("{NAME} is connected"));
    assert_eq!(unit["WatchdogUSec"], "2min");
    // It waited for the disk: had it not, it would have gone without its key and been ready before.
    let order = machine.ok(
        "systemctl show data.mount network.target moorline-agent -p ActiveEnterTimestampMonotonic --value | xargs",
    );
    let at: Vec<u64> = order
        .split_whitespace()
        .map(|at| at.parse().unwrap())
        .collect();
    let [disk, network, agent] = at[..] else {
        panic!("{order}");
    };
    assert!(network < disk && disk < agent, "{order}");
}

fn a_bad_configuration_is_tried_once(fleet: &Fleet, machine: &Machine, tunnel: u64) -> u64 {
    let before = unit(machine);
    drop_in(machine, "[Service]\nEnvironment=MOORLINE_PROFILE=dial-up\n");
    let restarted = machine.run("systemctl restart moorline-agent");
    assert_ne!(restarted.code, 0, "a bad configuration was called ready");
    assert_eq!(fleet.wait_offline(NAME), "clean stop");
    // RestartSec is 5 s.
    machine.ok("sleep 8");
    let after = unit(machine);
    assert_eq!(after["ActiveState"], "failed");
    assert_eq!(after["Result"], "exit-code");
    assert_eq!(after["ExecMainStatus"], "2");
    assert_eq!(after["NRestarts"], "0");
    assert_eq!(after[ENTERED], before[ENTERED]);

    drop_in(machine, "[Service]\nWatchdogSec=12s\nRestartSec=1s\n");
    machine.ok("systemctl start moorline-agent");
    fleet.wait_online(NAME, Some(tunnel))
}

fn a_second_agent_keeps_the_unit_from_being_ready(
    fleet: &Fleet,
    machine: &Machine,
    tunnel: u64,
) -> u64 {
    let before = unit(machine);
    machine.ok("systemctl stop moorline-agent");
    assert_eq!(fleet.wait_offline(NAME), "clean stop");
    machine.ok("systemd-run -q --unit=by-hand /usr/bin/moorline-agent run");
    let tunnel = fleet.wait_online(NAME, Some(tunnel));
    let started = machine.run("systemctl start moorline-agent");
    assert_ne!(started.code, 0, "it was ready beside another agent");
    // It is tried again until the other one is gone.
    wait_unit(machine, "it is tried again", |unit| {
        assert_eq!(unit[ENTERED], before[ENTERED]);
        unit["NRestarts"] != "0"
    });
    machine.ok("systemctl stop by-hand");
    wait_unit(machine, "it is active by itself", |unit| {
        unit["ActiveState"] == "active"
    });
    fleet.wait_online(NAME, Some(tunnel))
}

fn the_watchdog_is_fed_and_bites(fleet: &Fleet, machine: &Machine, tunnel: u64) -> u64 {
    let before = unit(machine);
    assert_eq!(before["WatchdogUSec"], "12s");
    let micros = |unit: &BTreeMap<String, String>, name: &str| unit[name].parse::<u64>().unwrap();
    let fed = "WatchdogTimestampMonotonic";
    let entered = micros(&before, ENTERED);
    wait_unit(machine, "it was fed for longer than a period", |unit| {
        assert_eq!(unit["NRestarts"], before["NRestarts"]);
        micros(unit, fed) > entered + 15_000_000
    });
    machine.ok("kill -STOP $(systemctl show moorline-agent -p MainPID --value)");
    wait_unit(machine, "systemd started it again", |unit| {
        unit["NRestarts"] != before["NRestarts"] && unit["ActiveState"] == "active"
    });
    let log = machine.ok("journalctl -u moorline-agent --no-pager");
    assert!(log.contains("Watchdog timeout (limit 12s)"), "{log}");
    fleet.wait_online(NAME, Some(tunnel))
}

fn a_restart_over_the_tunnel_comes_back(fleet: &Fleet, tunnel: u64) -> u64 {
    // The answer may be lost with the tunnel that carries it.
    drop(fleet.by_name(NAME).run("systemctl restart moorline-agent"));
    let tunnel = fleet.wait_online(NAME, Some(tunnel));
    assert_eq!(fleet.devices(), [NAME]);
    tunnel
}

fn the_clock_is_wrong_and_nobody_waited(machine: &Machine) {
    let (seconds, synchronised) = {
        let seen = machine.ok("date +%s; systemctl is-active time-sync.target || true");
        let (seconds, synchronised) = seen.split_once('\n').unwrap();
        (seconds.parse::<u64>().unwrap(), synchronised.to_owned())
    };
    let here = std::time::UNIX_EPOCH.elapsed().unwrap();
    // systemd sets a clock that is behind its own build to that time.
    let behind = here.saturating_sub(Duration::from_secs(seconds));
    assert!(behind > Duration::from_secs(86_400), "{behind:?}");
    assert_eq!(synchronised, "inactive");
}

/// What systemd knows of the unit.
fn unit(machine: &Machine) -> BTreeMap<String, String> {
    let text = machine.ok("systemctl show moorline-agent");
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn wait_unit(
    machine: &Machine,
    what: &str,
    mut holds: impl FnMut(&BTreeMap<String, String>) -> bool,
) {
    wait_for(what, PATIENCE, || holds(&unit(machine)).then_some(()));
}

fn drop_in(machine: &Machine, text: &str) {
    let folder = DROP_IN.rsplit_once('/').unwrap().0;
    machine.ok(&format!(
        "mkdir -p {folder}; printf '%s' '{text}' >{DROP_IN}; systemctl daemon-reload"
    ));
}
