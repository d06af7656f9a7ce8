"""`moorline-agent-<version>-<target>.tar.gz`: for hands, and for image builders without a recipe of ours."""

from __future__ import annotations

from targets import Target

from .archive import Entry, gz, tar
from .release import NAME, Release

# Everything of agent/dist: who unpacks an archive picks what his init system needs.
DIST = {
    "README.md": 0o644,
    "agent.toml": 0o600,
    "moorline-agent.8": 0o644,
    "moorline-agent.init": 0o755,
    "moorline-agent.openrc": 0o755,
    "moorline-agent.procd": 0o755,
    "moorline-agent.service": 0o644,
}


def build(release: Release, target: Target, binary: bytes, licences: bytes) -> tuple[str, bytes]:
    """The name of the archive and its bytes."""
    top = f"{NAME}-{release.version}-{target.name}"
    entries = [
        Entry(f"{top}/{NAME}", 0o755, binary),
        Entry(f"{top}/INSTALL.md", 0o644, release.text("cross/packages/INSTALL.md")),
        Entry(f"{top}/LICENSE", 0o644, release.text("LICENSE")),
        Entry(f"{top}/THIRD-PARTY-LICENSES.txt", 0o644, licences),
        Entry(
            f"{top}/dist/moorline.config",
            0o600,
            release.text("yocto-layer/openwrt/moorline-agent/files/moorline.config"),
        ),
    ]
    entries += [Entry(f"{top}/dist/{name}", mode, release.dist(name)) for name, mode in DIST.items()]
    return f"{top}.tar.gz", gz(tar(entries, release.epoch))
