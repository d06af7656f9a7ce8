//! Section 1: credentials, scopes, contexts, limits.

use std::net::IpAddr;

use moorline_protocol::scope::Scope;
use moorline_server::registry::model::{KeyContext, KeyLimits};

use crate::bed::{Bed, KeyWish, device_id, past, public_key, refs, text};
use crate::http::{self, encode};

const REFUSED: &str = "Invalid API key or API key missing";
const NO_MATCH: &str = "Wrong data: dbid, host_uuid, ports_id and user_id do not match a client";
const CALLS: [(&str, Scope); 9] = [
    ("create_new_client", Scope::DeviceCreate),
    ("get_client_script", Scope::DeviceRead),
    ("device_list", Scope::DeviceRead),
    ("client_status", Scope::DeviceRead),
    ("connect", Scope::DeviceModify),
    ("disconnect", Scope::DeviceModify),
    ("set_allow_clientless", Scope::DeviceModify),
    ("upload_public_key", Scope::DeviceModify),
    ("delete_client", Scope::DeviceDelete),
];

pub(crate) async fn keys_without_right_are_32_with_one_text(bed: &Bed) {
    let id = bed.device(&[]).await;
    let limits = KeyLimits {
        expires_at: Some(past()),
        ..KeyLimits::default()
    };
    let expired = bed
        .make_key(KeyWish {
            limits,
            ..KeyWish::default()
        })
        .await;
    let revoked = bed.make_key(KeyWish::default()).await;
    let keys = bed.registry.api_keys(bed.account).await.unwrap();
    let newest = keys.last().unwrap();
    assert!(
        bed.registry
            .revoke_api_key(bed.account, &newest.id)
            .await
            .unwrap()
    );
    let mut refused = 0;
    for (call, needed) in CALLS {
        let others: Vec<Scope> = Scope::ALL
            .into_iter()
            .filter(|scope| *scope != needed)
            .collect();
        let narrow = bed.scoped(&others).await;
        for key in ["", "unknown", &expired, &revoked, &narrow] {
            let reply = bed
                .bare(call, &[("api_key", key), ("client_id", &id)])
                .await;
            assert_eq!(reply.verdict(), (32, REFUSED.into()), "{call} {key}");
            refused += 1;
        }
        let wide = bed.scoped(&[needed]).await;
        if call != "connect" {
            let reply = bed
                .bare(call, &[("api_key", &wide), ("client_id", &id)])
                .await;
            assert!(!reply.body.contains(REFUSED), "{call}: {}", reply.body);
        }
    }
    assert_eq!(refused, 45);
    let with_key = [("api_key", bed.key.as_str()), ("client_id", &id)];
    let reply = bed.bare("upgrade_client_script", &with_key).await;
    assert_eq!(reply.verdict().0, 32, "the quadruple only");
}

pub(crate) async fn a_revoked_key_is_refused_at_once(bed: &Bed) {
    for bad in ["22", "0"] {
        let key = bed.make_key(KeyWish::default()).await;
        let made = bed.bare("create_new_client", &[("api_key", &key)]).await;
        assert_eq!(made.verdict().0, 0);
        let keys = bed.registry.api_keys(bed.account).await.unwrap();
        let newest = &keys.last().unwrap().id;
        assert!(
            bed.registry
                .revoke_api_key(bed.account, newest)
                .await
                .unwrap()
        );
        let again = [("api_key", key.as_str()), ("fwport", bad)];
        let told = bed.bare("create_new_client", &again).await.verdict();
        assert_eq!(told, (32, REFUSED.into()));
    }
}

pub(crate) async fn a_device_context_sees_its_devices_only(bed: &Bed) {
    let mine = bed.device(&[]).await;
    let other = bed.device(&[]).await;
    let context = KeyContext::Devices(vec![device_id(&mine)]);
    let key = bed
        .make_key(KeyWish {
            context,
            ..KeyWish::default()
        })
        .await;
    let list = bed.list(&key).await;
    assert_eq!(list.len(), 1);
    assert_eq!(text(&list[0], "client_id"), mine);
    let ask = async |call: &str, id: &str| {
        bed.bare(call, &[("api_key", key.as_str()), ("client_id", id)])
            .await
    };
    assert_eq!(ask("client_status", &mine).await.verdict().1, "offline");
    assert_eq!(ask("client_status", &other).await.verdict().0, 31);
    assert_eq!(ask("delete_client", &other).await.verdict().0, 31);
    assert_eq!(ask("create_new_client", &mine).await.verdict().0, 32);
    let context = KeyContext::Apps(vec!["app".into()]);
    let apps = bed
        .make_key(KeyWish {
            context,
            ..KeyWish::default()
        })
        .await;
    assert_eq!(bed.list(&apps).await.len(), 0);
    let reply = bed
        .bare("client_status", &[("api_key", &apps), ("client_id", &mine)])
        .await;
    assert_eq!(reply.verdict().0, 31);
}

pub(crate) async fn a_foreign_account_is_as_if_it_were_not(bed: &Bed) {
    let id = bed
        .device(&[("name", "ours"), ("public_key", &public_key())])
        .await;
    let stranger = bed.registry.create_account("stranger").await.unwrap().id;
    let key = bed.key_of(stranger, KeyWish::default()).await;
    assert_eq!(bed.list(&key).await.len(), 0);
    let unknown = (31, "Wrong data: client_id is unknown".to_owned());
    for (call, _) in CALLS
        .into_iter()
        .filter(|(call, _)| !call.contains("list") && !call.contains("new"))
    {
        let parameters = [
            ("api_key", key.as_str()),
            ("client_id", &id),
            ("allow", "1"),
            ("public_key", &public_key()),
        ];
        assert_eq!(
            bed.bare(call, &parameters).await.verdict(),
            unknown,
            "{call}"
        );
    }
    let same_name = bed
        .bare("create_new_client", &[("api_key", &key), ("name", "ours")])
        .await;
    assert_eq!(same_name.verdict().0, 0, "names are unique in an account");
    assert_eq!(bed.list(&bed.key).await.len(), 1);
}

pub(crate) async fn the_quadruple_opens_the_calls_of_its_device(bed: &Bed) {
    let id = bed.device(&[]).await;
    let other = bed.device(&[]).await;
    let whole = bed.quadruple(&id).await;
    let with = |more: &[(&'static str, String)]| [&whole[..], more].concat();
    let ok = (0, "OK".to_owned());
    let on = ("allow", "on".to_owned());
    let allowed = bed.bare("set_allow_clientless", &refs(&with(&[on]))).await;
    assert_eq!(allowed.verdict(), ok);
    assert_eq!(
        bed.bare("client_status", &refs(&whole)).await.verdict().1,
        "offline"
    );
    assert_eq!(bed.bare("disconnect", &refs(&whole)).await.verdict(), ok);
    let key = ("public_key", public_key());
    let uploaded = bed.bare("upload_public_key", &refs(&with(&[key]))).await;
    assert_eq!(uploaded.verdict(), ok);
    let script = bed.bare("upgrade_client_script", &refs(&whole)).await;
    let same = bed.get("get_client_script", &[("client_id", &id)]).await;
    assert_eq!(script.body, same.body);
    for (at, wrong) in [
        (0, "x".repeat(20)),
        (1, other.clone()),
        (2, "999999".into()),
        (3, "999".into()),
    ] {
        for value in [wrong.as_str(), ""] {
            let mut parts = whole.to_vec();
            parts[at].1 = value.to_owned();
            let told = bed.bare("client_status", &refs(&parts)).await.verdict();
            assert_eq!(told, (31, NO_MATCH.into()), "{parts:?}");
        }
    }
    for call in [
        "device_list",
        "delete_client",
        "get_client_script",
        "create_new_client",
    ] {
        assert_eq!(
            bed.bare(call, &refs(&whole)).await.verdict().0,
            32,
            "{call}"
        );
    }
    let first = [("api_key", "bad"), ("dbid", &whole[0].1)];
    let first = [&first[..], &refs(&whole[1..])].concat();
    assert_eq!(
        bed.bare("client_status", &first).await.verdict().0,
        32,
        "the key is looked at first"
    );
    let no_ports: Vec<_> = whole
        .iter()
        .filter(|(name, _)| *name != "ports_id")
        .cloned()
        .collect();
    let spelled = [
        ("db_server_key", no_ports[0].1.clone()),
        ("public_key", public_key()),
    ];
    let spelled = [&no_ports[1..], &spelled].concat();
    let query: Vec<String> = refs(&spelled)
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    let form = Some("application/x-www-form-urlencoded");
    let path = "/init/my/upload_public_key.json";
    let body = query.join("&");
    let reply = http::send(bed.http, bed.from, "POST", path, form, body.as_bytes()).await;
    assert_eq!(reply.verdict(), ok);
}

pub(crate) async fn the_rate_of_a_key_is_one_budget(bed: &Bed) {
    let key = bed
        .make_key(KeyWish {
            rate: 3,
            ..KeyWish::default()
        })
        .await;
    let ask = async |call: &str| bed.bare(call, &[("api_key", key.as_str())]).await;
    for call in ["device_list", "create_new_client", "client_status"] {
        assert_ne!(ask(call).await.verdict().0, 22);
    }
    let reply = ask("device_list").await;
    assert_eq!(reply.verdict(), (22, "Too many API calls".into()));
    assert_eq!(reply.status, 429);
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=20).contains(&seconds));
    assert_eq!(
        bed.code("device_list", &[("limit", "0")]).await,
        31,
        "another key has its own"
    );
}

pub(crate) async fn quadruples_have_a_rate_per_device(bed: &Bed) {
    let busy = bed.quadruple(&bed.device(&[]).await).await;
    let calm = bed.quadruple(&bed.device(&[]).await).await;
    let mut passed = 0;
    while bed.bare("client_status", &refs(&busy)).await.verdict().0 != 22 {
        passed += 1;
        assert!(passed < 200, "60 a minute");
    }
    assert!(passed >= 60, "{passed}");
    assert_eq!(
        bed.bare("client_status", &refs(&calm)).await.verdict().1,
        "offline"
    );
}

pub(crate) async fn guessing_is_limited_per_address(bed: &Bed) {
    let guess = async |from: IpAddr| {
        let target = "/init/api/device_list?api_key=guess";
        http::send(bed.http, from, "GET", target, None, b"")
            .await
            .verdict()
            .0
    };
    let guesser = IpAddr::from([127, 0, 1, 1]);
    let mut refused = 0;
    while guess(guesser).await == 32 {
        refused += 1;
        assert!(refused < 200, "60 a minute");
    }
    assert!(refused >= 60, "{refused}");
    let target = format!("/init/api/device_list?api_key={}", bed.key);
    let reply = http::send(bed.http, guesser, "GET", &target, None, b"").await;
    assert_eq!(reply.status, 200, "a good key still works from there");
    let target = "/init/api/client_status?dbid=x&host_uuid=x&ports_id=1&user_id=1";
    let reply = http::send(bed.http, guesser, "GET", target, None, b"").await;
    assert_eq!(
        (reply.status, reply.verdict().0),
        (429, 22),
        "wrong quadruples count too"
    );
    assert_eq!(guess(IpAddr::from([127, 0, 1, 2])).await, 32);
}
