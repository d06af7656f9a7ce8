use std::process::Command;

use harness::run;
use tempfile::TempDir;

use crate::fleet::{agent, dist, prepared};

/// Highest exposure that `systemd-analyze security` may find, in tenths; a unit without any restriction has 96.
const MAX_EXPOSURE: u32 = 26;

#[test]
fn systemd_has_nothing_to_say_about_the_unit() {
    let root = TempDir::new().unwrap();
    let put = |from, to: &str| {
        let to = root.path().join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    };
    put(agent(), "usr/bin/moorline-agent");
    let unit = "usr/lib/systemd/system/moorline-agent.service";
    put(dist("moorline-agent.service"), unit);
    // The targets that a unit hangs on by itself.
    let units = prepared("base/usr/lib/systemd/system");
    for name in ["sysinit", "basic", "shutdown", "multi-user", "network"] {
        let file = format!("{name}.target");
        put(units.join(&file), &format!("usr/lib/systemd/system/{file}"));
    }

    let verified = run(Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=one", "--root"])
        .arg(root.path())
        .arg("moorline-agent.service"));
    assert_eq!((verified.code, verified.stderr.as_str()), (0, ""));

    run(Command::new("systemctl")
        .args(["enable", "moorline-agent.service", "--root"])
        .arg(root.path()))
    .ok();
    let wanted = "etc/systemd/system/multi-user.target.wants/moorline-agent.service";
    assert!(root.path().join(wanted).is_symlink());
}

#[test]
fn the_unit_may_do_little() {
    run(Command::new("systemd-analyze")
        .args(["security", "--no-pager", "--offline=true"])
        .arg(format!("--threshold={MAX_EXPOSURE}"))
        .arg(dist("moorline-agent.service")))
    .ok();
}
