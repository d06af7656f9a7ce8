"""The `.deb`: systemd unit and sysvinit script, state kept on remove and removed on purge."""

from __future__ import annotations

import hashlib
from email.utils import formatdate

from targets import Target

from .archive import Entry, ar, gz, tar, xz
from .release import DESCRIPTION, MAINTAINER, NAME, SUMMARY, Release

CONFFILES = ("/etc/init.d/moorline-agent", "/etc/moorline/agent.toml")
SCRIPTS = ("postinst", "prerm", "postrm")
_SOURCE = "cross/packages/debian"


def files(release: Release, binary: bytes, licences: bytes) -> list[Entry]:
    """What is installed."""
    doc = f"usr/share/doc/{NAME}"
    return [
        Entry(f"usr/bin/{NAME}", 0o755, binary),
        Entry("etc/moorline/agent.toml", 0o600, release.dist("agent.toml")),
        Entry(f"etc/init.d/{NAME}", 0o755, release.dist("moorline-agent.init")),
        Entry(f"usr/lib/systemd/system/{NAME}.service", 0o644, release.dist("moorline-agent.service")),
        Entry(f"usr/share/man/man8/{NAME}.8.gz", 0o644, gz(release.dist("moorline-agent.8"))),
        Entry(f"usr/share/lintian/overrides/{NAME}", 0o644, release.text(f"{_SOURCE}/lintian-overrides")),
        Entry(f"{doc}/README.md", 0o644, release.dist("README.md")),
        Entry(f"{doc}/copyright", 0o644, release.text(f"{_SOURCE}/copyright")),
        Entry(f"{doc}/third-party-licenses.gz", 0o644, gz(licences)),
        Entry(f"{doc}/changelog.gz", 0o644, gz(_changelog(release))),
    ]


def build(release: Release, target: Target, binary: bytes, licences: bytes) -> tuple[str, bytes]:
    """The name of the package and its bytes, for a target that Debian has a name for."""
    installed = files(release, binary, licences)
    kibibytes = sum(-(-len(entry.data or b"") // 1024) for entry in installed)
    control = "".join(
        f"{line}\n"
        for line in (
            f"Package: {NAME}",
            f"Version: {release.version}",
            f"Architecture: {target.debian}",
            f"Maintainer: {MAINTAINER}",
            f"Installed-Size: {kibibytes}",
            # deb-systemd-helper and invoke-rc.d, which the scripts call.
            "Pre-Depends: init-system-helpers (>= 1.54~)",
            "Section: net",
            "Priority: optional",
            f"Homepage: {release.homepage}",
            f"Description: {SUMMARY}",
            *(f" {line}" for line in DESCRIPTION),
        )
    )
    sums = "".join(
        f"{hashlib.md5(entry.data, usedforsecurity=False).hexdigest()}  {entry.path}\n"
        for entry in sorted(installed, key=lambda entry: entry.path)
        if entry.data is not None and f"/{entry.path}" not in CONFFILES
    )
    meta = [
        Entry("control", 0o644, control.encode()),
        Entry("md5sums", 0o644, sums.encode()),
        Entry("conffiles", 0o644, "".join(f"{path}\n" for path in CONFFILES).encode()),
    ]
    meta += [Entry(name, 0o755, release.text(f"{_SOURCE}/{name}")) for name in SCRIPTS]
    package = ar(
        [
            ("debian-binary", b"2.0\n"),
            ("control.tar.xz", xz(tar(meta, release.epoch, "./"))),
            ("data.tar.xz", xz(tar(installed, release.epoch, "./"))),
        ],
        release.epoch,
    )
    return f"{NAME}_{release.version}_{target.debian}.deb", package


def _changelog(release: Release) -> bytes:
    """Debian's form, with the date of the release; what changed is told in one place."""
    return (
        f"{NAME} ({release.version}) unstable; urgency=medium\n\n"
        f"  * Release {release.version}: {release.homepage}/blob/main/CHANGELOG.md\n\n"
        f" -- {MAINTAINER}  {formatdate(release.epoch)}\n"
    ).encode()
