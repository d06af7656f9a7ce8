"""The .ipk of `make dist` and the one that OpenWrt's build makes from the feed hold the same files."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
import unittest
from pathlib import Path

import workshop
from packages import builders, openwrt
from targets import chosen
from workshop import ROOT

FEED = ROOT / "yocto-layer/openwrt/moorline-agent"

# What the feed's Makefile is read with in place of OpenWrt's own: the same names and meanings, for one package.
RULES = """
empty:=
qstrip=$(strip $(subst ",,$(1)))
INSTALL_DIR:=install -d -m0755
INSTALL_BIN:=install -m0755
INSTALL_CONF:=install -m0600
INSTALL_DATA:=install -m0644
"""
PACKAGE = """
PKG_BUILD_DIR?=$(BUILD_DIR)/$(PKG_NAME)-$(PKG_VERSION)
PKG_INSTALL_DIR?=$(PKG_BUILD_DIR)/ipkg-install
define BuildPackage
$(eval $(Package/$(1)))
all:
	@echo 'title=$(TITLE)'
	@echo 'version=$(PKG_VERSION)-r$(PKG_RELEASE)'
	@echo 'section=$(SECTION)'
	@echo 'depends=$(PKG_BUILD_DEPENDS)'
	@echo 'rstrip=$(RSTRIP)'
	$(Build/Prepare)
	$(Build/Configure)
	$(Build/Compile)
	$(call Package/$(1)/install,$(IDIR))
	@echo 'conffiles=$(strip $(Package/$(1)/conffiles))'
endef
"""


def run_feed(folder: Path, architecture: str, *settings: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Evaluates the feed's Makefile and runs its steps; gives back the folder it installed into."""
    (folder / "include").mkdir(parents=True)
    (folder / "rules.mk").write_text(RULES)
    (folder / "include/package.mk").write_text(PACKAGE)
    installed = folder / "root"
    command = ["make", "-s", "-C", str(FEED), f"TOPDIR={folder}", f"INCLUDE_DIR={folder}/include"]
    command += [f"BUILD_DIR={folder}/build", f"IDIR={installed}", f"ARCH_PACKAGES={architecture}", *settings]
    return subprocess.run(command, capture_output=True, text=True), installed


class IpksHoldWhatTheFeedInstalls(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(workshop.temporary()))
        self.release = workshop.release()
        self.program = self.folder / "moorline-agent"
        self.program.write_bytes(workshop.STAND_IN)

    def members(self) -> dict[str, bytes]:
        shared = openwrt.data(self.release, workshop.STAND_IN)
        name, package = openwrt.build(self.release, "mips_24kc", shared)
        self.assertEqual(name, f"moorline-agent_{self.release.version}-r1_mips_24kc.ipk")
        outer = gzip.decompress(package)
        self.assertEqual(list(workshop.listing(outer)), ["debian-binary", "data.tar.gz", "control.tar.gz"])
        with tarfile.open(fileobj=io.BytesIO(outer)) as tar:
            return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]

    def test_files_and_modes_are_the_same(self) -> None:
        data = workshop.listing(gzip.decompress(self.members()["./data.tar.gz"]))
        in_ipk = {name: what for name, what in data.items() if name != "."}
        setting = f'CONFIG_MOORLINE_AGENT_BINARY="{self.program}"'
        result, installed = run_feed(self.folder / "make", "mips_24kc", setting)
        self.assertEqual(result.returncode, 0, result.stderr)
        said = dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)
        # OpenWrt's build turns conffiles that are not files of the package into a list for sysupgrade.
        keep = [path for path in said["conffiles"].split() if not (installed / path.lstrip("/")).is_file()]
        (installed / "lib/upgrade/keep.d").mkdir(parents=True)
        (installed / "lib/upgrade/keep.d/moorline-agent").write_text("".join(f"{path}\n" for path in keep))
        self.assertEqual(in_ipk, workshop.tree(installed))
        for entry in openwrt.files(self.release, workshop.STAND_IN):
            if entry.data is not None:
                self.assertEqual((installed / entry.path).read_bytes(), entry.data, entry.path)
        self.assertEqual(said["version"], f"{self.release.version}-{openwrt.REVISION}")
        self.assertEqual(said["rstrip"], ":", "the prebuilt program must stay as it is")
        self.assertEqual(said["depends"], "MOORLINE_AGENT_FROM_SOURCE:rust/host")

    def test_control_names_architecture_scripts_and_configuration(self) -> None:
        control = gzip.decompress(self.members()["./control.tar.gz"])
        self.assertEqual(
            workshop.listing(control),
            {
                ".": ("d", 0o755),
                "conffiles": ("-", 0o644),
                "control": ("-", 0o644),
                "postinst": ("-", 0o755),
                "prerm": ("-", 0o755),
            },
        )
        with tarfile.open(fileobj=io.BytesIO(control)) as tar:
            text = tar.extractfile("./control").read().decode()  # type: ignore[union-attr]
            conffiles = tar.extractfile("./conffiles").read()  # type: ignore[union-attr]
        self.assertEqual(conffiles, b"/etc/config/moorline\n")
        for line in ("Package: moorline-agent", "Architecture: mips_24kc", f"Version: {self.release.version}-r1"):
            self.assertIn(f"{line}\n", text)
        self.assertNotIn("Depends", text, "a static program needs nothing")

    def test_the_feed_takes_the_program_of_the_machine(self) -> None:
        for target in chosen([]):
            for architecture in target.openwrt:
                result, _ = run_feed(self.folder / architecture, architecture, "-n")
                self.assertIn(f"target/cross/{target.triple}/moorline-agent", result.stdout, architecture)
        result, _ = run_feed(self.folder / "vax", "vax")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("no prebuilt moorline-agent for vax", result.stderr)

    def test_from_source_cargo_gets_the_repository_without_what_was_built(self) -> None:
        folder = self.folder / "source"
        rust = folder / "feeds/packages/lang/rust"
        rust.mkdir(parents=True)
        program = "$(PKG_INSTALL_DIR)/bin/moorline-agent"
        cargo = f"@mkdir -p $(dir {program}) && cp $(PKG_BUILD_DIR)/$(1)/Cargo.toml {program}"
        (rust / "rust-package.mk").write_text(f"define Build/Compile/Cargo\n\t{cargo}\nendef\n")
        result, installed = run_feed(folder, "vax", "CONFIG_MOORLINE_AGENT_FROM_SOURCE=y")
        self.assertEqual(result.returncode, 0, result.stderr)
        built = (installed / "usr/bin/moorline-agent").read_bytes()
        self.assertEqual(built, (ROOT / "agent/Cargo.toml").read_bytes())
        copied = {path.name for path in next((folder / "build").iterdir()).iterdir()}
        self.assertIn("Cargo.lock", copied)
        self.assertNotIn("target", copied)
        self.assertIn("rstrip=\n", result.stdout, "OpenWrt strips what it builds")

    def test_an_architecture_belongs_to_one_target(self) -> None:
        every = [architecture for target in chosen([]) for architecture in target.openwrt]
        self.assertEqual(sorted(every), sorted(set(every)))

    def test_lists_of_the_image_builders_are_those_of_the_repository(self) -> None:
        for path, text in builders.lists().items():
            self.assertEqual((ROOT / path).read_text(), text, f"{path}: run cross/lists")


if __name__ == "__main__":
    unittest.main()
