//! The way to the server: link, proxy and names.

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::Finding;
use crate::cli::Exit;
use crate::config::Config;
use crate::enrol;
use crate::state::Identity;
use crate::tunnel::dial;

pub(super) fn link() -> Finding {
    let up = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let mut usable: Vec<String> = getifaddrs()
        .into_iter()
        .flatten()
        .filter(|entry| {
            entry.flags.contains(up) && !entry.flags.contains(InterfaceFlags::IFF_LOOPBACK)
        })
        .filter(|entry| {
            let address = entry.address.as_ref();
            address.is_some_and(|address| {
                address.as_sockaddr_in().is_some() || address.as_sockaddr_in6().is_some()
            })
        })
        .map(|entry| entry.interface_name)
        .collect();
    usable.sort();
    usable.dedup();
    if usable.is_empty() {
        // Not bad by itself: the server may be this machine.
        return Finding::doubtful(
            "link",
            "no network interface is up with an address",
            "plug in the cable, check the radio link, check DHCP",
        );
    }
    Finding::good("link", format!("up with an address: {}", usable.join(", ")))
}

/// Name of the setting that sends API calls through a proxy.
fn proxy_setting(config: &Config, identity: Option<&Identity>) -> Option<&'static str> {
    let https = enrol::api_url(config, identity).is_none_or(|url| url.scheme() == "https");
    let names: &[&str] = if https {
        &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
    } else {
        &["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
    };
    let set = |name: &&&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    names.iter().find(set).copied()
}

pub(super) fn proxy(config: &Config, identity: Option<&Identity>) -> Finding {
    match proxy_setting(config, identity) {
        None => Finding::good("proxy", "none is set"),
        Some(name) => Finding::doubtful(
            "proxy",
            format!("API calls go through the proxy of {name}; the tunnel does not"),
            "the SSH port of the node must be reachable without a proxy",
        ),
    }
}

pub(super) async fn name(config: &Config, identity: Option<&Identity>) -> Finding {
    let Some(url) = enrol::api_url(config, identity) else {
        let hint = "set api_url in /etc/moorline/agent.toml, or MOORLINE_API_URL";
        return Finding::bad("dns", Exit::Usage, "no api_url is configured", hint);
    };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(443);
    let found = dial::lookup(host, port).await;
    if found.is_err() && proxy_setting(config, identity).is_some() {
        let says = format!("{host} has no address here; the proxy looks it up");
        return Finding::skipped("dns", says);
    }
    match found {
        Ok(addresses) => {
            let count = addresses.len();
            Finding::good("dns", format!("{host} has {count} address(es)"))
        }
        Err(error) => Finding::bad(
            "dns",
            Exit::Unreachable,
            error.to_string(),
            "check /etc/resolv.conf and the name in api_url",
        ),
    }
}
