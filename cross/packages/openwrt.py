"""The `.ipk` for opkg, as OpenWrt's build system makes it from the feed in `yocto-layer/openwrt`.

One package per OpenWrt architecture, though several hold the same binary: opkg takes a package only if its
`Architecture` is one of `opkg print-architecture`, which on a router is its own name, `noarch` and `all`; and `all`
would let a MIPS program onto an ARM router. What they share is compressed once.
"""

from __future__ import annotations

from .archive import Entry, bundle, folder, gz, tar
from .release import DESCRIPTION, MAINTAINER, NAME, SUMMARY, Release

FEED = "yocto-layer/openwrt/moorline-agent"
# The revision of the packaging; PKG_RELEASE of the feed.
REVISION = "r1"

# What OpenWrt's build system puts into every package: enables and starts, or stops and disables, its service.
_SCRIPT = """#!/bin/sh
[ "${{IPKG_NO_SCRIPT}}" = "1" ] && exit 0
[ -s "${{IPKG_INSTROOT}}/lib/functions.sh" ] || exit 0
. "${{IPKG_INSTROOT}}/lib/functions.sh"
default_{0} "$0" "$@"
"""


def files(release: Release, binary: bytes) -> list[Entry]:
    """What is installed. The feed's Makefile installs the same; a test compares them."""
    return [
        Entry(f"usr/bin/{NAME}", 0o755, binary),
        Entry(f"etc/init.d/{NAME}", 0o755, release.dist("moorline-agent.procd")),
        Entry("etc/config/moorline", 0o600, release.text(f"{FEED}/files/moorline.config")),
        # For the provisioning key and the state folder.
        folder("etc/moorline", 0o700),
        Entry(f"lib/upgrade/keep.d/{NAME}", 0o644, b"/etc/moorline/\n"),
    ]


def data(release: Release, binary: bytes) -> tuple[bytes, int]:
    """The part that all architectures of one binary share, and its size when installed."""
    entries = files(release, binary)
    size = sum(len(entry.data or b"") for entry in entries)
    return gz(tar(entries, release.epoch, "./")), size


def build(release: Release, architecture: str, shared: tuple[bytes, int]) -> tuple[str, bytes]:
    """The name of the package and its bytes; `shared` comes from `data`."""
    version = f"{release.version}-{REVISION}"
    content, size = shared
    control = "".join(
        f"{line}\n"
        for line in (
            f"Package: {NAME}",
            f"Version: {version}",
            "Section: net",
            f"Architecture: {architecture}",
            f"Maintainer: {MAINTAINER}",
            f"Installed-Size: {size}",
            f"License: {release.licence}",
            f"URL: {release.homepage}",
            f"Description: Moorline agent: {SUMMARY}",
            *(f" {line}" for line in DESCRIPTION),
        )
    )
    scripts = [
        Entry("control", 0o644, control.encode()),
        Entry("conffiles", 0o644, b"/etc/config/moorline\n"),
        Entry("postinst", 0o755, _SCRIPT.format("postinst").encode()),
        Entry("prerm", 0o755, _SCRIPT.format("prerm").encode()),
    ]
    # In the order of OpenWrt's own.
    members = [
        ("./debian-binary", b"2.0\n"),
        ("./data.tar.gz", content),
        ("./control.tar.gz", gz(tar(scripts, release.epoch, "./"))),
    ]
    # The members are compressed already.
    return f"{NAME}_{version}_{architecture}.ipk", gz(bundle(members, release.epoch), level=1)
