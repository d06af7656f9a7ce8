//! What a desktop's pages may do, and how much of the server they may take.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::hosts::desktop::{ask, begun, plain, running};
use crate::world::World;

/// Requests of one user to desktops at once.
const PER_USER: usize = 64;
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) async fn pages_of_a_host_are_confined(world: &World<'_>) {
    let (_line, host) = running(world).await;
    let token = &world.user.token;
    let root = format!("/v1/user/hosts/{}/vnc/", host.id);
    let close = "Connection: close\r\n";

    // A browser that opens a page gets it under an address without the token.
    let page = format!("{root}vnc.html?a=1&token={token}&b=2");
    for how in [
        "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
        "Accept: text/html,*/*;q=0.8\r\n",
    ] {
        let reply = ask(world, &page, &format!("{close}{how}"), "").await;
        assert_eq!((reply.status, reply.body.as_str()), (303, ""));
        let place = format!("{root}vnc.html?a=1&b=2");
        assert_eq!(reply.header("location"), Some(place.as_str()));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let cookie = reply.header("set-cookie").unwrap();
        assert!(cookie.starts_with(&format!(
            "admin_token={token}; Path=/v1/; HttpOnly; SameSite=Lax"
        )));
    }
    let cookie = format!("{close}Cookie: admin_token={token}\r\n");
    let reply = ask(world, &format!("{root}vnc.html"), &cookie, "").await;
    assert_eq!(reply.status, 200);
    let policy = reply.header("content-security-policy").unwrap();
    for part in [
        &format!("default-src http://h:8080{root}"),
        &format!(" ws://h:8080{root}"),
        "; frame-src 'none'; object-src 'none'; frame-ancestors 'none'; sandbox allow-scripts ",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }

    // The cookie is for our own pages, and not for what stays when they are gone.
    let nobody = "missing or invalid authorization header";
    for line in [
        "Origin: http://h\r\n",
        "Origin: null\r\n",
        "Origin: http://ab12cd34.u.h:8080\r\n",
        "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\n",
    ] {
        plain(
            &ask(world, &root, &format!("{cookie}{line}"), "").await,
            401,
            nobody,
        );
    }
    let socket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n";
    let cookie_alone = format!("Cookie: admin_token={token}\r\n");
    let target = format!("{root}websockify");
    let upgrade = format!("{socket}{cookie_alone}Origin: http://evil.h:8080\r\n");
    // A refused upgrade leaves the connection open.
    let upgrade = upgrade.replace("Connection: Upgrade", "Connection: Upgrade, close");
    plain(&ask(world, &target, &upgrade, "").await, 401, nobody);
    let upgrade = format!("{socket}{cookie_alone}Origin: http://h:8080\r\n");
    let reply = ask(world, &target, &upgrade, "ping").await;
    assert_eq!((reply.status, reply.body.as_str()), (101, "gnip"));
    let worker = format!("{cookie}Service-Worker: script\r\n");
    plain(
        &ask(world, &format!("{root}worker.js"), &worker, "").await,
        403,
        "forbidden",
    );
    let other = ask(world, "/v1/user/hosts", &cookie, "").await;
    assert_eq!(other.status, 401);

    // Whatever the host answers.
    for path in ["garbage", "silent", "huge", "unasked"] {
        let reply = ask(world, &format!("{root}{path}"), &cookie, "").await;
        plain(&reply, 502, "cannot connect to VNC");
    }
    let away = ask(world, &format!("{root}away"), &cookie, "").await;
    assert_eq!(
        (away.status, away.header("location"), away.header("nel")),
        (302, None, None)
    );
    let upwards = ask(world, &format!("{root}..%2f..%2fx/vnc/"), &cookie, "").await;
    plain(&upwards, 404, "host not found");
}

pub(crate) async fn one_user_leaves_room_for_others(world: &World<'_>) {
    let (_line, host) = running(world).await;
    let mut held = Vec::new();
    let root = format!("/v1/user/hosts/{}/vnc/", host.id);
    let endless = format!("{root}endless");
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\nConnection: close\r\n");
    let own = bearer(&world.user.token);
    for _ in 0..PER_USER {
        held.push(begun(world, &endless, &own, 200).await);
    }
    plain(
        &ask(world, &root, &own, "").await,
        503,
        "cannot reach container",
    );
    let by_admin = root.replace("/user/", "/admin/");
    let reply = ask(world, &by_admin, &bearer(&world.admin.token), "").await;
    assert_eq!(reply.status, 200);
    // Those who go away make room.
    held.clear();
    let free = async {
        while ask(world, &root, &own, "").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, free)
        .await
        .expect("room after all went away");
    // An answer that has begun ends with what it hangs on.
    let mut last = begun(world, &endless, &own, 200).await;
    let stop = format!("{}/stop", host.path());
    assert_eq!(world.post(&stop, serde_json::json!({})).await.status, 202);
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, last.read_to_end(&mut rest)).await;
    ended.expect("the end of the answer").ok();
}
