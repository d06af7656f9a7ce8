"""The bill of materials names the crates of this target: no more, no fewer, each with licence and checksum."""

from __future__ import annotations

import hashlib
import json
import subprocess
import unittest
from pathlib import Path

import workshop
from packages import sbom
from targets import chosen
from workshop import ROOT


class ABillOfMaterialsNamesWhatIsLinked(unittest.TestCase):
    def setUp(self) -> None:
        self.target = chosen(["armv7"])[0]
        self.graph = sbom.crates(ROOT, self.target)
        noted = Path(self.enterContext(workshop.temporary())) / "compilers"
        self.assertEqual(sbom.tools(noted), [])
        noted.write_text("rustc 1.96.0\nzig 0.17.1\n")
        made_with = sbom.tools(noted)
        name, text = sbom.build(workshop.release(), self.target, workshop.STAND_IN, self.graph, made_with)
        self.assertTrue(name.endswith("-armv7.cdx.json"))
        self.document = json.loads(text)
        self.components = {part["bom-ref"]: part for part in self.document["components"]}

    def test_it_is_about_this_binary(self) -> None:
        about = self.document["metadata"]["component"]
        self.assertEqual((self.document["bomFormat"], self.document["specVersion"]), ("CycloneDX", "1.5"))
        self.assertEqual(about["name"], "moorline-agent")
        self.assertEqual(about["hashes"][0]["content"], hashlib.sha256(workshop.STAND_IN).hexdigest())
        self.assertRegex(self.document["serialNumber"], r"^urn:uuid:[0-9a-f-]{36}$")

    def test_linked_crates_are_what_the_compiler_is_given(self) -> None:
        """Asked in another way: the unit graph, which is what cargo builds, without what runs on the host."""
        command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", self.target.triple]
        shown = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        metadata = json.loads(shown.stdout)
        macros = {
            f"pkg:cargo/{package['name']}@{package['version']}"
            for package in metadata["packages"]
            if any("proc-macro" in target["kind"] for target in package["targets"])
        }
        everything = {f"pkg:cargo/{package['name']}@{package['version']}" for package in metadata["packages"]}
        linked = {
            ref for ref, part in self.components.items() if part["scope"] == "required" and ref.startswith("pkg:cargo")
        }
        self.assertLess(linked, everything)
        self.assertEqual(linked & macros, set())
        names = {self.components[ref]["name"] for ref in linked}
        self.assertLessEqual({"russh", "ring", "rustls", "reqwest", "tokio", "moorline-protocol"}, names)
        for absent in ("sea-orm", "axum", "rcgen", "tempfile", "windows-sys", "cc", "syn", "openssl"):
            self.assertNotIn(absent, names)
        self.assertIn(
            "serde_derive", {part["name"] for part in self.components.values() if part["scope"] == "excluded"}
        )

    def test_every_crate_has_licence_and_checksum_and_every_edge_leads_somewhere(self) -> None:
        own = {"moorline-agent", "moorline-protocol"}
        for part in self.components.values():
            if part.get("purl", "").startswith("pkg:cargo/"):
                self.assertTrue(part["licenses"][0]["expression"], part["name"])
                self.assertNotIn("/", part["licenses"][0]["expression"])
                self.assertTrue(part["name"] in own or len(part["hashes"][0]["content"]) == 64, part["name"])
        known = {*self.components, self.document["metadata"]["component"]["bom-ref"]}
        for edge in self.document["dependencies"]:
            self.assertLessEqual({edge["ref"], *edge["dependsOn"]}, known)

    def test_compiler_linker_and_libraries_beside_the_crates_are_named(self) -> None:
        self.assertEqual(self.components["pkg:generic/rustc@1.96.0"]["scope"], "excluded")
        self.assertEqual(self.components["pkg:generic/zig@0.17.1"]["scope"], "excluded")
        self.assertEqual(self.components["rust-std"]["version"], "1.96.0")
        self.assertEqual(self.components["musl"]["scope"], "required")


if __name__ == "__main__":
    unittest.main()
