"""The recipes: what they install, on every init system and machine, and when they rightly refuse."""

import struct
import tomllib
from collections.abc import Callable
from pathlib import Path

from bitbake import LAYER, Refused, installed, parse, run, scratch, unpack

REPOSITORY = LAYER.parent
TARGETS = tomllib.loads((REPOSITORY / "cross" / "targets.toml").read_text())["target"]
INIT_SYSTEMS = ("systemd", "sysvinit", "systemd sysvinit")
# Machines as OpenEmbedded describes them: TARGET_ARCH, TUNE_FEATURES, MACHINEOVERRIDES, and the target that fits.
MACHINES = (
    ("x86_64", "m64 corei7", "qemux86-64", "x86_64"),
    ("aarch64", "aarch64 armv8a crc cortexa57", "aarch64:qemuarm64", "aarch64"),
    ("arm", "arm vfp cortexa15 neon vfpv4 thumb callconvention-hard", "armv7ve:qemuarm", "armv7"),
    ("arm", "arm armv7a vfp thumb", "armv7a:board", "armv7"),
    ("arm", "armv8a cortexa32 crc callconvention-hard neon", "armv8a:board", "armv7"),
    ("arm", "arm vfp arm1176jzs callconvention-hard", "armv6:raspberrypi", "armv6"),
    ("arm", "arm thumb dsp arm926ejs", "armv5:board", "armv5te"),
    ("mipsel", "o32 mips32r2 24kc", "board", "mipsel"),
    ("mips", "o32 bigendian fpu-hard mips32r2", "qemumips", "mips"),
    ("riscv64", "riscv64", "qemuriscv64", "riscv64"),
    ("riscv64", "rv 64 i m a f d c zicsr zifencei", "qemuriscv64", "riscv64"),
)
# Machines that none of our binaries runs on; building other things for them must go on.
STRANGERS = (
    ("arm", "arm thumb arm920t", "armv4:board"),
    ("arm", "armv7m cortexm3", "armv7m:board"),
    ("mips", "o32 bigendian fpu-hard mips32", "board"),
    ("riscv64", "riscv64 riscv64nf", "board"),
    ("powerpc", "m32 fpu-hard", "qemuppc"),
)
FROM_SOURCE, PREBUILT, CONFIGURATION = "moorline-agent", "moorline-agent-bin", "moorline-agent-conf"

PROGRAM = ["0755 /usr/", "0755 /usr/bin/", "0755 /usr/bin/moorline-agent"]
UNIT = ["0755 /usr/lib/", "0755 /usr/lib/systemd/", "0755 /usr/lib/systemd/system/",
        "0644 /usr/lib/systemd/system/moorline-agent.service"]
SCRIPT = ["0755 /etc/", "0755 /etc/init.d/", "0755 /etc/init.d/moorline-agent"]
SETTINGS = ["0755 /etc/", "0755 /etc/moorline/", "0600 /etc/moorline/agent.toml"]
KEY = ["0600 /etc/moorline/api_key"]
MOUNT = ["0755 /usr/", "0755 /usr/lib/", "0755 /usr/lib/systemd/", "0755 /usr/lib/systemd/system/",
         "0755 /usr/lib/systemd/system/moorline-agent.service.d/",
         "0644 /usr/lib/systemd/system/moorline-agent.service.d/state.conf"]


def same(got: object, wanted: object, what: str) -> None:
    """Fails with both values."""
    if got != wanted:
        raise AssertionError(f"{what}:\n  got    {got}\n  wanted {wanted}")


def by_path(entries: list[str]) -> list[str]:
    """Sorted like `installed`, each once."""
    return sorted(set(entries), key=lambda entry: entry.split(" ", 1)[1].rstrip("/").split("/"))


def refused(what: str, why: str, action: Callable[[], object]) -> None:
    """The action must be refused with a message that says `why`."""
    try:
        action()
    except Refused as error:
        if why not in str(error):
            raise AssertionError(f"{what} was refused, but not because `{why}`: {error}") from error
        return
    raise AssertionError(f"{what} was not refused")


def elf(wide: bool, big: bool, segments: tuple[int, ...] = (1,)) -> bytes:
    """The start of a program with these segments: 1 is code, 3 names a dynamic loader."""
    order = ">" if big else "<"
    head = b"\x7fELF" + bytes([2 if wide else 1, 2 if big else 1, 1]) + bytes(9)
    size, entry = (64, 56) if wide else (52, 32)
    word = "Q" if wide else "I"
    head += struct.pack(f"{order}HHI{word}{word}{word}IHHHHHH", 2, 0, 1, 0, size, 0, 0, size, entry, len(segments), 0, 0, 0)
    return head + b"".join(struct.pack(f"{order}I", kind) + bytes(entry - 4) for kind in segments)


def put_binaries(folder: Path, segments: tuple[int, ...] = (1,)) -> Path:
    """A folder as cross/build leaves it, with stand-ins of the right word size and byte order."""
    for target in TARGETS:
        binary = folder / target["triple"] / "moorline-agent"
        binary.parent.mkdir(parents=True, exist_ok=True)
        arch = target["oe"]["arch"]
        binary.write_bytes(elf(arch.endswith("64"), arch == "mips", segments))
    return folder


def site(folder: Path, **more: str) -> dict[str, str]:
    """Settings of a build: a recent series that unpacks below the work folder, unless said otherwise."""
    usual = {"TARGET_ARCH": "aarch64", "TUNE_FEATURES": "aarch64", "MACHINEOVERRIDES": "board", "RUSTVERSION": "1.94.1%",
             "UNPACKDIR": "${WORKDIR}/sources", "MOORLINE_BINARIES": str(folder / "binaries")}
    return {name: value for name, value in (usual | more).items() if value}


def install(recipe: str, folder: Path, settings: dict[str, str], appends: list[Path] | None = None) -> list[str]:
    """Unpacks and installs; returns modes and paths."""
    data = parse(recipe, folder, settings, appends)
    unpack(data)
    if recipe == FROM_SOURCE:
        program = Path(data.expand("${B}/target/${CARGO_TARGET_SUBDIR}/moorline-agent"))
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("")
        program.chmod(0o755)
    run(data, "do_configure", "do_install")
    return installed(data)


def every_recipe_parses_and_its_files_exist() -> str:
    """With the layouts of old and new series; LICENSE and version as the repository has them."""
    recipes = sorted(LAYER.glob("recipes-*/*/*.bb"))
    files = 0
    version = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    for recipe in recipes:
        name = recipe.stem.split("_")[0]
        for unpackdir in ("", "${WORKDIR}/sources"):
            with scratch() as folder:
                put_binaries(folder / "binaries")
                data = parse(name, folder, site(folder, UNPACKDIR=unpackdir))
                files += unpack(data)
                if name in (FROM_SOURCE, PREBUILT):
                    same(data.getVar("PV"), version, f"version of {name}")
                check_licence(data)
                check_sums(data)
    same(len(recipes), 5, "recipes")
    return f"{len(recipes)} recipes in 2 layouts, {files} file:// entries"


def check_licence(data: object) -> None:
    """LIC_FILES_CHKSUM is the checksum of the file it names."""
    from hashlib import md5
    for entry in (data.getVar("LIC_FILES_CHKSUM") or "").split():
        name, wanted = entry.removeprefix("file://").split(";md5=")
        same(md5((Path(data.getVar("S")) / name).read_bytes()).hexdigest(), wanted, f"checksum of {name}")


def check_sums(data: object) -> None:
    """Every crate has its checksum."""
    for uri in data.getVar("SRC_URI").split():
        if uri.startswith("crate://"):
            name, version = uri.split("/")[-2:]
            if len(data.getVarFlag("SRC_URI", f"{name}-{version}.sha256sum") or "") != 64:
                raise AssertionError(f"{uri} has no checksum")


def both_agents_install_the_same_on_every_init_system_and_machine() -> str:
    """Program, unit and init script, with their modes."""
    runs = 0
    seen = set()
    for features in INIT_SYSTEMS:
        wanted = list(PROGRAM)
        wanted += UNIT if "systemd" in features else []
        wanted += SCRIPT if "sysvinit" in features else []
        for arch, tune, overrides, target in MACHINES:
            for recipe in (FROM_SOURCE, PREBUILT):
                with scratch() as folder:
                    put_binaries(folder / "binaries")
                    settings = site(folder, TARGET_ARCH=arch, TUNE_FEATURES=tune, MACHINEOVERRIDES=overrides,
                                    DISTRO_FEATURES=features)
                    same(install(recipe, folder, settings), by_path(wanted), f"{recipe} on {arch} with {features}")
                    if recipe == PREBUILT:
                        triple = parse(recipe, folder, settings).getVar("MOORLINE_TRIPLE")
                        same(triple, next(t["triple"] for t in TARGETS if t["name"] == target), f"triple for {tune}")
                        seen.add(target)
                    runs += 1
    same(seen, {target["name"] for target in TARGETS}, "targets that were installed")
    same(runs, len(INIT_SYSTEMS) * len(MACHINES) * 2, "installs")
    return f"{runs} installs: {len(INIT_SYSTEMS)} init systems, {len(MACHINES)} machines, 2 recipes"


def a_build_that_cannot_have_an_agent_goes_on() -> str:
    """Recipes take themselves out, with the reason, where Rust is too old, no binary fits or none was built."""
    cases = 0
    with scratch() as folder:
        put_binaries(folder / "binaries")
        for series, rust, choice in (("kirkstone", "1.59%", PREBUILT), ("scarthgap", "1.75%", PREBUILT),
                                     ("walnascar", "1.84.1%", PREBUILT), ("whinlatter", "1.90.0%", FROM_SOURCE),
                                     ("wrynose", "1.94.1%", FROM_SOURCE)):
            settings = site(folder, RUSTVERSION=rust)
            group = parse("packagegroup-moorline", folder, settings)
            same(group.getVar("RDEPENDS:packagegroup-moorline").split(), [choice, CONFIGURATION], f"agent on {series}")
            if choice == PREBUILT:
                refused(f"building from source on {series}", "use moorline-agent-bin",
                        lambda settings=settings: parse(FROM_SOURCE, folder, settings))
            cases += 1
        for arch, tune, overrides in STRANGERS:
            settings = site(folder, TARGET_ARCH=arch, TUNE_FEATURES=tune, MACHINEOVERRIDES=overrides)
            refused(f"{arch} {tune}", "no static agent", lambda settings=settings: parse(PREBUILT, folder, settings))
            cases += 1
        missing = site(folder, MOORLINE_BINARIES=str(folder / "nowhere"))
        refused("a binary that was not built", "cross/build", lambda: parse(PREBUILT, folder, missing))
        put_binaries(folder / "binaries", (3, 1))
        refused("a dynamic program", "linked dynamically", lambda: install(PREBUILT, folder, site(folder)))
        (folder / "binaries" / "aarch64-unknown-linux-musl" / "moorline-agent").write_text("#!/bin/sh\n")
        refused("a script", "no ELF program", lambda: install(PREBUILT, folder, site(folder)))
    return f"{cases + 3} cases"


def the_source_is_cut_down_to_the_agent() -> str:
    """do_configure leaves a workspace that cargo accepts without network and without changing the lock file."""
    import subprocess
    with scratch() as folder:
        data = parse(FROM_SOURCE, folder, site(folder))
        unpack(data)
        run(data, "do_configure")
        source = Path(data.getVar("S"))
        command = ["cargo", "metadata", "--frozen", "--format-version", "1", "--quiet", "--no-deps"]
        done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
        same((done.returncode, done.stderr), (0, ""), "cargo metadata --frozen")
        packages = tomllib.loads((source / "Cargo.lock").read_text())["package"]
        fetched = [uri for uri in data.getVar("SRC_URI").split() if uri.startswith("crate://")]
        same(sorted(f"crate://crates.io/{p['name']}/{p['version']}" for p in packages if "source" in p), sorted(fetched),
             "crates in the recipe and in its lock file")
        flags = data.getVar("CARGO_BUILD_FLAGS")
        for flag in ("--frozen", "--profile device", "--package moorline-agent"):
            if flag not in flags:
                raise AssertionError(f"{flag} is missing in {flags}")
    return f"{len(fetched)} crates"


def the_site_is_configured_by_two_variables() -> str:
    """agent.toml and key with mode 0600, settings in their places, and bad settings refused by name."""
    runs = 0
    with scratch() as folder:
        key = folder / "factory.key"
        key.write_text("secret-of-the-factory\n")
        for more, wanted, settings in (
            ({}, SETTINGS, {}),
            ({"MOORLINE_API_URL": "https://m.example:8080/base"}, SETTINGS, {"api_url": "https://m.example:8080/base"}),
            ({"MOORLINE_API_URL": "https://m.example", "MOORLINE_API_KEY_FILE": str(key)}, SETTINGS + KEY,
             {"api_url": "https://m.example", "api_key_file": "/etc/moorline/api_key"}),
            ({"MOORLINE_STATE_DIR": "/data/moorline"}, SETTINGS + MOUNT, {"state_dir": "/data/moorline"}),
            ({"MOORLINE_STATE_DIR": "/data/moorline", "DISTRO_FEATURES": "sysvinit"}, SETTINGS,
             {"state_dir": "/data/moorline"}),
        ):
            with scratch() as work:
                got = install(CONFIGURATION, work, site(work, **more))
                same(got, by_path(wanted), f"files with {more}")
                data = parse(CONFIGURATION, work, site(work, **more))
                text = (Path(data.getVar("D")) / "etc/moorline/agent.toml").read_text()
                same({k: v for k, v in tomllib.loads(text).items() if k != "trust"}, settings, f"agent.toml with {more}")
                wants_key = ["moorline-agent-conf-key"] if "MOORLINE_API_KEY_FILE" in more else []
                same(data.getVar(f"RDEPENDS:{CONFIGURATION}").split(), wants_key, "packages it needs")
                if "secret" in data.getVar("SRC_URI") or "secret" in text:
                    raise AssertionError("the key is where it should not be")
                runs += 1
        bad = wrong_settings(folder)
        for name, value, why in bad:
            refused(f"{name}={value!r}", why, lambda n=name, v=value: install(CONFIGURATION, folder, site(folder, **{n: v})))
    same((runs, len(bad)), (5, 11), "settings tried")
    return f"{runs} accepted, {len(bad)} refused"


def wrong_settings(folder: Path) -> list[tuple[str, str, str]]:
    """Variable, value, and a part of what must be said."""
    (folder / "empty.key").write_text("\n")
    (folder / "two.key").write_text("one two\n")
    return [
        ("MOORLINE_API_URL", "ftp://m.example", "must begin with https://"),
        ("MOORLINE_API_URL", "m.example", "must begin with https://"),
        ("MOORLINE_API_URL", "https://user:word@m.example", "nothing else"),
        ("MOORLINE_API_URL", "https://m.example/?key=1", "nothing else"),
        ("MOORLINE_API_URL", "https://m.example:port", "MOORLINE_API_URL"),
        ("MOORLINE_API_KEY_FILE", str(folder / "missing.key"), "No such file"),
        ("MOORLINE_API_KEY_FILE", str(folder / "empty.key"), "the key and nothing else"),
        ("MOORLINE_API_KEY_FILE", str(folder / "two.key"), "the key and nothing else"),
        ("MOORLINE_API_KEY_FILE", "factory.key", "begin with /"),
        ("MOORLINE_STATE_DIR", "data/moorline", "begin with /"),
        ("MOORLINE_STATE_DIR", "/data/moor line", "free of spaces"),
    ]


def a_site_brings_its_own_settings_by_a_bbappend() -> str:
    """The two variables are applied over the agent.toml of the site, also where it has no line for them."""
    with scratch() as folder:
        files = folder / "files"
        files.mkdir()
        (files / "agent.toml").write_text('prefix = "cam"\n[trust]\nca_file = "/etc/moorline/ca.pem"\n')
        append = folder / f"{CONFIGURATION}_%.bbappend"
        append.write_text('FILESEXTRAPATHS:prepend := "${THISDIR}/files:"\n')
        settings = site(folder, MOORLINE_API_URL="https://m.example")
        install(CONFIGURATION, folder, settings, [append])
        data = parse(CONFIGURATION, folder, settings, [append])
        got = tomllib.loads((Path(data.getVar("D")) / "etc/moorline/agent.toml").read_text())
        same(got, {"api_url": "https://m.example", "prefix": "cam", "trust": {"ca_file": "/etc/moorline/ca.pem"}}, "settings")
    return "1 bbappend"


STORIES = (
    every_recipe_parses_and_its_files_exist,
    both_agents_install_the_same_on_every_init_system_and_machine,
    a_build_that_cannot_have_an_agent_goes_on,
    the_source_is_cut_down_to_the_agent,
    the_site_is_configured_by_two_variables,
    a_site_brings_its_own_settings_by_a_bbappend,
)
