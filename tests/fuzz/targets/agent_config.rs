//! The agent's configuration: any file and any kernel command line is understood or refused with a reason.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use moorline_agent::config::{ConfigFile, kernel_settings};

fuzz_target!(|text: &str| {
    for (name, _) in kernel_settings(text) {
        assert!(!name.contains('='));
    }
    let checked = ConfigFile::parse(text, Path::new("agent.toml")).and_then(ConfigFile::check);
    if let Err(error) = checked {
        assert!(!error.to_string().is_empty());
    }
});
