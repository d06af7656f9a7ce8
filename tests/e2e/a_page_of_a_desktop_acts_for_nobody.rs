use harness::{Api, Browser, Page, eventually, repository};
use reqwest::header::COOKIE;
use serde_json::Value;

use crate::desk::{Desk, User};

/// Attempts of the page. Whoever adds one counts it here.
const ATTEMPTS: usize = 22;

/// The hostile device's web server.
fn lay_out(desk: &mut Desk) {
    let program = repository().join("tests/fixtures/trespasser.py");
    let program = program.to_str().unwrap();
    desk.run("trespasser", &[], &["python3", "-B", program, "6080"]);
}

/// What the page said of its attempts, once it has made all of them.
fn report(desk: &Desk, host: &str, user: &User) -> Value {
    let bearer = format!("Bearer {}", user.token);
    let path = format!("/v1/user/hosts/{host}/vnc/report");
    let mut report = Value::Null;
    eventually("the page made its report", || {
        let answer = desk.get(&path, &[("Authorization", &bearer)]);
        report = serde_json::from_str(&answer.text).unwrap_or_default();
        report.is_object()
    });
    report
}

/// Has the device forget what was reported.
fn forget(desk: &Desk, host: &str, user: &User) {
    let url = format!("{}/v1/user/hosts/{host}/vnc/report", desk.server.url());
    let answer = Api::client().post(url).bearer_auth(&user.token).send();
    assert_eq!(answer.unwrap().status(), 200);
}

fn assert_nothing_done(report: &Value) {
    let allowed = &report["allowed"];
    assert_eq!(allowed["own_pages"], "status 200", "{report}");
    assert_eq!(allowed["own_socket"], "open", "{report}");
    assert_eq!(allowed["own_redirect"], "secret of a desktop", "{report}");
    // What the device itself is told.
    let headers = allowed["headers"].as_str().unwrap();
    assert!(
        headers.contains("User-Agent")
            && !headers.contains("eyJ")
            && !headers.contains("admin_token=ey"),
        "{headers}"
    );
    let attempts = report["attempts"].as_object().unwrap();
    assert_eq!(attempts.len(), ATTEMPTS);
    let done: Vec<_> = attempts
        .iter()
        .filter(|(_, outcome)| *outcome != "")
        .collect();
    assert!(done.is_empty(), "a page of a device did: {done:?}");
}

/// The device's cookie is one for its own pages, and none of ours is one of its own.
fn assert_cookies(browser: &mut Browser, host: &str, user: &User) {
    let here = format!("/v1/user/hosts/{host}/vnc/");
    let cookies = browser.cookies();
    let wide = cookies.iter().find(|cookie| cookie["name"] == "wide");
    let wide = wide.unwrap_or_else(|| panic!("{cookies:?}"));
    assert_eq!(wide["path"], here);
    assert!(!wide["domain"].as_str().unwrap().starts_with('.'), "{wide}");
    assert!(cookies.iter().any(|cookie| cookie["name"] == "admin_token"
        && cookie["value"] == user.token
        && cookie["path"] == "/v1/"
        && cookie["httpOnly"] == true));
}

/// Whether a page may open a WebSocket there.
fn opens(browser: &mut Browser, page: &Page, address: &str) -> bool {
    let socket = format!(
        "new Promise((done) => {{ const it = new WebSocket('{address}'); \
         it.onopen = () => done(true); it.onerror = () => done(false); }})"
    );
    let answer = browser.evaluate(page, &socket);
    answer.as_bool().unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn a_page_of_a_desktop_acts_for_nobody() {
    let mut desk = Desk::new();
    lay_out(&mut desk);
    let user = desk.user("owner");
    let (host, other) = (desk.host("hostile", &user), desk.host("peaceful", &user));
    let root = |host: &str| format!("/v1/user/hosts/{host}/vnc/");
    let address = |origin: &str, host: &str| {
        format!("{origin}{}?other={other}&token={}", root(host), user.token)
    };
    let [clear, secure] = desk.origins("desk.test");

    // Opened as a person opens it.
    let mut browser = Desk::browser();
    browser.open(&address(&clear, &host));
    let made = report(&desk, &host, &user);
    assert_nothing_done(&made);
    assert_cookies(&mut browser, &host, &user);

    // Opened by a page of ours that keeps no distance, where browsers have all that they have.
    forget(&desk, &host, &user);
    let mut browser = Desk::browser();
    let ours = browser.open(&format!("{secure}/healthz"));
    eventually("our page is there", || {
        browser.evaluate(&ours, "document.readyState") == "complete"
            && browser.evaluate(&ours, "location.pathname") == "/healthz"
    });
    let opened = format!("Boolean(window.open('{}'))", address(&secure, &host));
    assert_eq!(browser.evaluate(&ours, &opened), true);
    let made = report(&desk, &host, &user);
    assert_nothing_done(&made);
    assert_cookies(&mut browser, &host, &user);

    // A page of the same site is not ours.
    let socket = format!("{}{}echo", secure.replacen("http", "ws", 1), root(&host));
    assert!(opens(&mut browser, &ours, &socket), "our own page may");
    let [_, neighbour] = desk.origins("ab12cd34.u.desk.test");
    let page = browser.open(&format!("{neighbour}/healthz"));
    eventually("the neighbour's page is there", || {
        browser.evaluate(&page, "location.pathname") == "/healthz"
    });
    assert!(!opens(&mut browser, &page, &socket), "a neighbour may not");

    // The cookie counts nowhere else.
    for path in ["/v1/user/hosts", "/v1/admin/users"] {
        let cookie = format!("admin_token={}", user.token);
        let url = format!("{}{path}", desk.server.url());
        let answer = Api::client()
            .get(url)
            .header(COOKIE, cookie)
            .send()
            .unwrap();
        assert_eq!(answer.status(), 401, "{path}");
    }
}
