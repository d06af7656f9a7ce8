"""Turns the agent's binaries into archives, packages and bills of materials; `cross/dist` is the command.

| module | knows |
|---|---|
| `archive` | tar, gzip, xz and ar whose bytes depend on nothing but their content |
| `release` | version, date and the files every package is made of |
| `tarball`, `debian`, `openwrt` | one form of package each |
| `sbom`, `licences` | what is linked into a binary, and under which terms |

Only the standard library and `cross/targets.py` are needed.

*Invariant:* no module reads the clock, a user name or the order of a folder.
"""
