//! What the device tells about itself: host name, boot, and a short inventory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Longest value, in bytes; the whole inventory may have 4096.
const MAX_VALUE_BYTES: usize = 200;

/// Places of a single value, the first that exists counts.
const FILES: [(&str, &[&str]); 4] = [
    (
        "model",
        &[
            "proc/device-tree/model",
            "sys/class/dmi/id/product_name",
            "tmp/sysinfo/model",
        ],
    ),
    (
        "serial",
        &[
            "proc/device-tree/serial-number",
            "sys/class/dmi/id/product_serial",
        ],
    ),
    (
        "board",
        &["tmp/sysinfo/board_name", "sys/class/dmi/id/board_name"],
    ),
    ("image", &["etc/moorline/image-version"]),
];

/// Keys of os-release(5) that are told.
const OS_RELEASE: [(&str, &str); 3] = [
    ("PRETTY_NAME=", "os"),
    ("IMAGE_VERSION=", "image"),
    ("BUILD_ID=", "os_build"),
];

/// What the device calls itself.
#[must_use]
pub fn hostname() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    tidy(&name.to_string_lossy()).unwrap_or_default()
}

/// Changes with every boot.
#[must_use]
pub fn boot_id() -> String {
    read(Path::new("/proc/sys/kernel/random/boot_id")).unwrap_or_default()
}

/// Main memory in KiB; 0 when unknown.
#[must_use]
pub fn memory_kib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    parse_memory(&text).unwrap_or(0)
}

/// Short inventory of the machine whose root folder is `root`.
#[must_use]
pub fn hardware(root: &Path) -> BTreeMap<String, String> {
    let mut inventory = BTreeMap::new();
    if let Ok(kernel) = nix::sys::utsname::uname() {
        for (name, value) in [("arch", kernel.machine()), ("kernel", kernel.release())] {
            if let Some(value) = tidy(&value.to_string_lossy()) {
                inventory.insert(name.to_owned(), value);
            }
        }
    }
    let os_release = read_long(&root.join("etc/os-release")).unwrap_or_default();
    for line in os_release.lines() {
        for (prefix, name) in OS_RELEASE {
            let value = line.strip_prefix(prefix);
            if let Some(value) = value.and_then(|value| tidy(value.trim_matches('"'))) {
                inventory.insert(name.to_owned(), value);
            }
        }
    }
    for (name, paths) in FILES {
        if let Some(value) = paths.iter().find_map(|path| read(&root.join(path))) {
            inventory.insert(name.to_owned(), value);
        }
    }
    let memory = memory_kib();
    if memory > 0 {
        inventory.insert("memory_mib".into(), (memory / 1024).to_string());
    }
    inventory
}

fn read(path: &Path) -> Option<String> {
    tidy(&read_long(path)?)
}

fn read_long(path: &Path) -> Option<String> {
    fs::read(path)
        .ok()
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// One line of printable characters; device tree values end in NUL, DMI ones are sometimes blank.
fn tidy(text: &str) -> Option<String> {
    let line = text.lines().next().unwrap_or_default();
    let printable: String = line.chars().filter(|c| !c.is_control()).collect();
    let mut value = printable.trim();
    while value.len() > MAX_VALUE_BYTES {
        let mut shorter = value.chars();
        shorter.next_back();
        value = shorter.as_str();
    }
    (!value.is_empty()).then(|| value.to_owned())
}

fn parse_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inventory_is_gathered_from_the_usual_places() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, bytes: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        put("proc/device-tree/model", b"Raspberry Pi 4\0");
        put(
            "etc/os-release",
            b"PRETTY_NAME=\"Poky 5.0\"\nIMAGE_VERSION=7\n",
        );
        put("sys/class/dmi/id/product_serial", b" \n");
        let inventory = hardware(root.path());
        assert_eq!(inventory["model"], "Raspberry Pi 4");
        assert_eq!(inventory["os"], "Poky 5.0");
        assert_eq!(inventory["image"], "7");
        assert!(inventory.contains_key("arch") && !inventory.contains_key("serial"));
    }

    #[test]
    fn values_are_cut_at_a_character() {
        let value = tidy(&"ö".repeat(300)).unwrap();
        assert_eq!(value.len(), 200);
        assert_eq!(
            parse_memory("MemTotal:       32104 kB\nMemFree: 1 kB\n"),
            Some(32_104)
        );
    }
}
