use std::process::Command;

use harness::{Running, TestDevice, eventually, run};

use crate::site::{DOMAIN, Site};

#[test]
fn a_browser_fetches_and_opens_a_websocket_under_an_http_name() {
    let site = Site::new();
    let _device = TestDevice::enrolled(&site.server, "lugger");
    let forward = site.expose("lugger", true);
    assert_eq!(forward["open"], true, "{forward}");
    let name = forward["http_name"].as_str().unwrap();

    let mut browser = Command::new("chromium");
    browser
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
        ])
        .args([
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .args([
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--no-proxy-server",
        ])
        .arg(format!(
            "--user-data-dir={}",
            site.folder().join("browser").display()
        ))
        .arg(format!("--host-resolver-rules=MAP *.{DOMAIN} 127.0.0.1"))
        .arg(format!("http://{name}:{}/", site.port))
        .env("HOME", site.folder());
    let _browser =
        Running::start("browser", &browser, &site.folder().join("browser.log")).with_children();
    let result = || {
        let url = format!("http://127.0.0.1:{}/result", site.web_port);
        run(&mut site.curl(name, &["--fail", &url])).ok()
    };
    eventually("the page says what it saw", || !result().is_empty());
    assert_eq!(result(), format!("socket ahoy for {name}:{}", site.port));
}
