use harness::Authority;

use crate::board::Board;
use crate::device::Device;
use crate::yard::Yard;

/// What a device without a battery shows when it wakes.
const WAKES_AT: &str = "1970-01-02T00:00:00";
/// In these years the certificate of a server was valid that nobody should trust today.
const LONG_AGO: (i32, i32) = (2015, 2020);
/// Exit status of the agent when it did not reach a server that it may trust.
const UNREACHABLE: i32 = 5;

/// The certificate begins in 2024: by the device's own clock it is not valid for another 54 years. One that ended
/// before the agent was built is refused all the same, though by that clock it has not even begun.
#[test]
fn a_clock_at_1970_does_not_keep_a_device_away() {
    let yard = Yard::open();
    let mut fittings = yard.fittings("timeless-");
    fittings.clock = Some(WAKES_AT.into());
    let mut device = Device::new("clock-at-1970", &Board::named("aarch64"), &fittings);

    let boot = device.boot();
    let tunnel = yard.operator.wait_online("timeless-000001", None);
    let ssh = yard.ssh("timeless-000001");
    assert_eq!(ssh.run("date +%Y").ok(), "1970\n", "nobody sets its clock");

    let expired = Yard::with_certificate(|folder, host| Authority::valid(folder, host, LONG_AGO));
    ssh.run_with_input("cat >/tmp/ca.pem", expired.authority().as_bytes())
        .ok();
    let enrol = |url: &str, authority: &str, state: &str| {
        ssh.run(&format!(
            "MOORLINE_API_URL={url} MOORLINE_TRUST_CA_FILE={authority} MOORLINE_STATE_DIR={state} \
             MOORLINE_API_KEY_FILE= MOORLINE_API_KEY={} moorline-agent enrol",
            expired.api_key()
        ))
    };
    let refused = enrol(&expired.url(), "/tmp/ca.pem", "/tmp/expired");
    assert_eq!(refused.code, UNREACHABLE, "{}", refused.stderr);
    assert!(refused.stderr.contains("expired"), "{}", refused.stderr);
    assert_eq!(expired.clients(""), [""; 0]);
    boot.cut();

    let boot = device.boot();
    yard.operator.wait_online("timeless-000001", Some(tunnel));
    assert_eq!(ssh.run("date +%Y").ok(), "1970\n");
    assert_eq!(yard.clients(""), ["timeless-000001"]);
    boot.cut();
}
