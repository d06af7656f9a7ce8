//! Sections 6 and 7: egress IPs and their test.

use super::walk::Walk;

const IPS: &str = "/v1/admin/egress-ips";

/// An egress IP on the wire; `more` is what only its kind of tunnel has.
fn egress_ip(id: &str, label: &str, address: &str, status: &str, more: &str) -> String {
    format!(
        r#"{{"id":"<uuid:{id}>","label":"{label}","ip_address":"{address}","provider":"manual","status":"{status}",{more},"created_at":"<time>","updated_at":"<time>"}}"#
    )
}

fn in_envelope(ip: &str) -> String {
    format!(r#"{{"egress_ip":{ip}}}"#)
}

pub(super) fn egress_ips(walk: &mut Walk) {
    walk.carry("admin_token");
    let plain = r#""tunnel_type":"wireguard","wg_allowed_ips":"0.0.0.0/0","wg_client_public_key":"<wireguard:exit_key>""#;
    let exit = egress_ip("exit", "exit", "203.0.113.10", "available", plain);
    // RFC 7748, section 6.1: Alice's key pair.
    let whole = r#""tunnel_type":"wireguard","wg_endpoint":"vpn.example.net:51820","wg_public_key":"3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=","wg_allowed_ips":"0.0.0.0/0","wg_dns_server":"10.0.0.1","wg_peer_address":"10.0.0.2/32","wg_client_public_key":"hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=""#;
    let full = egress_ip("full", "full", "2001:db8::7", "available", whole);
    let proxy = |label: &str, status: &str, server: &str| {
        let config = format!(
            r#""tunnel_type":"proxy","wg_allowed_ips":"","proxy_config":{{"password":"***","server":"{server}","server_port":443,"tls":{{"enabled":true}},"type":"trojan"}}"#
        );
        egress_ip("proxy", label, "203.0.113.11", status, &config)
    };
    let with =
        |address: &str, more: &str| format!(r#"{{"label":"x","ip_address":"{address}"{more}}}"#);
    walk.rows(&[
        ("GET", IPS, "", 200, r#"{"egress_ips":[]}"#),
        ("POST", IPS, r#"{"label":" exit ","ip_address":"203.0.113.10"}"#, 201, &in_envelope(&exit)),
        ("POST", IPS, r#"{"label":"full","ip_address":"2001:db8::7","wg_endpoint":"vpn.example.net:51820","wg_public_key":"3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=","wg_private_key":"dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=","wg_preshared_key":"hush hush","wg_dns_server":"10.0.0.1","wg_peer_address":"10.0.0.2/32","proxy_config":{"type":"socks"}}"#, 201, &in_envelope(&full)),
        ("POST", IPS, r#"{"label":"proxy","ip_address":"203.0.113.11","tunnel_type":"proxy","wg_endpoint":"dropped:1","proxy_config":{"type":"trojan","server":"p.example.net","server_port":443,"password":"hush hush","tls":{"enabled":true}}}"#, 201, &in_envelope(&proxy("proxy", "available", "p.example.net"))),
        ("POST", IPS, "{}", 400, "label is required"),
        ("POST", IPS, r#"{"label":" ","ip_address":"x"}"#, 400, "label is required"),
        ("POST", IPS, r#"{"label":"a\u0000","ip_address":"192.0.2.1"}"#, 400, "invalid request body"),
        ("POST", IPS, r#"{"label":"x"}"#, 400, "invalid ip address"),
        ("POST", IPS, &with("203.0.113", ""), 400, "invalid ip address"),
        ("POST", IPS, &with("192.0.2.1", r#","tunnel_type":"ssh""#), 400, "tunnel_type must be wireguard or proxy"),
        ("POST", IPS, &with("203.0.113.10", ""), 409, "ip address already exists"),
        ("POST", IPS, &with("2001:db8:0::7", ""), 409, "ip address already exists"),
    ]);
    outbounds_are_checked_in_order(walk);
    let path = |name: &str| format!("{IPS}/<{name}>");
    let renamed = proxy("proxy", "disabled", "q.example.net");
    walk.rows(&[
        ("GET", IPS, "", 200, &format!(r#"{{"egress_ips":[{},{full},{exit}]}}"#, proxy("proxy", "available", "p.example.net"))),
        ("GET", &path("proxy"), "", 200, &in_envelope(&proxy("proxy", "available", "p.example.net"))),
        // What is shown can be sent back, and an absent secret stays as well.
        ("PUT", &path("proxy"), r#"{"status":"disabled","proxy_config":{"type":"trojan","server":"q.example.net","server_port":443,"password":"***","tls":{"enabled":true}}}"#, 200, &in_envelope(&renamed)),
        ("PUT", &path("proxy"), r#"{"proxy_config":{"type":"trojan","server":"q.example.net","server_port":443,"tls":{"enabled":true}}}"#, 200, &in_envelope(&renamed)),
        ("PUT", &path("proxy"), r#"{"proxy_config":{"type":"trojan","server":"q.example.net","server_port":443,"password":""}}"#, 400, "proxy_config.password is required for trojan"),
        ("PUT", &path("proxy"), r#"{"proxy_config":null}"#, 400, "proxy_config is required for proxy tunnel type"),
        ("PUT", &path("proxy"), r#"{"status":"gone"}"#, 400, "status must be available or disabled"),
        ("PUT", &path("proxy"), r#"{"label":null}"#, 400, "label is required"),
        ("PUT", &path("proxy"), r#"{"ip_address":"203.0.113.10"}"#, 409, "ip address already exists"),
        ("PUT", &path("proxy"), r#"{"tunnel_type":"tin can"}"#, 400, "tunnel_type must be wireguard or proxy"),
        // A new kind of tunnel needs its own fields, and null empties one that is optional.
        ("PUT", &path("full"), r#"{"tunnel_type":"proxy"}"#, 400, "proxy_config is required for proxy tunnel type"),
        ("PUT", &path("full"), r#"{"wg_dns_server":null}"#, 200, &in_envelope(&full.replace(r#","wg_dns_server":"10.0.0.1""#, ""))),
        ("PUT", &path("proxy"), r#"{"tunnel_type":"wireguard"}"#, 200, &in_envelope(&egress_ip("proxy", "proxy", "203.0.113.11", "disabled", r#""tunnel_type":"wireguard","wg_allowed_ips":"0.0.0.0/0","wg_client_public_key":"<wireguard>""#))),
        // Section 7: what has no other end cannot be built.
        ("POST", "/v1/admin/egress-ips/<exit>/test", "", 200, r#"{"status":"error","message":"<text>","tested_at":"<time>","results":{"connectivity":{"status":""},"egress_ip":{"status":""},"dns_leak":{"status":""}}}"#),
        ("DELETE", &path("full"), "", 204, ""),
    ]);
    for id in ["<full>", "<nobody>", "nonsense", "%FF"] {
        let path = format!("{IPS}/{id}");
        for (method, more, body) in [
            ("GET", "", ""),
            ("PUT", "", "{}"),
            ("DELETE", "", ""),
            ("POST", "/test", ""),
        ] {
            walk.row((
                method,
                &format!("{path}{more}"),
                body,
                404,
                "egress ip not found",
            ));
        }
    }
}

fn outbounds_are_checked_in_order(walk: &mut Walk) {
    let missing = "proxy_config is required for proxy tunnel type";
    let port = "proxy_config.server_port must be a positive integer (1-65535)";
    let unknown = "unsupported outbound type \"ssh\", allowed: socks, vmess, vless, shadowsocks, trojan, http";
    let none = unknown.replace("ssh", "");
    let at = |kind: &str, more: &str| {
        format!(r#"{{"type":"{kind}","server":"p.example.net","server_port":443{more}}}"#)
    };
    for (config, text) in [
        ("null".to_owned(), missing),
        ("{}".to_owned(), missing),
        (r#"{"server":"p"}"#.to_owned(), &none),
        (r#"{"type":"ssh"}"#.to_owned(), unknown),
        (
            r#"{"type":"vmess"}"#.to_owned(),
            "proxy_config.server is required",
        ),
        (r#"{"type":"vmess","server":"p"}"#.to_owned(), port),
        (
            r#"{"type":"vmess","server":"p","server_port":"443"}"#.to_owned(),
            port,
        ),
        (
            r#"{"type":"vmess","server":"p","server_port":0}"#.to_owned(),
            port,
        ),
        (
            r#"{"type":"vmess","server":"p","server_port":65536}"#.to_owned(),
            port,
        ),
        (at("vmess", ""), "proxy_config.uuid is required for vmess"),
        (at("vless", ""), "proxy_config.uuid is required for vless"),
        (
            at("shadowsocks", ""),
            "proxy_config.method is required for shadowsocks",
        ),
        (
            at("shadowsocks", r#","method":"aes-256-gcm""#),
            "proxy_config.password is required for shadowsocks",
        ),
        (
            at("trojan", ""),
            "proxy_config.password is required for trojan",
        ),
    ] {
        let body = format!(
            r#"{{"label":"x","ip_address":"192.0.2.1","tunnel_type":"proxy","proxy_config":{config}}}"#
        );
        walk.row(("POST", IPS, &body, 400, text));
    }
    for kind in ["socks", "http"] {
        let body = format!(
            r#"{{"label":"{kind}","ip_address":"192.0.2.1","tunnel_type":"proxy","proxy_config":{}}}"#,
            at(kind, "")
        );
        let shown = format!(
            r#""tunnel_type":"proxy","wg_allowed_ips":"","proxy_config":{{"server":"p.example.net","server_port":443,"type":"{kind}"}}"#
        );
        let made = egress_ip(kind, kind, "192.0.2.1", "available", &shown);
        walk.row(("POST", IPS, &body, 201, &in_envelope(&made)));
        walk.row(("DELETE", &format!("{IPS}/<{kind}>"), "", 204, ""));
    }
}
