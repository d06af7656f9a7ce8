//! `moorline version`.

use serde::Serialize;

use crate::output::Output;

/// Show the version of this program
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

/// Prints the version.
pub(crate) fn run(output: Output) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    output.data(&Version { version }, |output| {
        output.line(&format!("moorline {version}"))
    })
}
