"""The .deb is installed, upgraded, removed and purged by the real dpkg, on an overlay over this machine's own root."""

from __future__ import annotations

import os
import shutil
import subprocess
import unittest
from pathlib import Path

import workshop
from packages import debian
from targets import chosen

# Runs inside: own mounts, own processes, root over the machine's root. Whatever it changes is gone at the end.
INSIDE = r"""
set -eu
mount -t tmpfs tmpfs "$BOX"
mkdir "$BOX/upper" "$BOX/work" "$BOX/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$BOX/upper,workdir=$BOX/work" "$BOX/root"
mount -t proc proc "$BOX/root/proc"
mount -t tmpfs tmpfs "$BOX/root/run"
mount -t devtmpfs dev "$BOX/root/dev" 2>/dev/null || mount --rbind /dev "$BOX/root/dev"
mkdir "$BOX/root/debs"
cp "$DEBS"/*.deb "$BOX/root/debs/"
printf '#!/bin/sh\nexit 0\n' >"$BOX/root/usr/sbin/policy-rc.d"
chmod 755 "$BOX/root/usr/sbin/policy-rc.d"
exec chroot "$BOX/root" /bin/sh -eu -c "$STORY"
"""

STORY = r"""
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive
unit=/etc/systemd/system/multi-user.target.wants/moorline-agent.service
starts=/run/moorline-agent.starts
check() { eval "$2" || { echo "FAILED: $1" >&2; ls -lR /etc/moorline /var/lib/moorline >&2; exit 1; }; echo "ok: $1"; }
# The script starts the agent beside itself; ten seconds are plenty.
soon() {
    tries=100
    while ! eval "$2"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || check "$1" false
        sleep 0.1
    done
    echo "ok: $1"
}
started() { [ -e $starts ] && [ "$(wc -l <$starts)" -eq "$1" ]; }
links() { find /etc/rc?.d -name '[SK][0-9][0-9]moorline-agent' | wc -l; }
state() { dpkg-query -W -f '${db:Status-Abbrev}' moorline-agent; }

rm -rf /etc/moorline /var/lib/moorline
dpkg -i /debs/moorline-agent_1.0.0_amd64.deb
check "installed" '[ "$(state)" = "ii " ]'
check "enabled for systemd" '[ -L $unit ]'
check "enabled for sysvinit" '[ "$(links)" -eq 7 ]'
check "settings are for root alone" '[ "$(stat -c %a:%U /etc/moorline/agent.toml)" = 600:root ]'
soon "started" 'started 1'

mkdir -m 700 /var/lib/moorline
echo key >/var/lib/moorline/device_key
echo secret >/etc/moorline/api_key
echo 'api_url = "https://moor.example.com"' >>/etc/moorline/agent.toml

dpkg -i --force-confold /debs/moorline-agent_1.1.0_amd64.deb
check "upgraded" '[ "$(dpkg-query -W -f "\${Version}" moorline-agent)" = 1.1.0 ]'
check "settings survive an upgrade" 'grep -q moor.example.com /etc/moorline/agent.toml'
check "identity survives an upgrade" '[ "$(cat /var/lib/moorline/device_key)" = key ]'
soon "restarted by the upgrade" 'started 2'

target=$(readlink $unit)
rm $unit
check "the administrator disables it" '[ ! -e $unit ]'
dpkg -i --force-confold /debs/moorline-agent_1.2.0_amd64.deb
check "disabled stays disabled" '[ ! -e $unit ]'
ln -s "$target" $unit
soon "restarted again" 'started 3'

dpkg -r moorline-agent
check "removed" '[ "$(state)" = "rc " ] && [ ! -e /usr/bin/moorline-agent ]'
check "stopped" '! pgrep -f "[m]oorline-agent run" >/dev/null'
check "settings survive a removal" 'grep -q moor.example.com /etc/moorline/agent.toml'
check "identity survives a removal" '[ "$(cat /var/lib/moorline/device_key)" = key ]'

dpkg -i --force-confold /debs/moorline-agent_1.2.0_amd64.deb
check "identity is there again" '[ "$(cat /var/lib/moorline/device_key)" = key ]'
check "not masked after coming back" '[ ! -e /etc/systemd/system/moorline-agent.service ]'
soon "started after coming back" 'started 4'

dpkg -P moorline-agent
check "purged" '! dpkg-query -W moorline-agent 2>/dev/null'
for path in /etc/moorline /var/lib/moorline /etc/init.d/moorline-agent $unit ${unit%/*/*}/moorline-agent.service; do
    check "nothing left of $path" '[ ! -e $path ] && [ ! -L $path ]'
done
check "no link left" '[ "$(links)" -eq 0 ]'
check "nothing left of systemd's memory of it" '! find /var/lib/systemd -name "*moorline-agent*" | grep .'
echo END
"""


class DebsComeAndGoAsDebianWants(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(workshop.temporary()))
        self.target = next(target for target in chosen([]) if target.debian == "amd64")

    def build(self, version: str | None = None, program: bytes = workshop.STAND_IN) -> Path:
        name, package = debian.build(workshop.release(version), self.target, program, b"licences\n")
        path = self.folder / name
        path.write_bytes(package)
        return path

    def test_files_modes_and_fields(self) -> None:
        deb = self.build()
        shown = subprocess.run(["dpkg-deb", "--contents", deb], check=True, capture_output=True, text=True).stdout
        found = {line.split()[5]: line.split()[0] for line in shown.splitlines() if not line.startswith("d")}
        self.assertEqual(
            found,
            {
                "./etc/init.d/moorline-agent": "-rwxr-xr-x",
                "./etc/moorline/agent.toml": "-rw-------",
                "./usr/bin/moorline-agent": "-rwxr-xr-x",
                "./usr/lib/systemd/system/moorline-agent.service": "-rw-r--r--",
                "./usr/share/doc/moorline-agent/README.md": "-rw-r--r--",
                "./usr/share/doc/moorline-agent/changelog.gz": "-rw-r--r--",
                "./usr/share/doc/moorline-agent/copyright": "-rw-r--r--",
                "./usr/share/doc/moorline-agent/third-party-licenses.gz": "-rw-r--r--",
                "./usr/share/lintian/overrides/moorline-agent": "-rw-r--r--",
                "./usr/share/man/man8/moorline-agent.8.gz": "-rw-r--r--",
            },
        )
        self.assertEqual({line.split()[1] for line in shown.splitlines()}, {"root/root"})
        field = subprocess.run(["dpkg-deb", "--field", deb], check=True, capture_output=True, text=True).stdout
        for line in ("Package: moorline-agent", "Architecture: amd64", f"Version: {workshop.release().version}"):
            self.assertIn(f"{line}\n", field)

    def test_lintian_has_nothing_to_say(self) -> None:
        # For lintian, a real program: any small static one will do for the machine this runs on.
        source = self.folder / "program.c"
        source.write_text("int main(void) { return 0; }\n")
        program = self.folder / "program"
        subprocess.run(["cc", "-static", "-s", "-O2", "-o", program, source], check=True)
        deb = self.build(program=program.read_bytes())
        command = ["lintian", "--allow-root", "--fail-on", "error,warning", str(deb)]
        said = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual((said.returncode, said.stdout), (0, ""), said.stdout + said.stderr)

    def test_install_upgrade_remove_and_purge(self) -> None:
        self.assertEqual(os.geteuid(), 0, "needs root, for mounts of its own")
        debs = self.folder / "debs"
        debs.mkdir()
        for version in ("1.0.0", "1.1.0", "1.2.0"):
            shutil.move(self.build(version), debs)
        box = self.folder / "box"
        box.mkdir()
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--net", "--uts", "--ipc"]
        ran = subprocess.run(
            [*command, "/bin/sh", "-c", INSIDE],
            env={"PATH": os.environ["PATH"], "BOX": str(box), "DEBS": str(debs), "STORY": STORY},
            capture_output=True,
            text=True,
            timeout=600,
        )
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        self.assertEqual(ran.stdout.splitlines()[-1], "END", ran.stdout + ran.stderr)


if __name__ == "__main__":
    unittest.main()
