"""Archives whose bytes depend on nothing but their content: sorted, owned by root, one time for all."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Entry:
    """A file, or a folder where `data` is None. `path` has no slash at its beginning."""

    path: str
    mode: int
    data: bytes | None


def folder(path: str, mode: int = 0o755) -> Entry:
    """A folder that is there even if nothing is in it, or that needs a mode of its own."""
    return Entry(path, mode, None)


def with_parents(entries: Iterable[Entry]) -> list[Entry]:
    """The entries and every folder above them, sorted, each once."""
    by_path: dict[str, Entry] = {}
    for entry in entries:
        if entry.path in by_path:
            raise ValueError(f"two entries at {entry.path}")
        by_path[entry.path] = entry
    for path in list(by_path):
        for parent in PurePosixPath(path).parents:
            if str(parent) != ".":
                by_path.setdefault(str(parent), folder(str(parent)))
    return [by_path[path] for path in sorted(by_path, key=lambda path: path.split("/"))]


def tar(entries: Iterable[Entry], mtime: int, prefix: str = "") -> bytes:
    """A tar archive; `prefix` is put before each path ("./" in packages, with an entry for the root itself)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        if prefix == "./":
            archive.addfile(_info("./", 0o755, mtime, tarfile.DIRTYPE))
        for entry in with_parents(entries):
            path = prefix + entry.path
            if entry.data is None:
                archive.addfile(_info(path, entry.mode, mtime, tarfile.DIRTYPE))
            else:
                info = _info(path, entry.mode, mtime, tarfile.REGTYPE)
                info.size = len(entry.data)
                archive.addfile(info, io.BytesIO(entry.data))
    return out.getvalue()


def bundle(members: Iterable[tuple[str, bytes]], mtime: int) -> bytes:
    """A tar archive of a few files in the order given."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in members:
            info = _info(name, 0o644, mtime, tarfile.REGTYPE)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def gz(data: bytes, level: int = 9) -> bytes:
    """gzip without a name and without a time."""
    return gzip.compress(data, compresslevel=level, mtime=0)


def xz(data: bytes) -> bytes:
    """xz as `dpkg-deb` makes it."""
    return lzma.compress(data, preset=6)


def ar(members: Iterable[tuple[str, bytes]], mtime: int) -> bytes:
    """An archive of the common ar form, as Debian packages are."""
    out = io.BytesIO()
    out.write(b"!<arch>\n")
    for name, data in members:
        out.write(f"{name:<16}{mtime:<12}{0:<6}{0:<6}{0o100644:<8o}{len(data):<10}`\n".encode())
        out.write(data + b"\n" * (len(data) % 2))
    return out.getvalue()


def _info(path: str, mode: int, mtime: int, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.mode, info.mtime, info.type = mode, mtime, kind
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return info
