use harness::{Running, Ssh, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use crate::lodger::{Lodger, not_taken};

/// A session that lasts, known to have reached the device.
fn lasting(lodger: &Lodger, ssh: &Ssh, name: &str) -> Running {
    let marker = lodger.station.folder().join(name);
    let line = format!("touch {}; exec sleep 600", marker.display());
    let log = lodger.station.folder().join(format!("{name}.log"));
    let session = Running::start(name, &ssh.command(&[&line]), &log);
    eventually("the session is on the device", || marker.exists());
    session
}

/// The latest sessions in the log: way in and ending.
fn log(lodger: &Lodger) -> Vec<(String, Option<String>)> {
    let list = lodger.call(Method::GET, "/v1/admin/sessions-log", &Value::Null);
    let sessions = list["sessions"].as_array().unwrap().iter();
    sessions
        .map(|session| {
            let ending = session["ending"].as_str().map(str::to_owned);
            (session["way_in"].as_str().unwrap().to_owned(), ending)
        })
        .collect()
}

#[test]
fn sessions_on_a_host_end_with_what_they_hang_on() {
    let lodger = Lodger::with_device("hung");
    let user = format!("/v1/admin/users/{}", lodger.user_id);
    let operators = lasting(&lodger, &lodger.station.by_name("hung"), "operators");
    let mut operators = operators;

    let ends = |session: &mut Running, reason: &str| {
        eventually("the session ended", || session.ended().is_some());
        eventually("its end is in the log", || {
            log(&lodger)
                .iter()
                .any(|(way, ending)| way == "proxy" && ending.as_deref() == Some(reason))
        });
    };
    // The user is disabled.
    let mut session = lasting(&lodger, &lodger.by_password(), "disabled");
    lodger.call(Method::PATCH, &user, &json!({"status": "disabled"}));
    ends(&mut session, "user was disabled");
    assert_ne!(lodger.by_password().run("true").code, 0);
    lodger.call(Method::PATCH, &user, &json!({"status": "active"}));

    // Their time is over.
    let mut session = lasting(&lodger, &lodger.by_password(), "expired");
    let soon = time_from_now(3);
    let path = format!("{user}/expiry");
    lodger.call(Method::PUT, &path, &json!({ "expires_at": soon }));
    ends(&mut session, "user expired");
    lodger.call(Method::PUT, &path, &json!({"expires_at": null}));
    lodger.call(Method::PATCH, &user, &json!({"status": "active"}));
    eventually("the host stands still", || {
        let tasks = lodger.call(Method::GET, "/v1/admin/tasks", &Value::Null);
        let mut tasks = tasks["tasks"].as_array().unwrap().iter();
        !tasks.any(|task| ["pending", "running"].contains(&task["status"].as_str().unwrap()))
    });
    lodger.wait_done(&lodger.act("start"));

    // The entry password is another.
    let mut session = lasting(&lodger, &lodger.by_password(), "rotated");
    let path = format!("{}/rotate-ssh-password", lodger.host_path());
    let rotated = lodger.call(Method::POST, &path, &Value::Null);
    ends(&mut session, "password was changed");
    assert!(not_taken(&lodger.by_password().run("true")), "the old one");
    let by_new = lodger
        .ssh()
        .password(rotated["new_password"].as_str().unwrap());
    assert_eq!(by_new.run("echo new").ok(), "new\n");

    // The host is stopped.
    assert!(
        operators.ended().is_none(),
        "an operator's own session goes on"
    );
    let mut session = lasting(&lodger, &by_new, "stopped");
    lodger.wait_done(&lodger.act("stop"));
    ends(&mut session, "host was stopped");
    assert!(not_taken(&by_new.run("true")));
    lodger.wait_done(&lodger.act("start"));

    // The host is deleted; the device stays.
    let mut session = lasting(&lodger, &by_new, "deleted");
    let path = format!("{}?force=true", lodger.host_path());
    lodger.call(Method::DELETE, &path, &Value::Null);
    ends(&mut session, "host was deleted");
    assert_eq!(
        lodger.station.by_name("hung").run("echo here").ok(),
        "here\n"
    );
}

/// RFC 3339, some seconds from now.
fn time_from_now(secs: u32) -> String {
    let mut date = std::process::Command::new("date");
    date.args([
        "-u",
        "-d",
        &format!("+{secs} seconds"),
        "+%Y-%m-%dT%H:%M:%SZ",
    ]);
    harness::run(&mut date).ok().trim().to_owned()
}
