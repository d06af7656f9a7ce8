"""The notices that the licences of the linked crates ask for: one text file, each wording once."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from targets import Target

from .sbom import Crate

_NAMES = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")
_LINE = "-" * 100

_ALSO = """Rust's standard library: MIT OR Apache-2.0, copyright The Rust Project Contributors.
musl, the C library: MIT, copyright 2005-2020 Rich Felker, et al.
Both under the words of the MIT License below.
"""


def notices(graph: dict[str, Crate], folders: dict[str, Path]) -> bytes:
    """The file for everything that is linked in; `folders` comes from `sources`."""
    wordings: dict[str, list[str]] = defaultdict(list)
    lines = ["Libraries in moorline-agent and their licences", "", _ALSO]
    for purl, crate in sorted(graph.items()):
        if not crate.linked or purl not in folders:
            continue
        lines.append(f"{crate.name} {crate.version}: {crate.licence}")
        for file in _texts(folders[purl]):
            text = "\n".join(line.rstrip() for line in file.read_text("utf-8", "replace").splitlines())
            wordings[text.strip()].append(f"{crate.name} {crate.version}")
    for text, users in sorted(wordings.items(), key=lambda item: item[1]):
        lines += ["", _LINE, ", ".join(dict.fromkeys(users)), _LINE, text]
    return ("\n".join(lines) + "\n").encode()


def sources(root: Path, targets: Iterable[Target]) -> dict[str, Path]:
    """Where the sources of the crates from a registry are, by package URL."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    for target in targets:
        command += ["--filter-platform", target.triple]
    shown = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout
    return {
        f"pkg:cargo/{package['name']}@{package['version']}": Path(package["manifest_path"]).parent
        for package in json.loads(shown)["packages"]
        if package["source"] is not None
    }


def _texts(folder: Path) -> Iterable[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.name.upper().startswith(_NAMES) and path.suffix != ".rs"
    )
