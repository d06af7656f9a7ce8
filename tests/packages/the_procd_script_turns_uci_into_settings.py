"""The procd script under dash and busybox ash; stand-ins for OpenWrt's functions write down what they are told."""

from __future__ import annotations

import os
import subprocess
import unittest
from pathlib import Path

import workshop

SCRIPT = workshop.ROOT / "agent/dist/moorline-agent.procd"
CONFIG = workshop.ROOT / "yocto-layer/openwrt/moorline-agent/files/moorline.config"
SHELLS = (["dash"], ["busybox", "ash"])

# rc.common and procd.sh, as far as a service sees them. `uci_load_validate` does what OpenWrt's does with the answers
# of validate_data: it sets a variable for each option that is valid, unsets the others, and calls back.
RC_COMMON = r"""
say() { printf '%s\n' "$*" >>"$RECORD"; }
logger() { say "logger $*"; }
for call in open_instance close_instance set_param append_param add_reload_trigger add_raw_trigger add_validation; do
    eval "procd_$call() { say \"$call \$*\"; [ $call != add_validation ] || \"\$@\"; }"
done
uci_get() { sed -n "s/^[[:space:]]option $3 '\(.*\)'\$/\1/p" "$UCI"; }
uci_load_validate() {
    local _package="$1" _type="$2" _name="$3" _function="$4" _result=0 _option
    shift 4
    for _option in "$@"; do eval "local ${_option%%:*}"; done
    # The real one prints every value where one is not valid.
    say "validate $_package $_type ${_name:-every} $*"
    [ -n "$_name" ] || return 0
    eval "$("$VALIDATE" "$@")" || true
    [ ! -e "$RECORD.invalid" ] || _result=1
    [ -n "$_function" ] || return "$_result"
    "$_function" "$_name" "$_result"
}
. "$SCRIPT"
case "$1" in
start | reload) start_service ;;
triggers) service_triggers ;;
*) "$1" ;;
esac
"""

# The part of validate_data (package ubox) that the script uses: option:type[:default], types as documented there.
VALIDATE = r"""#!/usr/bin/env python3
import os, re, shlex, sys
bad = os.environ["RECORD"] + ".invalid"
given = {}
for line in open(os.environ["UCI"]):
    match = re.match(r"\s+(option|list) (\w+) '(.*)'$", line)
    if match and match[1] == "list":
        given.setdefault(match[2], []).append(match[3])
    elif match:
        given[match[2]] = [match[3]]
TYPES = {
    "bool": lambda v: v in ("0", "off", "false", "no", "disabled", "1", "on", "true", "yes", "enabled"),
    "port": lambda v: v.isdigit() and 0 <= int(v) <= 65535,
    "string": lambda v: True,
}
for option in sys.argv[1:]:
    name, kind, default = (option.split(":", 2) + [""])[:3]
    inner = re.fullmatch(r"list\((\w+)\)", kind)
    allowed = re.fullmatch(r"or\((.*)\)", kind)
    if inner:
        kind = inner[1]
    def valid(value):
        return value in re.findall(r'"(\w+)"', allowed[1]) if allowed else TYPES[kind](value)
    values = [value for value in given.get(name, []) if value] or [default]
    if any(value and not valid(value) for value in values):
        open(bad, "w").close()
        values = [""]
    if kind == "bool" and values[0]:
        values = ["1" if values[0] in ("1", "on", "true", "yes", "enabled") else "0"]
    if values == [""]:
        print(f"unset -v {name};")
    else:
        print(f"{name}=" + "\\ ".join(shlex.quote(value) for value in values) + ";")
"""

EVERYTHING = """config agent 'agent'
	option enabled '1'
	option api_url 'https://moor.example.com/a?b=$HOME'
	option api_key 'secret'
	option keep_api_key 'on'
	option region 'eu'
	option type 'random'
	option prefix 'a b'
	option name 'router'
	option fwport '2222'
	option username 'root'
	option state_dir '/mnt/usb/moorline'
	option authorized_keys '/etc/dropbear/authorized_keys'
	option profile 'lte'
	option log 'debug'
	list server_spki_sha256 'sha256/AAAA='
	list server_spki_sha256 'sha256/BBBB='
	option ca_file '/etc/ssl/moorline.pem'
"""


class TheProcdScriptTurnsUciIntoSettings(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(workshop.temporary()))
        self.seen = 0
        (self.folder / "rc.common").write_text(RC_COMMON)
        validate = self.folder / "validate_data"
        validate.write_text(VALIDATE)
        program = self.folder / "moorline-agent"
        program.write_text('#!/bin/sh\necho "asked $*" >>"$RECORD"\nenv | grep ^MOORLINE_ | sort >>"$RECORD"\nexit 5\n')
        for path in (validate, program):
            path.chmod(0o755)
        # The places on the device, inside the test's folder.
        text = SCRIPT.read_text()
        places = {
            "/usr/bin/moorline-agent": program,
            "/var/run/": f"{self.folder}/",
            "=/etc/moorline/api_key": f"={self.folder}/api_key",
        }
        for place, here in places.items():
            self.assertIn(place, text)
            text = text.replace(place, str(here))
        (self.folder / "script").write_text(text)

    def run_script(self, shell: list[str], action: str, uci: str) -> tuple[int, list[str]]:
        """Exit status and what was recorded."""
        record = self.folder / f"record{self.seen}"
        self.seen += 1
        (self.folder / "uci").write_text(uci)
        environment = {
            "PATH": os.environ["PATH"],
            "RECORD": str(record),
            "UCI": str(self.folder / "uci"),
            "VALIDATE": str(self.folder / "validate_data"),
            "SCRIPT": str(self.folder / "script"),
        }
        ran = subprocess.run(
            [*shell, str(self.folder / "rc.common"), action], env=environment, capture_output=True, text=True
        )
        self.assertEqual(ran.stderr, "", f"{shell} {action}")
        return ran.returncode, record.read_text().splitlines() if record.exists() else []

    def settings(self, lines: list[str]) -> dict[str, str]:
        """The environment that procd would give the agent."""
        prefix = "append_param env MOORLINE_"
        return dict(line.removeprefix(prefix).split("=", 1) for line in lines if line.startswith(prefix))

    def test_every_option_becomes_a_setting(self) -> None:
        for shell in SHELLS:
            status, lines = self.run_script(shell, "start", EVERYTHING)
            self.assertEqual(status, 0)
            key = self.folder / "moorline-agent.key"
            self.assertEqual(
                self.settings(lines),
                {
                    "API_URL": "https://moor.example.com/a?b=$HOME",
                    "API_KEY_FILE": str(key),
                    "KEEP_API_KEY": "1",
                    "REGION": "eu",
                    "TYPE": "random",
                    "PREFIX": "a b",
                    "NAME": "router",
                    "FWPORT": "2222",
                    "USERNAME": "root",
                    "STATE_DIR": "/mnt/usb/moorline",
                    "AUTHORIZED_KEYS": "/etc/dropbear/authorized_keys",
                    "PROFILE": "lte",
                    "LOG": "debug",
                    "TRUST_SERVER_SPKI_SHA256": "sha256/AAAA=,sha256/BBBB=",
                    "TRUST_CA_FILE": "/etc/ssl/moorline.pem",
                },
            )
            self.assertEqual((key.read_text(), key.stat().st_mode & 0o777), ("secret\n", 0o600))
            key.unlink()
            self.assertFalse([line for line in lines if "secret" in line], "the key shows in what procd is told")
            self.assertEqual(len([line for line in lines if line.startswith("set_param data api_key=")]), 1)
            self.assertIn("append_param file /etc/ssl/moorline.pem", lines)

    def test_every_setting_of_the_agent_has_an_option_and_the_example_shows_it(self) -> None:
        known = (workshop.ROOT / "agent/src/config/file.rs").read_text()
        names = known[known.index("SETTINGS: [&str; ") :].split("];")[0].split('"')[1::2]
        self.assertGreater(len(names), 10)
        options = {name.removeprefix("trust.") for name in names}
        _, lines = self.run_script(SHELLS[0], "triggers", "")
        validated = next(line for line in lines if line.startswith("validate moorline agent every"))
        self.assertEqual({word.split(":")[0] for word in validated.split()[4:]}, options - {"api_key"} | {"enabled"})
        shown = {
            line.split()[1]
            for line in CONFIG.read_text().splitlines()
            if line.strip("#\t ").startswith(("option ", "list "))
        }
        self.assertEqual(shown, options | {"enabled"})

    def test_little_is_enough_and_state_survives_updates(self) -> None:
        for shell in SHELLS:
            (self.folder / "api_key").write_text("secret")
            _, lines = self.run_script(
                shell, "start", "config agent 'agent'\n\toption enabled '1'\n\toption api_url 'https://m'\n"
            )
            expected = {
                "API_URL": "https://m",
                "API_KEY_FILE": f"{self.folder}/api_key",
                "STATE_DIR": "/etc/moorline/state",
            }
            self.assertEqual(self.settings(lines), expected)
            self.assertIn(f"set_param command {self.folder}/moorline-agent run", lines)
            self.assertIn("set_param respawn 3600 5 0", lines)
            self.assertEqual((lines.count("open_instance "), lines.count("close_instance ")), (1, 1))
            (self.folder / "api_key").unlink()
            _, lines = self.run_script(shell, "start", "config agent 'agent'\n\toption enabled '1'\n")
            self.assertEqual(self.settings(lines), {"STATE_DIR": "/etc/moorline/state"})

    def test_as_delivered_it_does_not_start_and_says_how_it_would(self) -> None:
        for shell in SHELLS:
            status, lines = self.run_script(shell, "start", CONFIG.read_text())
            self.assertEqual(status, 0)
            self.assertFalse([line for line in lines if line.startswith("open_instance")])
            self.assertTrue([line for line in lines if "moorline.agent.enabled=1" in line])

    def test_a_value_that_is_not_valid_is_left_out_and_told(self) -> None:
        options = ("enabled '1'", "fwport 'ssh'", "profile 'dial-up'", "region 'eu'")
        uci = "config agent 'agent'\n" + "".join(f"\toption {option}\n" for option in options)
        for shell in SHELLS:
            _, lines = self.run_script(shell, "start", uci)
            self.assertEqual(self.settings(lines), {"REGION": "eu", "STATE_DIR": "/etc/moorline/state"})
            self.assertIn("close_instance ", lines)
            self.assertTrue([line for line in lines if line.startswith("logger") and "not valid" in line])

    def test_it_reloads_when_settings_change_and_when_an_interface_comes_up(self) -> None:
        for shell in SHELLS:
            _, lines = self.run_script(shell, "triggers", "")
            self.assertIn("add_reload_trigger moorline", lines)
            self.assertIn("add_raw_trigger interface.*.up 2000 /etc/init.d/moorline-agent reload", lines)
            self.assertIn("add_validation validate_agent", lines)

    def test_status_and_doctor_use_the_same_settings(self) -> None:
        uci = "config agent 'agent'\n\toption enabled '1'\n\toption api_url 'https://m'\n"
        for shell in SHELLS:
            for action, question in (("tunnel", "status"), ("doctor", "doctor")):
                status, lines = self.run_script(shell, action, uci)
                self.assertEqual(status, 5, "the agent's own exit status")
                asked = lines[lines.index(f"asked {question}") :]
                self.assertEqual(asked[1:], ["MOORLINE_API_URL=https://m", "MOORLINE_STATE_DIR=/etc/moorline/state"])


if __name__ == "__main__":
    unittest.main()
