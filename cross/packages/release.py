"""What all packages of one version have in common: version, date and the files they are made of."""

from __future__ import annotations

import os
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

NAME = "moorline-agent"
MAINTAINER = "The Moorline authors <moorline@users.noreply.github.com>"
SUMMARY = "holds the way home for this device"
DESCRIPTION = (
    "The agent enrols the device with its Moorline server at first boot, keeps its",
    "identity for life and holds a reverse SSH tunnel, so that operators reach the",
    "device by name wherever it is and whatever router it is behind.",
)


@dataclass(frozen=True)
class Release:
    """A version of the agent in the repository at `root`; every file in its packages carries `epoch`."""

    root: Path
    version: str
    homepage: str
    licence: str
    epoch: int

    @classmethod
    def of(cls, root: Path) -> Release:
        """Reads version and date. The date is SOURCE_DATE_EPOCH, else that of the last commit."""
        with (root / "Cargo.toml").open("rb") as file:
            package = tomllib.load(file)["workspace"]["package"]
        return cls(root, package["version"], package["repository"], package["license"], _epoch(root))

    def text(self, path: str) -> bytes:
        """A file of the repository."""
        return (self.root / path).read_bytes()

    def dist(self, name: str) -> bytes:
        """A file that an image installs beside the binary."""
        return self.text(f"agent/dist/{name}")


def _epoch(root: Path) -> int:
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    try:
        last = subprocess.run(
            ["git", "-C", str(root), "log", "-1", "--format=%ct"],
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit("no git history here: set SOURCE_DATE_EPOCH to the date of the release") from error
    return int(last.stdout)
