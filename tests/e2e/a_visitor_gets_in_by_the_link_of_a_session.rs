use std::process::Command;

use harness::{ADMIN_PASSWORD, ADMIN_USER, Api, binary, eventually, run, run_with_input};
use tempfile::TempDir;

use crate::openport_client::{GREETING, Scene, port};

const AVAILABLE: &str = "is now available from your IP";

#[test]
fn a_click_lets_one_address_in_and_outlives_the_server() {
    let mut scene = Scene::new();
    let client = scene.client("protected");
    let link = client.session["open_port_for_ip_link"].as_str().unwrap();
    let message = client.session["message"].as_str().unwrap();
    assert!(message.contains(&format!(" {link} ")), "{message}");
    let tunnel = scene.tunnel(&client);
    scene.operator.wait_online("protected", None);

    let page = scene.click_from([127, 0, 0, 2], link);
    assert_eq!(page.status, 200);
    assert!(page.text.contains(AVAILABLE), "{}", page.text);
    eventually("the address that clicked is let in", || {
        scene.visit_from([127, 0, 0, 2], &client.session) == GREETING
    });
    // The tunnel is up, so an address that did not click meets a closed door, not a missing tunnel.
    assert_eq!(scene.visit(&client.session), "");
    // Another session of the same device has a link of its own.
    let other = scene.session(&client.key.public(), &[]);
    assert_ne!(
        other["open_port_for_ip_link"],
        client.session["open_port_for_ip_link"]
    );

    // The server goes down hard; the client comes back as it would by itself.
    scene.server.kill();
    drop(tunnel);
    scene.server.launch();
    assert_eq!(scene.restart(&client, "true"), client.session);
    let _tunnel = scene.tunnel(&client);
    eventually("the address that clicked is still let in", || {
        scene.visit_from([127, 0, 0, 2], &client.session) == GREETING
    });
    assert_eq!(scene.visit(&client.session), "");

    // Its client lifts the protection while the tunnel is up, and sets it again.
    let public = client.key.public();
    let (own, token) = (
        port(&client.session).to_string(),
        client.session["session_token"].as_str().unwrap(),
    );
    let same = [
        ("request_port", own.as_str()),
        ("restart_session_token", token),
    ];
    let protect = |on| {
        scene.session(
            &public,
            &[&same[..], &[("ip_link_protection", on)]].concat(),
        )
    };
    assert!(protect("false")["open_port_for_ip_link"].is_null());
    assert_eq!(scene.visit(&client.session), GREETING);
    assert!(protect("true")["open_port_for_ip_link"].is_string());
    assert_eq!(scene.visit(&client.session), "");
}

#[test]
fn an_operator_opens_a_port_for_himself_and_prints_its_link() {
    let scene = Scene::new();
    let client = scene.client("shed");
    let _tunnel = scene.tunnel(&client);
    scene.operator.wait_online("shed", None);
    let home = TempDir::new().unwrap();
    let moorline = |arguments: &[&str]| {
        let mut command = Command::new(binary("moorline"));
        command.args(arguments).env("HOME", home.path());
        command.env("XDG_CONFIG_HOME", home.path().join("config"));
        command
    };
    let url = scene.server.url();
    let login = ["login", &url, "--username", ADMIN_USER, "--password-stdin"];
    let password = format!("{ADMIN_PASSWORD}\n");
    run_with_input(&mut moorline(&login), password.as_bytes()).ok();

    let link = client.session["open_port_for_ip_link"].as_str().unwrap();
    let service = scene.service.to_string();
    for line in [
        &["link", "shed", "--print"][..],
        &["link", "shed", &service, "--print"],
    ] {
        assert_eq!(run(&mut moorline(line)).ok().trim(), link);
    }
    assert_eq!(scene.visit(&client.session), "", "printing opens nothing");
    assert_eq!(run(&mut moorline(&["link", "shed", "1"])).code, 3);
    assert_eq!(run(&mut moorline(&["link", "nobody"])).code, 3);
    let opened = run(&mut moorline(&["link", "shed", &service]));
    assert_eq!(opened.code, 0, "{opened:?}");
    eventually("the operator is let in", || {
        scene.visit(&client.session) == GREETING
    });

    let shown = run(&mut moorline(&["key-binding", "show"])).ok();
    let token = scene.server.admin(&["account", "binding-token"]).ok();
    assert_eq!(shown.trim(), token.trim());
    let renewed = run(&mut moorline(&["key-binding", "renew"])).ok();
    assert_ne!(renewed.trim(), shown.trim());
    let token = scene.server.admin(&["account", "binding-token"]).ok();
    assert_eq!(renewed.trim(), token.trim());
}

#[test]
fn a_redirect_leads_to_the_session_that_is_up() {
    let scene = Scene::new();
    let client = scene.client("redirected");
    // The token of the address is told by the list of sessions only; here it is read where it is kept.
    let address = |token: &str| format!("{}/r/{token}/{}", scene.server.url(), scene.service);
    let token = redirect_token(&scene);
    let look = || {
        let quiet = reqwest::blocking::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        quiet.get(address(&token)).send().unwrap()
    };
    // A client of the harness brings what TLS needs into the process.
    drop(Api::client());
    assert_eq!(look().status().as_u16(), 404);
    let tunnel = scene.tunnel(&client);
    eventually("the redirect leads there", || {
        look().status().as_u16() == 302
    });
    let target = look().headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(
        target,
        format!("http://127.0.0.1:{}/", port(&client.session))
    );
    assert_eq!(
        scene.visit(&client.session),
        "",
        "it does not open the port"
    );
    drop(tunnel);
    eventually("the redirect is gone", || look().status().as_u16() == 404);

    // The same session as an HTTP forward has a name, and no public port any more.
    let own = port(&client.session).to_string();
    let token = client.session["session_token"].as_str().unwrap();
    let more = [
        ("request_port", own.as_str()),
        ("restart_session_token", token),
        ("ip_link_protection", "false"),
    ];
    let plain = scene.session(&client.key.public(), &more);
    let first = scene.tunnel(&client);
    eventually("the port is open", || scene.visit(&plain) == GREETING);
    let named = [&more[..], &[("http_forward", "true")]].concat();
    let named = scene.session(&client.key.public(), &named);
    assert_eq!(named["server_port"], client.session["server_port"]);
    let _second = scene.tunnel(&client);
    let name = named["http_forward_address"].as_str().unwrap();
    let target = format!("http://{name}/");
    eventually("the redirect leads to the name", || {
        let there = look();
        there
            .headers()
            .get("location")
            .is_some_and(|to| *to == target)
    });
    eventually("the port is closed", || scene.visit(&named).is_empty());
    drop(first);
}

fn redirect_token(scene: &Scene) -> String {
    let database = scene.server.data().join("moorline.db");
    let line = "SELECT redirect_token FROM devices WHERE name = 'redirected'";
    let shown = run(Command::new("python3").args([
        "-c",
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])",
        database.to_str().unwrap(),
        line,
    ]));
    shown.ok().trim().to_owned()
}
