//! The server's configuration: any file is understood or refused, with a line that the file has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use moorline_server::config::file::ConfigFile;
use moorline_server::config::{Config, Overrides};

fuzz_target!(|text: &str| {
    match ConfigFile::parse(text) {
        Ok(file) => {
            if let Ok(config) = Config::combine(file, Overrides::default()) {
                assert!(config.ports.0 >= 1 && config.ports.0 <= config.ports.1);
                assert!(!config.http.is_empty() && !config.ssh.is_empty());
            }
        }
        Err((line, message)) => {
            assert!(line >= 1 && line <= 1 + text.matches('\n').count());
            assert!(!message.is_empty());
        }
    }
});
