"""The Buildroot package: its Kconfig read by kconfiglib, its commands run with a stub of Buildroot's make files."""

from __future__ import annotations

import os
import subprocess
import unittest
from pathlib import Path

import kconfiglib
import workshop
from targets import chosen
from workshop import ROOT

TREE = ROOT / "yocto-layer/buildroot"
PACKAGE = TREE / "package/moorline-agent"
SYMBOL = "BR2_PACKAGE_MOORLINE_AGENT"

# What the package's make file is read with in place of Buildroot's own.
STUB = """
qstrip = $(strip $(subst ",,$(1)))
INSTALL := install
SED := sed -i -e
RM := rm -f
define sep


endef
generic-package = KIND := generic
cargo-package = KIND := cargo
include $(BR2_EXTERNAL_MOORLINE_PATH)/external.mk
PKG := MOORLINE_AGENT
.PHONY: install show
show:
	@echo kind=$(KIND)
	@echo version=$(MOORLINE_AGENT_VERSION)
	@echo method=$(MOORLINE_AGENT_SITE_METHOD)
	@echo site=$(MOORLINE_AGENT_SITE)
	@echo subdir=$(MOORLINE_AGENT_SUBDIR)
	@printf '%s\\n' '$(subst $(sep),;,$(MOORLINE_AGENT_PERMISSIONS))'
build/.rsynced:
	mkdir -p $(@D) && cp $(MOORLINE_AGENT_SITE)/* $(@D)/
	$(foreach hook,$(MOORLINE_AGENT_POST_RSYNC_HOOKS),$($(hook))$(sep))
build/.installed:
	$(MOORLINE_AGENT_INSTALL_TARGET_CMDS)
	$(if $(BR2_INIT_SYSTEMD),$(MOORLINE_AGENT_INSTALL_INIT_SYSTEMD))
	$(if $(BR2_INIT_SYSV)$(BR2_INIT_BUSYBOX),$(MOORLINE_AGENT_INSTALL_INIT_SYSV))
	$(if $(BR2_INIT_OPENRC),$(MOORLINE_AGENT_INSTALL_INIT_OPENRC))
	$(foreach hook,$(MOORLINE_AGENT_POST_INSTALL_TARGET_HOOKS),$($(hook))$(sep))
"""

# The symbols of Buildroot that the package looks at, free to be set.
KCONFIG = """
mainmenu "stub"
{symbols}
config BR2_PACKAGE_HOST_RUSTC_TARGET_ARCH_SUPPORTS
	bool "rust"
config BR2_PACKAGE_HOST_RUSTC
	bool "rustc"
source "$BR2_EXTERNAL_MOORLINE_PATH/Config.in"
"""

COMMON = {
    "usr": ("d", 0o755),
    "usr/bin": ("d", 0o755),
    "usr/bin/moorline-agent": ("-", 0o755),
    "etc": ("d", 0o755),
    "etc/moorline": ("d", 0o700),
    "etc/moorline/agent.toml": ("-", 0o600),
}
INIT = {
    "SYSTEMD": {
        "usr/lib": ("d", 0o755),
        "usr/lib/systemd": ("d", 0o755),
        "usr/lib/systemd/system": ("d", 0o755),
        "usr/lib/systemd/system/moorline-agent.service": ("-", 0o644),
    },
    "SYSV": {"etc/init.d": ("d", 0o755), "etc/init.d/S80moorline-agent": ("-", 0o755)},
    "BUSYBOX": {"etc/init.d": ("d", 0o755), "etc/init.d/S80moorline-agent": ("-", 0o755)},
    "OPENRC": {
        "etc/init.d": ("d", 0o755),
        "etc/init.d/moorline-agent": ("-", 0o755),
        "etc/runlevels": ("d", 0o755),
        "etc/runlevels/default": ("d", 0o755),
        "etc/runlevels/default/moorline-agent": ("l", 0),
    },
}


class BuildrootInstallsForEveryInitSystem(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(workshop.temporary()))
        self.binaries = workshop.stand_ins(self.folder / "cross")
        (self.folder / "Makefile").write_text(STUB)

    def make(self, *goals: str, **settings: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "-s", "-C", str(self.folder), *goals, f"TARGET_DIR={self.folder}/target"]
        command += [f"BR2_EXTERNAL_MOORLINE_PATH={TREE}", f"{SYMBOL}_BINARIES={self.binaries}"]
        command += [f'{SYMBOL}_TRIPLE="mipsel-unknown-linux-musl"']
        command += [f"{name}={value}" for name, value in settings.items()]
        previous = os.umask(0o022)
        try:
            return subprocess.run(command, capture_output=True, text=True)
        finally:
            os.umask(previous)

    def install(self, init: str, **settings: str) -> Path:
        subprocess.run(["rm", "-rf", self.folder / "target", self.folder / "build"], check=True)
        settings[f"BR2_INIT_{init}"] = "y"
        ran = self.make("build/.rsynced", "build/.installed", **settings)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        return self.folder / "target"

    def test_each_init_system_gets_its_file_and_nothing_else(self) -> None:
        for init, files in INIT.items():
            installed = self.install(init)
            self.assertEqual(workshop.tree(installed), {**COMMON, **files}, init)
            self.assertEqual((installed / "usr/bin/moorline-agent").read_bytes(), workshop.STAND_IN + b"mipsel")
            self.assertEqual(
                (installed / "etc/moorline/agent.toml").read_bytes(), (ROOT / "agent/dist/agent.toml").read_bytes()
            )
        link = str((installed / "etc/runlevels/default/moorline-agent").readlink())
        self.assertEqual(link, "/etc/init.d/moorline-agent")

    def test_settings_reach_the_configuration_and_the_key_is_private(self) -> None:
        key = self.folder / "key"
        key.write_text("secret\n")
        settings = {
            f"{SYMBOL}_API_URL": '"https://moor.example.com/base"',
            f"{SYMBOL}_KEY_FILE": f'"{key}"',
            f"{SYMBOL}_STATE_DIR": '"/data/moorline"',
        }
        installed = self.install("BUSYBOX", **settings)
        toml = (installed / "etc/moorline/agent.toml").read_text().splitlines()
        active = [line for line in toml if line and not line.startswith("#")]
        self.assertEqual(
            active,
            [
                'api_url = "https://moor.example.com/base"',
                'api_key_file = "/etc/moorline/api_key"',
                'state_dir = "/data/moorline"',
                "[trust]",
            ],
        )
        stored = installed / "etc/moorline/api_key"
        self.assertEqual((stored.read_text(), stored.stat().st_mode & 0o777), ("secret\n", 0o600))
        shown = self.make("show", **settings).stdout
        for line in (
            "/etc/moorline d 700 0 0",
            "/etc/moorline/agent.toml f 600 0 0",
            "/etc/moorline/api_key f 600 0 0",
        ):
            self.assertIn(line, shown)
        self.assertNotIn("api_key", self.make("show").stdout)

    def test_a_configuration_without_a_place_for_a_setting_is_refused(self) -> None:
        own = self.folder / "own.toml"
        own.write_text('region = "eu"\n')
        installed = self.install("SYSV", **{f"{SYMBOL}_CONFIG": f'"{own}"'})
        self.assertEqual((installed / "etc/moorline/agent.toml").read_text(), 'region = "eu"\n')
        settings = {f"{SYMBOL}_CONFIG": f'"{own}"', f"{SYMBOL}_API_URL": '"https://m"', "BR2_INIT_SYSV": "y"}
        self.assertNotEqual(self.make("build/.installed", **settings).returncode, 0)

    def test_prebuilt_and_source_are_two_kinds_of_package(self) -> None:
        version = workshop.release().version
        prebuilt = dict(line.split("=", 1) for line in self.make("show").stdout.splitlines() if "=" in line)
        self.assertEqual((prebuilt["kind"], prebuilt["method"], prebuilt["version"]), ("generic", "local", version))
        settings = {f"{SYMBOL}_SOURCE": "y", f"{SYMBOL}_REVISION": '"v1"', f"{SYMBOL}_REPOSITORY": '"file:///clone"'}
        source = dict(line.split("=", 1) for line in self.make("show", **settings).stdout.splitlines() if "=" in line)
        self.assertEqual(
            source, {"kind": "cargo", "version": "v1", "method": "git", "site": "file:///clone", "subdir": "agent"}
        )
        hashes = (PACKAGE / "moorline-agent.hash").read_text()
        licence = subprocess.run(["sha256sum", ROOT / "LICENSE"], check=True, capture_output=True, text=True).stdout
        self.assertIn(f"sha256  {licence.split()[0]}  LICENSE\n", hashes)


class KconfigOffersWhatTheMachineCan(unittest.TestCase):
    def setUp(self) -> None:
        folder = Path(self.enterContext(workshop.temporary()))
        listed = (PACKAGE / "Config.in.targets").read_text()
        words = listed.replace("(", " ").replace(")", " ").replace("!", " ").split()
        symbols = sorted({word for word in words if word.startswith("BR2_")} - {f"{SYMBOL}_TRIPLE"})
        (folder / "Config.in").write_text(
            KCONFIG.format(symbols="".join(f'config {name}\n\tbool "{name}"\n' for name in symbols))
        )
        os.environ["BR2_EXTERNAL_MOORLINE_PATH"] = str(TREE)
        self.symbols = symbols
        self.kconfig = kconfiglib.Kconfig(str(folder / "Config.in"), warn_to_stderr=False)

    def chosen(self, *settings: str) -> dict[str, str]:
        self.kconfig.unset_values()
        for setting in settings:
            symbol = self.kconfig.syms[setting]
            symbol.set_value(2)
            self.assertEqual(symbol.str_value, "y", setting)
        return {name: symbol.str_value for name, symbol in self.kconfig.syms.items()}

    def test_every_symbol_resolves(self) -> None:
        self.assertEqual(self.kconfig.warnings, [])
        undefined = [
            name
            for name, symbol in self.kconfig.syms.items()
            if not symbol.nodes and not symbol.is_constant and name.startswith("BR2")
        ]
        self.assertEqual(undefined, [])

    def test_each_machine_finds_its_program(self) -> None:
        machines = {
            "x86_64": ["BR2_x86_64"],
            "aarch64": ["BR2_aarch64"],
            "armv7": ["BR2_arm", "BR2_ARM_CPU_ARMV7A", "BR2_ARM_EABIHF"],
            "armv6": ["BR2_arm", "BR2_ARM_CPU_ARMV6"],
            "armv5te": ["BR2_arm", "BR2_ARM_CPU_ARMV5"],
            "mipsel": ["BR2_mipsel", "BR2_MIPS_CPU_MIPS32R2"],
            "mips": ["BR2_mips", "BR2_MIPS_CPU_MIPS32R5"],
            "riscv64": ["BR2_RISCV_64", "BR2_RISCV_USE_MMU", "BR2_RISCV_ISA_RVD", "BR2_RISCV_ISA_RVC"],
        }
        known = chosen([])
        self.assertEqual([target.name for target in known], list(machines))
        for target in known:
            values = self.chosen(*machines[target.name], SYMBOL)
            self.assertEqual(values[f"{SYMBOL}_TRIPLE"], target.triple)
            self.assertEqual((values[f"{SYMBOL}_PREBUILT"], values["BR2_PACKAGE_HOST_RUSTC"]), ("y", "n"))

    def test_another_machine_needs_rust_and_one_without_rust_is_not_offered(self) -> None:
        self.kconfig.unset_values()
        self.kconfig.syms[SYMBOL].set_value(2)
        self.assertEqual(self.kconfig.syms[SYMBOL].str_value, "n")
        first_release_of_mips = self.chosen("BR2_mipsel")
        self.assertEqual(first_release_of_mips[f"{SYMBOL}_TRIPLE"], "")
        values = self.chosen("BR2_PACKAGE_HOST_RUSTC_TARGET_ARCH_SUPPORTS", SYMBOL)
        self.assertEqual((values[f"{SYMBOL}_SOURCE"], values["BR2_PACKAGE_HOST_RUSTC"]), ("y", "y"))
        values = self.chosen("BR2_PACKAGE_HOST_RUSTC_TARGET_ARCH_SUPPORTS", "BR2_x86_64", SYMBOL, f"{SYMBOL}_SOURCE")
        self.assertEqual((values[f"{SYMBOL}_PREBUILT"], values["BR2_PACKAGE_HOST_RUSTC"]), ("n", "y"))


if __name__ == "__main__":
    unittest.main()
