"""`cross/targets.toml` in the words of the image builders; `cross/lists` writes the files."""

from __future__ import annotations

from targets import chosen

_MADE_BY = "# Made by cross/lists from cross/targets.toml.\n"


def lists() -> dict[str, str]:
    """Path in the repository, and what the file must hold."""
    known = chosen([])
    kconfig = "".join(f'\tdefault "{target.triple}" if {target.buildroot}\n' for target in known)
    variables = "".join(
        f"MOORLINE_TRIPLE_{architecture}:={target.triple}\n" for target in known for architecture in target.openwrt
    )
    return {
        "yocto-layer/buildroot/package/moorline-agent/Config.in.targets": (
            f"{_MADE_BY}config BR2_PACKAGE_MOORLINE_AGENT_TRIPLE\n\tstring\n{kconfig}"
        ),
        "yocto-layer/openwrt/moorline-agent/targets.mk": _MADE_BY + variables,
    }
