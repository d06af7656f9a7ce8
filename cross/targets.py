"""Reads `targets.toml`, the one list of machines the agent is built for."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "target" / "cross"


@dataclass(frozen=True)
class Target:
    """One entry of the list; the fields are explained at the top of `targets.toml`."""

    name: str
    triple: str
    machine: str
    qemu_user: str
    qemu_cpu: str
    buildroot: str
    openwrt: list[str]
    rustflags: list[str] = field(default_factory=list)
    oe: dict = field(default_factory=dict)
    debian: str | None = None
    flash: int | None = None
    rss_kib: int | None = None
    system: dict | None = None

    @property
    def binary(self) -> Path:
        """Where `cross/build` leaves the agent for this target."""
        return BUILT / self.triple / "moorline-agent"

    @property
    def compilers(self) -> Path:
        """Where it notes what made the binary: a name and a version on each line."""
        return self.binary.with_name("compilers")


@dataclass(frozen=True)
class Build:
    """What holds for every target."""

    profile: str
    features: list[str]
    std: list[str]
    std_features: list[str]
    rustflags: list[str]
    cflags: list[str]


def load() -> tuple[Build, list[Target]]:
    """The whole list, in its order."""
    with (ROOT / "cross" / "targets.toml").open("rb") as file:
        content = tomllib.load(file)
    return Build(**content["build"]), [Target(**entry) for entry in content["target"]]


def chosen(names: list[str]) -> list[Target]:
    """The targets with these names or triples; all of them for no names. Ends the program on an unknown one."""
    _, targets = load()
    if not names:
        return targets
    by_name = {target.name: target for target in targets} | {target.triple: target for target in targets}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        known = ", ".join(target.name for target in targets)
        raise SystemExit(f"error: no target {', '.join(unknown)}\nhint: the targets are {known}, or their triples")
    return [by_name[name] for name in dict.fromkeys(names)]
