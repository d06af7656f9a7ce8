//! Settings from the kernel command line and from the environment, for factory lines and containers.

use super::ConfigError;
use super::file::{ConfigFile, SETTINGS};

/// Where the kernel shows its command line; `MOORLINE_KERNEL_CMDLINE` names another file.
const KERNEL_COMMAND_LINE: &str = "/proc/cmdline";

/// The `moorline.<name>=<value>` words of a kernel command line, in order. A value may be quoted to hold blanks.
/// What follows `--` belongs to init and is left alone.
#[must_use]
pub fn kernel_settings(command_line: &str) -> Vec<(String, String)> {
    let words = words(command_line);
    words
        .iter()
        .take_while(|word| *word != "--")
        .filter_map(|word| {
            let (name, value) = word.strip_prefix("moorline.")?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// Splits at blanks outside double quotes and drops the quotes, as the kernel does.
fn words(command_line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in command_line.chars() {
        if c == '"' {
            quoted = !quoted;
        } else if c.is_ascii_whitespace() && !quoted {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        } else {
            word.push(c);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Applies the kernel command line; gives back the names that are no settings. A typing mistake there must not
/// keep a device from running, so it is told, not refused.
pub(super) fn apply_kernel(file: &mut ConfigFile) -> Result<Vec<String>, ConfigError> {
    let path =
        std::env::var_os("MOORLINE_KERNEL_CMDLINE").unwrap_or_else(|| KERNEL_COMMAND_LINE.into());
    // Without /proc there is no command line to read.
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut unknown = Vec::new();
    for (name, value) in kernel_settings(&text) {
        if SETTINGS.contains(&name.as_str()) {
            file.set(&name, &value)?;
        } else {
            unknown.push(format!("moorline.{name}"));
        }
    }
    Ok(unknown)
}

/// Applies `MOORLINE_<NAME>`; `trust.ca_file` is `MOORLINE_TRUST_CA_FILE`. An empty value counts as absent.
pub(super) fn apply_environment(
    file: &mut ConfigFile,
    get: impl Fn(&str) -> Option<String>,
) -> Result<(), ConfigError> {
    for name in SETTINGS {
        let variable = format!("MOORLINE_{}", name.to_ascii_uppercase().replace('.', "_"));
        if let Some(value) = get(&variable).filter(|value| !value.is_empty()) {
            file.set(name, &value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_command_line_is_split_as_the_kernel_does() {
        let line = "console=ttyS0 moorline.api_url=https://m.example moorline.name=\"a b\" \
                    \"moorline.prefix=c d\" moorline.flag quiet -- moorline.region=init\n";
        let settings = kernel_settings(line);
        let expected = [
            ("api_url", "https://m.example"),
            ("name", "a b"),
            ("prefix", "c d"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(settings, expected);
        assert!(kernel_settings("").is_empty());
        assert!(kernel_settings("\"").is_empty());
    }

    #[test]
    fn the_environment_reaches_every_setting() {
        let value_of = |name: &str| match name {
            "fwport" => "22",
            "keep_api_key" => "on",
            "type" => "random",
            "profile" => "lte",
            "log" => "warn",
            "api_url" => "https://x",
            "trust.server_spki_sha256" => {
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=, \
                 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
            }
            _ => "/x",
        };
        let mut seen = 0;
        for setting in SETTINGS {
            let variable = format!("MOORLINE_{}", setting.to_uppercase().replace('.', "_"));
            let mut file = ConfigFile::default();
            let before = format!("{file:?}");
            apply_environment(&mut file, |name| {
                (name == variable).then(|| value_of(setting).to_owned())
            })
            .unwrap();
            assert_ne!(format!("{file:?}"), before, "{setting}");
            file.check().unwrap();
            seen += 1;
        }
        assert_eq!(seen, 16);
    }

    #[test]
    fn a_key_from_outside_replaces_the_key_file_of_the_file() {
        let mut file = ConfigFile::default();
        file.set("api_key_file", "/etc/key").unwrap();
        file.set("api_key", "secret").unwrap();
        assert!(matches!(
            file.check().unwrap().api_key,
            crate::config::KeySource::Given(_)
        ));
    }
}
