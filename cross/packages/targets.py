"""`cross/targets.toml`, as far as packages need it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """One machine the agent is built for."""

    name: str
    triple: str
    buildroot: str
    openwrt: tuple[str, ...]
    debian: str | None

    def binary(self, binaries: Path) -> Path:
        """Where `cross/build` leaves the agent for this target, below `binaries`."""
        return binaries / self.triple / "moorline-agent"


def load(root: Path) -> list[Target]:
    """Reads the list of the repository at `root`."""
    with (root / "cross/targets.toml").open("rb") as file:
        entries = tomllib.load(file)["target"]
    return [
        Target(
            name=entry["name"],
            triple=entry["triple"],
            buildroot=entry["buildroot"],
            openwrt=tuple(entry["openwrt"]),
            debian=entry.get("debian"),
        )
        for entry in entries
    ]
