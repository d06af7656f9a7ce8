//! Links and their pages (section 8).

use std::net::IpAddr;

use moorline_server::registry::model::{Forward, Timestamp};

use crate::bed::{Bed, public_key};
use crate::http;
use crate::openport_client::client::{device, get, granted, string};

const AVAILABLE: &str = "is now available from your IP";
const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;

/// A session, and the path of its link.
async fn session(bed: &Bed) -> (Forward, String) {
    let key = public_key();
    let json = granted(bed, &[("public_key", &key)]).await;
    let link = string(&json, "open_port_for_ip_link");
    let path = link.splitn(4, '/').nth(3).unwrap();
    let forward = device(bed, &key).await.forwards[0].clone();
    (forward, format!("/{path}"))
}

async fn let_in(bed: &Bed, forward: &Forward, visitor: IpAddr, later: i64) -> bool {
    let at = Timestamp(Timestamp::now().0 + later);
    let clicked = bed.registry.has_clicked(forward.id, visitor, at).await;
    clicked.unwrap()
}

pub(crate) async fn a_click_is_kept(bed: &Bed) {
    let (forward, path) = session(bed).await;
    let (other, _) = session(bed).await;
    assert!(!let_in(bed, &forward, bed.from, 0).await);
    for path in [path.clone(), format!("{path}/")] {
        let page = get(bed, &path).await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains(AVAILABLE), "{}", page.body);
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    }
    assert!(let_in(bed, &forward, bed.from, 0).await);
    assert!(let_in(bed, &forward, bed.from, DAY_MICROS - 60_000_000).await);
    assert!(!let_in(bed, &forward, bed.from, DAY_MICROS + 1).await);
    // It is for this address and this session alone.
    assert!(!let_in(bed, &forward, IpAddr::from([127, 9, 9, 9]), 0).await);
    assert!(!let_in(bed, &other, bed.from, 0).await);
    // The word of a stranger on where he comes from does not count.
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n"
    );
    let page = http::raw(bed.http, bed.from, request.as_bytes()).await;
    assert_eq!(page.status, 200);
    assert!(!let_in(bed, &forward, IpAddr::from([203, 0, 113, 9]), 0).await);
}

pub(crate) async fn wrong_links_are_refused_and_limited(bed: &Bed) {
    let (forward, path) = session(bed).await;
    let (other, _) = session(bed).await;
    let token = path.rsplit('/').next().unwrap();
    for missing in [
        format!("/l/{}", forward.public_port),
        format!("/l/{}/", forward.public_port),
    ] {
        let page = get(bed, &missing).await;
        assert_eq!(page.status, 404, "{missing}");
        assert!(page.body.starts_with("<!doctype html>"));
    }
    for wrong in [
        format!("/l/{}/AAAAAAAAAAAAAAAA", forward.public_port),
        format!("/l/{}/{token}", other.public_port),
        format!("/l/1/{token}"),
        format!("/l/x/{token}"),
    ] {
        let page = get(bed, &wrong).await;
        assert_eq!(page.status, 403, "{wrong}");
        assert!(!page.body.contains(AVAILABLE));
    }
    let wrong = format!("/l/{}/wrong", forward.public_port);
    let mut tries = 4;
    let status = loop {
        let status = get(bed, &wrong).await.status;
        if status != 403 {
            break status;
        }
        tries += 1;
        assert!(tries < 20, "there is no limit");
    };
    assert_eq!(status, 429);
    assert!(tries >= 10, "{tries}");
    assert!(!let_in(bed, &forward, bed.from, 0).await);
}

pub(crate) async fn head_opens_nothing(bed: &Bed) {
    let (forward, path) = session(bed).await;
    let page = http::send(bed.http, bed.from, "HEAD", &path, None, b"").await;
    assert_eq!((page.status, page.body.as_str()), (200, ""));
    assert!(!let_in(bed, &forward, bed.from, 0).await);
}

pub(crate) async fn nothing_connected_is_404(bed: &Bed) {
    let key = public_key();
    granted(bed, &[("public_key", &key), ("local_port", "22")]).await;
    let token = device(bed, &key).await.redirect_token;
    assert_eq!(token.len(), 8);
    for path in [
        format!("/r/{token}/22"),
        format!("/r/{token}/22/"),
        format!("/r/{token}/x"),
        "/r/AAAAAAAA/22".to_owned(),
    ] {
        let page = get(bed, &path).await;
        assert_eq!(page.status, 404, "{path}");
        assert!(page.body.starts_with("<!doctype html>"));
    }
}

pub(crate) async fn a_trusted_proxy_names_the_visitor(bed: &Bed) {
    let key = crate::openport_client::client::registered(bed, "proxied").await;
    let json = granted(bed, &[("public_key", &key)]).await;
    let link = string(&json, "open_port_for_ip_link");
    let path = link.splitn(4, '/').nth(3).unwrap();
    let forward = device(bed, &key).await.forwards[0].clone();
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.1, 203.0.113.9\r\nConnection: close\r\n\r\n"
    );
    let page = http::raw(bed.http, bed.from, request.as_bytes()).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("203.0.113.9"));
    assert!(let_in(bed, &forward, IpAddr::from([203, 0, 113, 9]), 0).await);
    assert!(!let_in(bed, &forward, IpAddr::from([198, 51, 100, 1]), 0).await);
    assert!(!let_in(bed, &forward, bed.from, 0).await);
}
