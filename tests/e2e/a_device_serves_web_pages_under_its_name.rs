use std::process::Command;

use harness::{
    ADMIN_PASSWORD, ADMIN_USER, Done, TestDevice, binary, eventually, run, run_with_input,
};
use serde_json::Value;

use crate::site::{DOMAIN, Site};

const DEVICE: &str = "ketch";
/// Bytes of a body that fits into no buffer on the way.
const BIG: usize = 64 * 1024 * 1024;

fn moorline(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("moorline"));
    command
        .args(arguments)
        .env("HOME", site.folder())
        .env("XDG_CONFIG_HOME", site.folder().join("config"));
    command
}

fn expose(site: &Site, arguments: &[&str]) -> Done {
    let port = site.web_port.to_string();
    let all = [&["expose", DEVICE, &port], arguments].concat();
    run(&mut moorline(site, &all))
}

fn log_in(site: &Site) {
    let url = site.server.url();
    let login = ["login", &url, "--username", ADMIN_USER, "--password-stdin"];
    let password = format!("{ADMIN_PASSWORD}\n");
    run_with_input(&mut moorline(site, &login), password.as_bytes()).ok();
}

/// The HTTP name that `moorline expose --http` printed.
fn name_of(printed: &str) -> String {
    let name = printed.trim().strip_prefix("http://").unwrap();
    let name = name.strip_suffix('/').unwrap();
    assert!(name.ends_with(&format!(".u.{DOMAIN}")), "{name}");
    name.to_owned()
}

fn sha256(site: &Site, bytes: &[u8]) -> String {
    let file = site.folder().join("whole");
    std::fs::write(&file, bytes).unwrap();
    let sum = run(Command::new("sha256sum").arg(&file)).ok();
    sum.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn an_operator_exposes_a_port_and_real_clients_use_it() {
    let site = Site::new();
    let mut device = TestDevice::enrolled(&site.server, DEVICE);
    log_in(&site);

    // The agent takes it up at once, and asking again shows the same.
    let printed = expose(&site, &["--http"]).ok();
    let name = name_of(&printed);
    let page = site.get(&name, "/");
    assert!(page.contains("<title>device</title>"), "{page}");
    assert_eq!(expose(&site, &["--http"]).ok(), printed);

    bodies_pass_whole(&site, &name);
    names_work_over_tls(&site, &name);

    // A public port beside it, to the same port of the device.
    let address = expose(&site, &[]).ok();
    let url = format!("http://{}/headers", address.trim());
    let by_port = run(&mut site.curl(&name, &["--fail", &url])).ok();
    assert!(!by_port.contains("X-Forwarded-For"), "{by_port}");
    let shown = run(&mut moorline(&site, &["device", "show", DEVICE])).ok();
    assert!(
        shown.contains(&name) && shown.contains(address.trim()),
        "{shown}"
    );

    // What the agent holds it asks for again after a power cut of the device, and of the server.
    device.kill();
    eventually("the tunnel is down", || site.status(&name, "/") == "503");
    device.launch();
    eventually("the name is served again", || {
        site.try_get(&name, "/").code == 0
    });
    eventually("the port is served again", || {
        run(&mut site.curl(&name, &["--fail", &url])).code == 0
    });

    // Taken away, it is gone at once; the other one stays, and so does the tunnel.
    let before = site.operator.generation(DEVICE);
    expose(&site, &["--http", "--remove"]).ok();
    assert_eq!(site.status(&name, "/"), "404");
    assert_eq!(run(&mut site.curl(&name, &["--fail", &url])).code, 0);
    assert_eq!(expose(&site, &["--http", "--remove"]).code, 3);
    expose(&site, &["--remove"]).ok();
    eventually("the public port is closed", || {
        run(&mut site.curl(&name, &["--fail", &url])).code != 0
    });
    assert_eq!(site.operator.generation(DEVICE), before);
    assert_eq!(
        run(&mut moorline(&site, &["expose", "nobody", "80"])).code,
        3
    );
    device.stop();
}

/// Chunks up and chunks down, each far larger than any buffer, by one and by several at once.
fn bodies_pass_whole(site: &Site, name: &str) {
    let url = format!("http://{name}:{}", site.port);
    let down = format!("{url}/bytes/{BIG}");
    let file = site.folder().join("down");
    let arguments = ["--fail", "--output", file.to_str().unwrap(), &down];
    run(&mut site.curl(name, &arguments)).ok();
    let got = std::fs::read(&file).unwrap();
    let cycle = (0..BIG).map(|at| (at % 256) as u8);
    assert!(got.len() == BIG && got.iter().copied().eq(cycle));

    let sum = sha256(site, &got);
    let up = format!("{url}/up");
    for arguments in [
        [
            "--fail",
            "--header",
            "Transfer-Encoding: chunked",
            "--data-binary",
            "@-",
            &up,
        ],
        [
            "--fail",
            "--header",
            "Expect: 100-continue",
            "--upload-file",
            "-",
            &up,
        ],
    ] {
        let answer = run_with_input(&mut site.curl(name, &arguments), &got).ok();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(
            (answer["length"].as_u64(), answer["sha256"].as_str()),
            (Some(BIG as u64), Some(sum.as_str()))
        );
    }
    let forwards = site.operator.device(DEVICE).forwards;
    let counted = forwards.iter().map(|forward| forward.bytes).max().unwrap();
    assert!(counted > 3 * BIG as u64, "{counted}");
}

/// HTTP/2 and HTTP/1.1, with the certificate that the server made for the names.
fn names_work_over_tls(site: &Site, name: &str) {
    let url = format!("https://{name}:{}/headers", site.tls_port);
    for (version, said) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let arguments = ["--fail", version, "--write-out", "\n%{http_version}", &url];
        let answer = run(&mut site.curl(name, &arguments)).ok();
        let (headers, used) = answer.rsplit_once('\n').unwrap();
        assert_eq!(used, said);
        let headers: Value = serde_json::from_str(headers).unwrap();
        assert_eq!(headers["Host"], format!("{name}:{}", site.tls_port));
        assert_eq!(headers["X-Forwarded-Host"], headers["Host"]);
        assert_eq!(
            (&headers["X-Forwarded-Proto"], &headers["X-Forwarded-For"]),
            (&"https".into(), &"127.0.0.1".into())
        );
    }
}
