//! Notes the build time: the earliest time a device's clock can honestly show.
use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok();
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    };
    let build_time = given.and_then(|text| text.parse().ok()).unwrap_or_else(now);
    let mut out = std::io::stdout();
    std::io::Write::write_all(
        &mut out,
        format!(
            "cargo::rustc-env=MOORLINE_BUILD_TIME={build_time}\n\
             cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH\ncargo::rerun-if-changed=build.rs\n"
        )
        .as_bytes(),
    )
    .unwrap_or_default();
}
