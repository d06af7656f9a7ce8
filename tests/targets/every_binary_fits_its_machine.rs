use std::ffi::OsString;

use crate::elf::{EM_AARCH64, EM_ARM, EM_MIPS, EM_RISCV, EM_X86_64, Elf, Float, Order};
use harness::{Target, repository};

/// What the triple promises: bits, byte order, `e_machine` and float ABI.
fn promised(triple: &str) -> (u8, Order, u16, Float) {
    let (cpu, rest) = triple.split_once('-').unwrap();
    let arm_float = if rest.ends_with("eabihf") {
        Float::Hard
    } else {
        Float::Soft
    };
    match cpu {
        "x86_64" => (64, Order::Little, EM_X86_64, Float::Only),
        "aarch64" => (64, Order::Little, EM_AARCH64, Float::Only),
        "riscv64gc" => (64, Order::Little, EM_RISCV, Float::Hard),
        "mips" => (32, Order::Big, EM_MIPS, Float::Soft),
        "mipsel" => (32, Order::Little, EM_MIPS, Float::Soft),
        _ if cpu.starts_with("arm") => (32, Order::Little, EM_ARM, arm_float),
        _ => panic!("nothing is known about {cpu}"),
    }
}

fn read(target: &Target) -> Vec<u8> {
    std::fs::read(target.agent()).unwrap()
}

#[test]
fn every_binary_is_static_stripped_and_of_its_machine() {
    for target in Target::all() {
        let elf = Elf::parse(&read(&target));
        let is = (elf.bits, elf.order, elf.machine, elf.float);
        assert_eq!(is, promised(&target.triple), "{}: {elf:x?}", target.name);
        let loads = (elf.interpreter, elf.libraries);
        assert_eq!(loads, (false, 0), "{} is not static", target.name);
        assert!(
            elf.not_stripped.is_empty(),
            "{} is not stripped: {:?}",
            target.name,
            elf.not_stripped
        );
    }
}

#[test]
fn no_binary_names_a_folder_of_the_machine_that_built_it() {
    let mut folders = vec![
        repository().into_os_string(),
        "/.cargo/".into(),
        "/.rustup/".into(),
    ];
    // The home of root is no secret, and an agent may speak of files there.
    let other_home = |home: &OsString| home.len() > 1 && home != "/root";
    // A test has a home of its own; tests/bare tells that of the user.
    for name in ["HOME", "MOORLINE_USERS_HOME"] {
        folders.extend(std::env::var_os(name).filter(other_home));
    }
    folders.extend(std::env::var_os("CARGO_HOME"));
    for target in Target::all() {
        let bytes = read(&target);
        for folder in &folders {
            let needle = folder.as_encoded_bytes();
            let found = bytes.windows(needle.len()).position(|part| part == needle);
            if let Some(at) = found {
                let around = &bytes[at.saturating_sub(60)..(at + 120).min(bytes.len())];
                let around = String::from_utf8_lossy(around);
                panic!("{} holds {}: {around:?}", target.name, folder.display());
            }
        }
    }
}
