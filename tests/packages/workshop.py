"""What the package stories share: the packaging code, stand-ins for the agent, and cross/dist run on them.

A stand-in is a shell script. Packages are made and installed the same way whatever the program is, and the real one is
only there after a cross build.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "cross"))

from packages.release import Release  # noqa: E402
from targets import chosen  # noqa: E402

EPOCH = 1_790_000_000

# Notes each start, and stays as a service does.
STAND_IN = b"""#!/bin/sh
case "${1:-run}" in
run)
    echo "run $MOORLINE_STAND_IN" >>/run/moorline-agent.starts
    exec sleep 1000
    ;;
version) echo "moorline-agent stand-in" ;;
esac
exit
"""


def release(version: str | None = None) -> Release:
    """The version of this repository, or another one, dated `EPOCH`."""
    os.environ["SOURCE_DATE_EPOCH"] = str(EPOCH)
    real = Release.of(ROOT)
    return Release(ROOT, version or real.version, real.homepage, real.licence, EPOCH)


def stand_ins(folder: Path) -> Path:
    """A folder like target/cross, with a stand-in for every target."""
    for target in chosen([]):
        binary = folder / target.triple / "moorline-agent"
        binary.parent.mkdir(parents=True)
        binary.write_bytes(STAND_IN + target.name.encode())
        binary.chmod(0o755)
    return folder


def dist(out: Path, binaries: Path, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs cross/dist."""
    command = [str(ROOT / "cross/dist"), "--binaries", str(binaries), "--output", str(out), *arguments]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), **options.pop("env", {})}  # type: ignore[dict-item]
    return subprocess.run(command, capture_output=True, text=True, env=environment, **options)  # type: ignore[call-overload]


def listing(archive: bytes) -> dict[str, tuple[str, int]]:
    """Path, kind (`-` or `d`) and mode of what is in a tar archive; everything must belong to root."""
    found = {}
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        for member in tar:
            if (member.uid, member.gid, member.mtime) != (0, 0, EPOCH):
                raise AssertionError(f"{member.name}: {member.uid}:{member.gid} {member.mtime}")
            found[member.name.removeprefix("./")] = ("d" if member.isdir() else "-", member.mode)
    return found


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    """The same of a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        kind = "l" if path.is_symlink() else "d" if path.is_dir() else "-"
        mode = 0 if kind == "l" else path.stat().st_mode & 0o7777
        found[str(path.relative_to(folder))] = (kind, mode)
    return found


def temporary() -> tempfile.TemporaryDirectory[str]:
    """A folder that is gone afterwards."""
    return tempfile.TemporaryDirectory(prefix="moorline-packages-")
