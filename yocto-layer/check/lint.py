"""What other tools say: generated files, oelint-adv, systemd-analyze, the schema of kas."""

import json
import os
import subprocess
import sys
from pathlib import Path

from bitbake import LAYER, installed, parse, run, scratch, unpack
from recipes import CONFIGURATION, PREBUILT, put_binaries, same, site

RELEASES = ("scarthgap", "wrynose")
# Rule: why it does not count here.
NOT_HERE = {
    "oelint.vars.homepageping": "asks the network",
    "oelint.var.bbclassextend": "an agent for the build machine or the SDK makes no sense",
}


def command(*arguments: str, folder: Path = LAYER) -> str:
    """Runs a command; fails with what it said when it fails or says anything on standard error."""
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False,
                          env=os.environ | {"LC_ALL": "C"})
    if done.returncode != 0 or done.stderr.strip():
        raise AssertionError(f"{' '.join(arguments)[:200]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def generated_files_follow_from_their_sources() -> str:
    """Crates and lock file from Cargo.lock, targets from cross/targets.toml."""
    return command(str(LAYER / "scripts" / "generate"), "--check").strip()


def oelint_has_nothing_to_say() -> str:
    """All rules, for the oldest and the newest long-term series."""
    files = sorted(str(path.relative_to(LAYER)) for kind in ("bb", "bbclass", "inc")
                   for path in LAYER.rglob(f"*.{kind}") if "check" not in path.relative_to(LAYER).parts)
    program = str(Path(sys.executable).parent / "oelint-adv")
    suppressed = [word for rule in NOT_HERE for word in ("--suppress", rule)]
    for release in RELEASES:
        command(program, "--quiet", "--relpaths", "--release", release, *suppressed, *files)
    if len(files) < 9:
        raise AssertionError(f"only {files} were found")
    return f"{len(files)} files for {' and '.join(RELEASES)}"


def systemd_accepts_what_is_installed() -> str:
    """The unit with the drop-in of the state folder, in a root with the units of this machine's systemd."""
    with scratch() as folder:
        put_binaries(folder / "binaries")
        settings = site(folder, DISTRO_FEATURES="systemd", MOORLINE_STATE_DIR="/data/moorline")
        root = folder / "root"
        for recipe in (PREBUILT, CONFIGURATION):
            data = parse(recipe, folder, settings)
            unpack(data)
            run(data, "do_install")
            command("cp", "-a", f"{data.getVar('D')}/.", str(root) + "/") if root.exists() else \
                command("cp", "-a", data.getVar("D"), str(root))
            same(bool(installed(data)), True, "files to look at")
        system = next(path for path in (Path("/usr/lib/systemd/system"), Path("/lib/systemd/system")) if path.is_dir())
        units = root / "usr/lib/systemd/system"
        for unit in ("multi-user.target", "basic.target", "sysinit.target", "network.target", "shutdown.target",
                     "rescue.service", "rescue.target", "local-fs.target", "local-fs-pre.target", "swap.target",
                     "sockets.target", "timers.target", "paths.target", "slices.target", "emergency.target",
                     "emergency.service", "-.slice", "system.slice"):
            if (system / unit).exists():
                command("cp", str(system / unit), str(units / unit))
        command("systemd-analyze", "verify", "--man=no", f"--root={root}", "moorline-agent.service")
        (units / "moorline-agent.service.d" / "wrong.conf").write_text("[Service]\nRestrt=always\n")
        try:
            command("systemd-analyze", "verify", "--man=no", f"--root={root}", "moorline-agent.service")
        except AssertionError as error:
            if "Restrt" in str(error):
                return "1 unit with its drop-in; a wrong key is noticed"
        raise AssertionError("systemd-analyze did not notice a wrong key")


def the_kas_examples_fit_their_schema() -> str:
    """As kas itself would check them."""
    import jsonschema
    import kas
    import yaml
    schema = json.loads((Path(kas.__file__).parent / "schema-kas.json").read_text())
    examples = sorted((LAYER / "kas").glob("*.yml"))
    for example in examples:
        text = yaml.safe_load(example.read_text())
        jsonschema.validate(text, schema)
        same(list(text["repos"]["moorline"]["layers"]), ["yocto-layer"], f"layers of {example.name}")
    same(len(examples), 2, "examples")
    return f"{len(examples)} examples"


STORIES = (
    generated_files_follow_from_their_sources,
    oelint_has_nothing_to_say,
    systemd_accepts_what_is_installed,
    the_kas_examples_fit_their_schema,
)
