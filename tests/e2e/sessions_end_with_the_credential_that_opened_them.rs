use harness::{ADMIN_PASSWORD, ADMIN_USER, KeyPair, Running, Ssh, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use crate::lodger::{Lodger, not_taken, text};

/// A session that lasts, known to have reached the device.
fn lasting(lodger: &Lodger, ssh: &Ssh, name: &str) -> Running {
    let marker = lodger.station.folder().join(name);
    let line = format!("touch {}; exec sleep 600", marker.display());
    let log = lodger.station.folder().join(format!("{name}.log"));
    let session = Running::start(name, &ssh.command(&[&line]), &log);
    eventually("the session is on the device", || marker.exists());
    session
}

fn ends(lodger: &Lodger, session: &mut Running, reason: &str) {
    eventually("the session ended", || session.ended().is_some());
    eventually("its end is in the log", || {
        let list = lodger.call(Method::GET, "/v1/admin/sessions-log", &Value::Null);
        let mut sessions = list["sessions"].as_array().unwrap().iter();
        sessions.any(|session| session["ending"] == reason)
    });
}

#[test]
fn sessions_end_with_the_key_that_opened_them() {
    let lodger = Lodger::with_device("keyed");
    let key = KeyPair::make(&lodger.station.folder().join("lodger"));
    let keys = format!("/v1/admin/users/{}/ssh-keys", lodger.user_id);
    let added = lodger.call(Method::POST, &keys, &json!({"public_key": key.public()}));
    let by_key = lodger.ssh().key(&key);
    let mut keyed = lasting(&lodger, &by_key, "by-key");
    let mut other = lasting(&lodger, &lodger.by_password(), "by-password");
    let path = format!("{keys}/{}", text(&added["key"], "id"));
    lodger.call(Method::DELETE, &path, &Value::Null);
    ends(&lodger, &mut keyed, "key was removed");
    assert!(not_taken(&by_key.run("true")));
    assert!(other.ended().is_none(), "what a password opened goes on");

    // Nor is a key of the user's container hosts good for a login.
    let outbound = json!({"purpose": "outbound"});
    let made = lodger.call(Method::POST, &format!("{keys}/generate"), &outbound);
    let file = lodger.station.folder().join("outbound");
    std::fs::write(&file, text(&made, "private_key")).unwrap();
    std::fs::write(file.with_extension("pub"), text(&made, "public_key")).unwrap();
    harness::run(std::process::Command::new("chmod").arg("600").arg(&file)).ok();
    let by_outbound = lodger.ssh().key(&KeyPair::at(&file));
    assert!(not_taken(&by_outbound.run("true")));

    // An operator's own.
    let mut operators = lasting(&lodger, &lodger.station.by_name("keyed"), "operators");
    let own = lodger.call(Method::GET, "/v1/user/ssh-keys", &Value::Null);
    let path = format!("/v1/user/ssh-keys/{}", text(&own["keys"][0], "id"));
    lodger.call(Method::DELETE, &path, &Value::Null);
    eventually("the operator's session ended", || {
        operators.ended().is_some()
    });
    assert!(other.ended().is_none());
}

#[test]
fn an_operators_session_ends_with_the_password_that_opened_it() {
    let lodger = Lodger::with_device("worded");
    let station = &lodger.station;
    let name = format!("{ADMIN_USER}+worded");
    let by_password =
        |password: &str| Ssh::gateway(&station.server, &name, station.folder()).password(password);
    let mut keyed = lasting(&lodger, &station.by_name("worded"), "by-key");
    let mut session = lasting(&lodger, &by_password(ADMIN_PASSWORD), "by-password");
    let body = json!({"old_password": ADMIN_PASSWORD, "new_password": "another one"});
    lodger.call(Method::POST, "/v1/user/change-password", &body);
    eventually("the session ended", || session.ended().is_some());
    assert!(keyed.ended().is_none(), "what a key opened goes on");
    assert_eq!(by_password("another one").run("echo in").ok(), "in\n");
}

#[test]
fn a_stopping_server_notes_why_sessions_end() {
    let mut lodger = Lodger::with_device("stopping");
    let mut proxied = lasting(&lodger, &lodger.by_password(), "proxied");
    let mut operators = lasting(&lodger, &lodger.station.by_name("stopping"), "operators");
    lodger.station.server.stop();
    eventually("the sessions ended", || {
        proxied.ended().is_some() && operators.ended().is_some()
    });
    lodger.station.server.launch();
    let list = lodger.call(Method::GET, "/v1/admin/sessions-log", &Value::Null);
    let sessions = list["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    for session in sessions {
        assert_eq!(session["ending"], "server is stopping", "{session}");
    }
}
