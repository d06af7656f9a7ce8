"""cross/dist makes the same bytes twice, for every target, and its checksums fit."""

from __future__ import annotations

import os
import subprocess
import tarfile
import unittest
from pathlib import Path

import workshop
from targets import chosen
from workshop import ROOT


class EveryTargetGetsItsPackages(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(workshop.temporary()))
        self.binaries = workshop.stand_ins(self.folder / "cross")

    def test_two_runs_in_different_surroundings_give_the_same_bytes(self) -> None:
        one, other = self.folder / "one", self.folder / "other"
        first = workshop.dist(one, self.binaries, "--all")
        self.assertEqual(first.returncode, 0, first.stderr)
        for binary in self.binaries.rglob("moorline-agent"):
            os.utime(binary, (1, 1))
        second = workshop.dist(
            other,
            self.binaries,
            "x86_64",
            "mips",
            env={"TZ": "Asia/Tokyo", "LC_ALL": "C", "USER": "x"},
            cwd="/",
            umask=0o077,
        )
        self.assertEqual(second.returncode, 0, second.stderr)
        names = sorted(path.name for path in one.iterdir())
        again = sorted({path.name for path in other.iterdir()} - {"SHA256SUMS"})
        self.assertEqual(len(again), 8)
        differ = [name for name in again if (one / name).read_bytes() != (other / name).read_bytes()]
        self.assertEqual(differ, [])
        subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=one, check=True)
        summed = [line.split()[1] for line in (one / "SHA256SUMS").read_text().splitlines()]
        self.assertEqual(sorted([*summed, "SHA256SUMS"]), names)
        self.check_names(names)
        self.check_archive(one)

    def check_names(self, names: list[str]) -> None:
        version = workshop.release().version
        expected = ["SHA256SUMS"]
        for target in chosen([]):
            expected += [f"moorline-agent-{version}-{target.name}{end}" for end in (".tar.gz", ".cdx.json")]
            expected += [f"moorline-agent_{version}-r1_{name}.ipk" for name in target.openwrt]
            if target.debian:
                expected.append(f"moorline-agent_{version}_{target.debian}.deb")
        self.assertEqual(names, sorted(expected))

    def check_archive(self, out: Path) -> None:
        top = f"moorline-agent-{workshop.release().version}-mips"
        with tarfile.open(out / f"{top}.tar.gz") as archive:
            members = {member.name.removeprefix(f"{top}/"): member for member in archive if member.isfile()}
            notices = archive.extractfile(members["THIRD-PARTY-LICENSES.txt"])
            assert notices is not None
            text = notices.read().decode()
            program = archive.extractfile(members["moorline-agent"])
            assert program is not None
            self.assertEqual(program.read(), workshop.STAND_IN + b"mips")
        shipped = {path.name for path in (ROOT / "agent/dist").iterdir()} | {"moorline.config"}
        in_dist = {name.removeprefix("dist/") for name in members if name.startswith("dist/")}
        self.assertEqual(in_dist, shipped)
        self.assertEqual(members["moorline-agent"].mode, 0o755)
        self.assertEqual(members["dist/agent.toml"].mode, 0o600)
        for crate in ("russh ", "ring ", "rustls "):
            self.assertIn(f"\n{crate}", text)
        self.assertGreater(text.count("Permission is hereby granted, free of charge"), 10)

    def test_a_target_that_is_not_built_is_left_out_or_refused(self) -> None:
        (self.binaries / "riscv64gc-unknown-linux-musl/moorline-agent").unlink()
        some = workshop.dist(self.folder / "some", self.binaries, "riscv64")
        self.assertNotEqual(some.returncode, 0)
        self.assertIn("not built yet: riscv64", some.stderr)
        unknown = workshop.dist(self.folder / "unknown", self.binaries, "vax")
        self.assertIn("no target vax", unknown.stderr)


if __name__ == "__main__":
    unittest.main()
