"""The bill of materials of one binary: CycloneDX 1.5, as JSON.

The crates are those cargo resolves for this target and this package alone, with the features that are really on, not
the whole of Cargo.lock. Scope `required` is linked into the program; `excluded` ran at build time only: build scripts,
procedural macros, the compiler.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tomllib
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from targets import Target, load

from .release import NAME, Release

# "2russh v0.65.1|Apache-2.0|ring", with remarks in parentheses after version and line.
_LINE = re.compile(r"(?P<depth>\d+)(?P<name>\S+) v(?P<version>[^\s|]+)[^|]*\|(?P<licence>[^|]*)\|(?P<features>\S*)")


@dataclass
class Crate:
    """A crate in the graph of one target."""

    name: str
    version: str
    licence: str
    features: list[str]
    linked: bool = False
    needs: set[str] = field(default_factory=set)

    @property
    def purl(self) -> str:
        """Its package URL, which is also its reference inside the document."""
        return f"pkg:cargo/{self.name}@{self.version}"


def crates(root: Path, target: Target) -> dict[str, Crate]:
    """Every crate that goes into the agent for `target`, by package URL."""
    graph = _tree(root, target, "normal,build")
    for purl in _tree(root, target, "normal,no-proc-macro"):
        graph[purl].linked = True
    return graph


def build(
    release: Release, target: Target, binary: bytes, graph: dict[str, Crate], made_with: list[dict[str, Any]]
) -> tuple[str, bytes]:
    """The name of the document and its bytes; `made_with` comes from `tools`."""
    checksums = _checksums(release.root)
    agent = next(crate for crate in graph.values() if crate.name == NAME)
    components = [_component(crate, checksums) for purl, crate in sorted(graph.items()) if crate is not agent]
    components += _runtime(made_with) + made_with
    needs = {crate.purl: sorted(crate.needs) for crate in graph.values()}
    needs[agent.purl] = sorted([*agent.needs, *(part["bom-ref"] for part in _runtime(made_with))])
    document: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": _iso(release.epoch),
            "component": {
                **_component(agent, checksums),
                "type": "application",
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(binary).hexdigest()}],
                "properties": [
                    {"name": "moorline:target", "value": target.triple},
                    {"name": "moorline:linking", "value": "static"},
                ],
            },
        },
        "components": components,
        "dependencies": [{"ref": ref, "dependsOn": list(on)} for ref, on in sorted(needs.items())],
    }
    # From the content, so that the same content has the same number.
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digest)}"
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    return f"{NAME}-{release.version}-{target.name}.cdx.json", text.encode()


def tools(noted: Path) -> list[dict[str, Any]]:
    """What made the binary, as `cross/build` noted it beside it; nothing is known of one that came another way."""
    if not noted.is_file():
        return []
    found = []
    for line in noted.read_text().splitlines():
        name, version = line.split()
        purl = f"pkg:generic/{name}@{version}"
        about = {"type": "application", "bom-ref": purl, "name": name, "version": version, "purl": purl}
        found.append({**about, "scope": "excluded"})
    return found


def _tree(root: Path, target: Target, edges: str) -> dict[str, Crate]:
    command = ["cargo", "tree", "--locked", "--quiet", "--package", NAME, "--target", target.triple]
    command += ["--features", ",".join(load()[0].features), "--edges", edges, "--prefix", "depth", "--format", "{p}|{l}|{f}"]
    shown = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Crate] = {}
    path: list[Crate] = []
    for line in shown.splitlines():
        match = _LINE.match(line)
        if match is None:
            raise SystemExit(f"cargo tree printed a line that is not understood: {line}")
        crate = Crate(
            name=match["name"],
            version=match["version"],
            licence=match["licence"].replace("/", " OR "),
            features=sorted(filter(None, match["features"].split(","))),
        )
        crate = found.setdefault(crate.purl, crate)
        del path[int(match["depth"]) :]
        if path:
            path[-1].needs.add(crate.purl)
        path.append(crate)
    return found


def _component(crate: Crate, checksums: dict[str, str]) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": crate.purl,
        "name": crate.name,
        "version": crate.version,
        "purl": crate.purl,
        "scope": "required" if crate.linked else "excluded",
    }
    if crate.licence:
        component["licenses"] = [{"expression": crate.licence}]
    if crate.purl in checksums:
        component["hashes"] = [{"alg": "SHA-256", "content": checksums[crate.purl]}]
    if crate.features:
        component["properties"] = [{"name": "cargo:features", "value": ",".join(crate.features)}]
    return component


def _checksums(root: Path) -> dict[str, str]:
    with (root / "Cargo.lock").open("rb") as file:
        packages = tomllib.load(file)["package"]
    return {
        f"pkg:cargo/{package['name']}@{package['version']}": package["checksum"]
        for package in packages
        if "checksum" in package
    }


def _runtime(made_with: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is linked in beside the crates: Rust's standard library, of the compiler's version, and the C library."""
    std: dict[str, Any] = {
        "type": "library",
        "bom-ref": "rust-std",
        "name": "rust-std",
        "scope": "required",
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
    }
    for tool in made_with:
        if tool["name"] == "rustc":
            std["version"] = tool["version"]
            std["purl"] = f"pkg:generic/rust-std@{tool['version']}"
    musl = {
        "type": "library",
        "bom-ref": "musl",
        "name": "musl",
        "purl": "pkg:generic/musl",
        "scope": "required",
        "licenses": [{"expression": "MIT"}],
    }
    return [std, musl]


def _iso(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
