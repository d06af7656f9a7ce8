use harness::{KeyPair, Running, Ssh, TestDevice, eventually, run};

use crate::site::Site;
use crate::station::me;

/// Stock ssh to the port that carries TLS too.
fn over_tls_port(site: &Site, user: &str, key: &KeyPair) -> Ssh {
    let known_hosts = site.folder().join("shared_known_hosts");
    let line = site.server.known_hosts();
    let usual = format!(":{} ", site.server.ssh_port());
    let line = line.replace(&usual, &format!(":{} ", site.tls_port));
    std::fs::write(&known_hosts, line).unwrap();
    Ssh::new(site.server.host(), site.tls_port, user, &known_hosts).key(key)
}

#[test]
fn stock_ssh_holds_an_http_name_through_the_port_that_serves_it() {
    let site = Site::new();
    let key = KeyPair::make(&site.folder().join("device_key"));
    let api = site.server.api(&site.server.full_key("factory"));
    let made = api.create(&[("name", "pram"), ("public_key", key.public().trim())]);
    let id = made["client_id"].as_str().unwrap();
    let forward = site.expose("pram", true);
    assert_eq!(forward["open"], false, "{forward}");
    let name = forward["http_name"].as_str().unwrap();
    assert_eq!(site.status(name, "/"), "503");

    let reverse = format!("{}:localhost:{}", forward["public_port"], site.web_port);
    let ssh = over_tls_port(&site, id, &key).option("ExitOnForwardFailure=yes");
    let tunnel = Running::start(
        "ssh -R",
        &ssh.command(&["-N", "-R", &reverse]),
        &site.folder().join("ssh.log"),
    );
    eventually("the name is served", || site.try_get(name, "/").code == 0);
    let https = format!("https://{name}:{}/headers", site.tls_port);
    let headers = run(&mut site.curl(name, &["--fail", &https])).ok();
    assert!(
        headers.contains("\"X-Forwarded-Proto\": \"https\""),
        "{headers}"
    );
    // The port that the tunnel asked for is not one that visitors come to.
    let port = forward["public_port"].as_u64().unwrap();
    let direct = format!("http://127.0.0.1:{port}/");
    assert_ne!(run(&mut site.curl(name, &["--fail", &direct])).code, 0);
    // Nobody listens behind it any more: the tunnel is up, the device does not serve.
    drop(tunnel);
    eventually("the tunnel is down", || site.status(name, "/") == "503");
    let nowhere = format!("{port}:localhost:1");
    let _tunnel = Running::start(
        "ssh -R",
        &ssh.command(&["-N", "-R", &nowhere]),
        &site.folder().join("ssh2.log"),
    );
    eventually("the device refuses", || site.status(name, "/") == "502");
}

#[test]
fn operators_log_in_by_name_through_the_port_of_https() {
    let site = Site::new();
    let key = KeyPair::make(&site.folder().join("operator"));
    site.operator.add_key(&key);
    let _device = TestDevice::enrolled(&site.server, "dory");
    let ssh = over_tls_port(&site, "dory", &key);
    assert_eq!(ssh.run("id -un").ok().trim(), me());
    let big = ssh.run("head -c 3000000 /dev/zero | tr '\\0' x").ok();
    assert_eq!(big.len(), 3_000_000);
}
