"""Drives the real BitBake parser, fetcher and task runner over the recipes of this layer.

Only the metadata of OpenEmbedded is a stand-in (`stub/`): as much of it as the recipes read.
"""

import logging
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECK = Path(__file__).resolve().parent
LAYER = CHECK.parent
STUB = CHECK / "stub"

sys.path.append(str(STUB / "lib"))

import bb  # noqa: E402
import bb.build  # noqa: E402
import bb.data  # noqa: E402
import bb.fetch2  # noqa: E402
import bb.parse  # noqa: E402
import bb.process  # noqa: E402
import bb.siggen  # noqa: E402
from bb.data_smart import DataSmart  # noqa: E402


class Said(logging.Handler):
    """Keeps what BitBake says."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Notes one message."""
        self.lines.append((record.levelname, record.getMessage()))

    def of(self, level: str) -> list[str]:
        """Messages of that level."""
        return [text for name, text in self.lines if name == level]


SAID = Said()
logger = logging.getLogger("BitBake")
logger.propagate = False
logger.setLevel(logging.WARNING)
logger.addHandler(SAID)


class Refused(Exception):
    """A recipe or class said no; the text is why."""


def configure(folder: Path, settings: dict[str, str]) -> DataSmart:
    """A configuration as BitBake has it before the first recipe: stub, layer, settings."""
    data = bb.data.init()
    data.setVar("BBPATH", f"{STUB}:{LAYER}")
    data.setVar("TMPDIR", str(folder))
    data.setVar("TOPDIR", str(folder))
    data = bb.parse.handle("conf/bitbake.conf", data, True)
    for name, value in settings.items():
        data.setVar(name, value)
    data.setVar("LAYERDIR", str(LAYER))
    data = bb.parse.handle(str(LAYER / "conf" / "layer.conf"), data, True)
    bb.parse.init_parser(data)
    data.setVar("__bbclasstype", "global")
    bb.parse.BBHandler.inherit("base", "configuration", 0, data)
    data.setVar("__bbclasstype", "recipe")
    return data


def parse(recipe: str, folder: Path, settings: dict[str, str], appends: list[Path] | None = None) -> DataSmart:
    """Parses the one recipe file of that name. Raises `Refused` where the recipe takes itself out."""
    found = list(LAYER.glob(f"recipes-*/*/{recipe}_*.bb")) + list(LAYER.glob(f"recipes-*/*/{recipe}.bb"))
    if len(found) != 1:
        raise AssertionError(f"recipe {recipe}: found {found}")
    data = configure(folder, settings)
    data.setVar("__BBAPPEND", " ".join(map(str, appends or [])))
    bb.parse.cached_statements = {}
    data = bb.parse.handle(str(found[0]), data)[""]
    skipped = data.getVar("__SKIPPED", False)
    if skipped:
        raise Refused(skipped)
    return data


def unpack(data: DataSmart) -> int:
    """Puts every file:// entry where the recipe expects it; fails when one is not there. Says how many."""
    local = [uri for uri in data.getVar("SRC_URI").split() if uri.startswith("file://")]
    fetcher = bb.fetch2.Fetch(local, data)
    for uri in local:
        if not Path(fetcher.localpath(uri)).exists():
            raise AssertionError(f"{data.getVar('PN')}: {uri} does not exist")
    place = Path(data.getVar("UNPACKDIR") or data.getVar("WORKDIR"))
    place.mkdir(parents=True, exist_ok=True)
    fetcher.unpack(str(place), local)
    return len(local)


def run(data: DataSmart, *functions: str) -> list[str]:
    """Runs tasks or functions with what belongs to them. Returns the warnings; raises `Refused`."""
    Path(data.getVar("T")).mkdir(parents=True, exist_ok=True)
    SAID.lines.clear()
    for function in functions:
        before, after = ((data.getVarFlag(function, flag) or "").split() for flag in ("prefuncs", "postfuncs"))
        for each in [*before, function, *after]:
            try:
                bb.build.exec_func(each, data)
            except (bb.BBHandledException, bb.process.ExecutionError) as error:
                raise Refused("; ".join(SAID.of("CRITICAL")) or str(error)) from error
    return SAID.of("WARNING")


def installed(data: DataSmart) -> list[str]:
    """What do_install made: mode and path of each file and folder, sorted."""
    root = Path(data.getVar("D"))
    entries = [(path.relative_to(root), path.lstat()) for path in sorted(root.rglob("*"))]
    return [f"{stat.S_IMODE(info.st_mode):04o} /{path}{'/' if stat.S_ISDIR(info.st_mode) else ''}"
            for path, info in entries]


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="moorline-layer-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
