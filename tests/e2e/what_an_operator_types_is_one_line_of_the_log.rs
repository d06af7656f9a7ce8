use harness::{eventually, run};

use crate::station::Station;

#[test]
fn what_an_operator_types_is_one_line_of_the_log() {
    let station = Station::with_device("logged");
    let host = "nowhere\nFORGED the device was blocked";
    let by_name = station.by_name("logged");
    let refused = run(&mut by_name.command(&["-W", &format!("{host}:22")]));
    assert_ne!(refused.code, 0, "{refused:?}");
    let log = || station.server.log();
    eventually("the refusal is in the log", || {
        log().contains("jump refused")
    });
    let log = log();
    assert!(log.contains("FORGED"), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("FORGED")), "{log}");
}
