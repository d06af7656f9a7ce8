use harness::{Browser, Operator, Page, eventually, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

use crate::desk::Desk;

/// Of the terminal that fills the desktop; nothing else has it.
const COLOUR: [i64; 3] = [0x0b, 0x6e, 0x4f];

/// A VNC server with a terminal on it that writes down one line, and noVNC in front of it.
fn lay_out(desk: &mut Desk) {
    let server = [
        "Xtigervnc",
        "-displayfd",
        "1",
        "-rfbport",
        "5900",
        "-SecurityTypes",
        "None",
    ];
    let screen = ["-localhost", "-geometry", "800x600", "-depth", "24"];
    desk.run("vnc", &[], &[&server[..], &screen].concat());
    let display = wait_for(
        "the X server has a number",
        std::time::Duration::from_secs(300),
        || {
            let said = desk.said("vnc");
            let mut numbers = said
                .lines()
                .filter_map(|line| line.trim().parse::<u32>().ok());
            numbers.next_back().map(|number| format!(":{number}"))
        },
    );
    let colour = format!("#{:02x}{:02x}{:02x}", COLOUR[0], COLOUR[1], COLOUR[2]);
    let script = format!(
        "touch {0}/shown; read line; printf %s \"$line\" >{0}/typed; exec sleep 600",
        desk.folder().display()
    );
    let window = ["xterm", "-geometry", "200x70+0+0", "-b", "0", "+sb"];
    let inside = ["-bg", &colour, "-fg", "white", "-e", "sh", "-c", &script];
    desk.run(
        "terminal",
        &[("DISPLAY", &display)],
        &[&window[..], &inside].concat(),
    );
    let web = [
        "websockify",
        "--web",
        "/usr/share/novnc",
        "127.0.0.1:6080",
        "127.0.0.1:5900",
    ];
    desk.run("novnc", &[], &web);
    let shown = desk.folder().join("shown");
    eventually("the terminal is there", || shown.exists());
}

/// The address that opens the desktop at once.
fn address(origin: &str, role: &str, host: &str, token: &str) -> String {
    let route = format!("v1/{role}/hosts/{host}/vnc");
    format!(
        "{origin}/{route}/vnc.html?autoconnect=true&resize=remote&path={route}/websockify&token={token}"
    )
}

fn is_connected(browser: &mut Browser, page: &Page) -> bool {
    browser.evaluate(
        page,
        "document.documentElement.classList.contains('noVNC_connected')",
    ) == true
}

/// Whether the terminal is seen.
fn is_drawn(browser: &mut Browser, page: &Page) -> bool {
    let pixel = browser.evaluate(
        page,
        "[...document.querySelector('#noVNC_container canvas').getContext('2d').getImageData(300, 300, 1, 1).data]",
    );
    // The picture may be compressed with losses.
    let near = |index: usize| {
        pixel[index]
            .as_i64()
            .is_some_and(|seen| (seen - COLOUR[index]).abs() < 8)
    };
    (0..3).all(near)
}

fn assert_open(browser: &mut Browser, page: &Page) {
    eventually("the desktop is connected", || is_connected(browser, page));
    eventually("the desktop is drawn", || is_drawn(browser, page));
    let place = browser.evaluate(page, "location.href");
    let place = place.as_str().unwrap();
    assert!(
        place.contains("autoconnect=true") && !place.contains("token"),
        "{place}"
    );
}

#[test]
fn a_desktop_opens_in_a_browser_for_those_who_may() {
    let mut desk = Desk::new();
    lay_out(&mut desk);
    let (owner, stranger) = (desk.user("owner"), desk.user("stranger"));
    let host = desk.host("desktop", &owner);
    let admin = Operator::login(&desk.server);
    let page = format!("/v1/user/hosts/{host}/vnc/vnc.html");

    let refused = |path: &str, fields: &[(&str, &str)]| {
        let answer = desk.get(path, fields);
        (answer.status, answer.text.trim_end().to_owned())
    };
    let nobody = refused(&page, &[]);
    assert_eq!(
        nobody,
        (401, "missing or invalid authorization header".into())
    );
    let by_token = format!("{page}?token={}", stranger.token);
    assert_eq!(refused(&by_token, &[]), (403, "forbidden".into()));
    let by_browser = refused(&by_token, &[("Accept", "text/html,*/*;q=0.8")]);
    assert_eq!(by_browser, (403, "forbidden".into()));
    let by_admin_path = by_token.replace("/user/", "/admin/");
    assert_eq!(
        refused(&by_admin_path, &[]),
        (403, "insufficient permissions".into())
    );

    // In clear under a bare address, as it stands in the answers of the API; then over TLS under a name.
    let mut browser = Desk::browser();
    let own = address(&desk.server.url(), "user", &host, &owner.token);
    let own = browser.open(&own);
    assert_open(&mut browser, &own);
    browser.click(&own, 300, 200);
    browser.type_line(&own, "ahoy");
    let typed = desk.folder().join("typed");
    eventually("what was typed is there", || {
        std::fs::read_to_string(&typed).is_ok_and(|typed| typed == "ahoy")
    });
    let mut other = Desk::browser();
    let [_, secure] = desk.origins("desk.test");
    let admins = other.open(&address(&secure, "admin", &host, admin.token()));
    assert_open(&mut other, &admins);
    for (browser, secure) in [(&mut browser, false), (&mut other, true)] {
        let cookies = browser.cookies();
        assert_eq!(cookies.len(), 1, "{cookies:?}");
        let cookie = &cookies[0];
        assert_eq!(cookie["name"], "admin_token");
        assert_eq!(cookie["httpOnly"], true);
        assert_eq!(cookie["secure"], secure);
    }

    // Each ends with what it hangs on.
    let path = format!("/v1/admin/users/{}", owner.id);
    desk.call(Method::PATCH, &path, &json!({"status": "disabled"}));
    eventually("the desktop of a disabled user ended", || {
        !is_connected(&mut browser, &own)
    });
    assert_eq!(
        refused(&format!("{page}?token={}", owner.token), &[]),
        (403, "account is not active".into())
    );
    desk.call(Method::PATCH, &path, &json!({"status": "active"}));
    let stop = format!("/v1/admin/hosts/{host}/stop");
    assert!(is_connected(&mut other, &admins));
    desk.call(Method::POST, &stop, &Value::Null);
    eventually("the host is stopped", || desk.status(&host) == "stopped");
    eventually("the desktop of a stopped host ended", || {
        !is_connected(&mut other, &admins)
    });
    let by_admin = format!(
        "/v1/admin/hosts/{host}/vnc/vnc.html?token={}",
        admin.token()
    );
    assert_eq!(refused(&by_admin, &[]), (409, "host is not running".into()));
}
