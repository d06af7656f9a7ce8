use std::net::IpAddr;

use harness::{KeyPair, Running, eventually, free_port, run};

use crate::openport_client::{GREETING, Scene, port, read_greeting};

#[test]
fn a_forward_tunnel_leads_to_a_port_of_the_own_account_only() {
    let scene = Scene::new();
    let target = scene.client("target");
    let tunnel = scene.tunnel(&target);
    let caller = KeyPair::make(&scene.folder.path().join("caller"));
    scene.link_key(&caller.public(), "caller");
    let wanted = port(&target.session).to_string();
    let local = free_port();
    let wish = |key: &str| {
        scene.request_port(&[
            ("public_key", key),
            ("request_port", &wanted),
            ("local_port", &local.to_string()),
            ("forward_tunnel", "true"),
        ])
    };
    let way = wish(&caller.public());
    let sentence = format!(
        "You are now connected. You can access the remote pc's port {} on localhost:{local}",
        scene.service
    );
    assert_eq!(way["message"], sentence.as_str());

    // The port is protected and nobody clicked; the way inside the account does not need it.
    let lead = |host: &str| format!("{local}:{host}:{wanted}");
    let here = IpAddr::from([127, 0, 0, 1]);
    for host in ["localhost", "127.0.0.1"] {
        let command = scene.open(&caller).command(&["-N", "-L", &lead(host)]);
        let forward = Running::start("ssh -L", &command, &scene.folder.path().join("forward"));
        eventually("the way leads to the device", || {
            read_greeting(here, local) == GREETING
        });
        assert_eq!(scene.visit(&target.session), "");
        drop(forward);
    }
    // The caller's end touched nothing.
    scene.operator.wait_online("target", None);

    // Its token is a sign of life like that of a session, and the other device may be away.
    drop(tunnel);
    scene.operator.wait_offline("target");
    let token = way["session_token"].as_str().unwrap();
    let command = scene
        .open(&caller)
        .command(&["-L", &lead("localhost"), token]);
    let forward = Running::start("ssh -L", &command, &scene.folder.path().join("away"));
    scene.operator.wait_online("caller", None);
    assert_eq!(read_greeting(here, local), "");
    let _tunnel = scene.tunnel(&target);
    eventually("the device is back", || {
        read_greeting(here, local) == GREETING
    });
    drop(forward);

    // Neither another host nor another account's key gets through.
    scene.server.admin(&["account", "create", "strangers"]).ok();
    let stranger = KeyPair::make(&scene.folder.path().join("stranger"));
    scene.link_key_to("strangers", &stranger.public(), "stranger");
    let text = format!("No session found for port {wanted}");
    assert_eq!(wish(&stranger.public())["error"], text.as_str());
    for (key, host) in [(&stranger, "localhost"), (&caller, "192.0.2.1")] {
        let target = format!("{host}:{wanted}");
        let refused = run(&mut scene.open(key).command(&["-v", "-W", &target]));
        assert_eq!(refused.code, 255, "{refused:?}");
        let said = refused.stderr;
        assert!(said.contains("administratively prohibited"), "{said}");
    }
}
