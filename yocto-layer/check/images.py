"""The image class: images whose devices would not come up as devices of their own are refused."""

from pathlib import Path

from bitbake import Refused, parse, run, scratch
from recipes import refused, same, site

KNOWS_SERVER = 'api_url = "https://m.example"\n'
ON_DATA = KNOWS_SERVER + 'state_dir = "/data/moorline"\n'


def image(folder: Path, settings: str, files: dict[str, int], features: str = "") -> list[str]:
    """Runs the class's check over a root file system with these files; returns the warnings."""
    root = folder / "rootfs"
    for path, mode in ({"etc/moorline/agent.toml": 0o600} | files).items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(settings if path.endswith("agent.toml") else "x")
        file.chmod(mode)
    data = parse("moorline-image-minimal", folder, site(folder, IMAGE_ROOTFS=str(root), IMAGE_FEATURES=features))
    commands = data.getVar("ROOTFS_POSTPROCESS_COMMAND").replace(";", " ").split()
    same(commands, ["moorline_check_image"], "commands after the root file system")
    if "packagegroup-moorline" not in data.getVar("IMAGE_INSTALL").split():
        raise AssertionError("the class does not install the agent")
    return run(data, *commands)


# Settings, files with their modes, image features.
ACCEPTED = (
    (KNOWS_SERVER, {}, ""),
    (KNOWS_SERVER, {"etc/moorline/api_key": 0o600, "etc/moorline/ca.pem": 0o644}, ""),
    (ON_DATA, {}, "read-only-rootfs"),
    (KNOWS_SERVER, {"home/user/identity.toml": 0o644, "usr/share/other/device_key": 0o644}, ""),
)
REFUSED = (
    (KNOWS_SERVER, {"var/lib/moorline/device_key": 0o600}, "", "/var/lib/moorline/device_key"),
    (KNOWS_SERVER, {"data/moorline/identity.toml": 0o600}, "", "/data/moorline/identity.toml"),
    (KNOWS_SERVER, {"persist/moorline/client.sh": 0o600}, "", "/persist/moorline/client.sh"),
    (KNOWS_SERVER, {"overlay/moorline/provisioning_key": 0o600}, "", "/overlay/moorline/provisioning_key"),
    (KNOWS_SERVER, {"var/lib/moorline/.device_key.new": 0o600}, "", "/var/lib/moorline/.device_key.new"),
    ('state_dir = "/srv/way-home"\n', {"srv/way-home/device_key": 0o600}, "", "/srv/way-home/device_key"),
    (KNOWS_SERVER, {"etc/moorline/api_key": 0o644}, "", "api_key can be read by others"),
    (KNOWS_SERVER, {"etc/moorline/agent.toml": 0o640}, "", "agent.toml can be read by others"),
    (KNOWS_SERVER, {}, "read-only-rootfs", "MOORLINE_STATE_DIR"),
    ('state_dir = "/var/lib/moorline"\n', {}, "read-only-rootfs", "empty again after each boot"),
    ('state_dir = "/run/moorline"\n', {}, "", "empty again after each boot"),
)


def an_image_with_an_identity_or_no_place_for_one_is_refused() -> str:
    """What is accepted comes without a warning; the mount point of the state folder is made."""
    for settings, files, features in ACCEPTED:
        with scratch() as folder:
            try:
                same(image(folder, settings, files, features), [], f"warnings with {files}")
            except Refused as error:
                raise AssertionError(f"{files} {features} was refused: {error}") from error
            same((folder / "rootfs/data").is_dir(), "/data" in settings, "the mount point is there")
    for settings, files, features, why in REFUSED:
        with scratch() as folder:
            refused(f"an image with {settings!r} {files} {features}", why,
                    lambda f=folder, s=settings, m=files, i=features: image(f, s, m, i))
    with scratch() as folder:
        warnings = image(folder, "", {})
        same(len(warnings) == 1 and "MOORLINE_API_URL" in warnings[0], True, f"one warning without a server, not {warnings}")
    return f"{len(ACCEPTED)} accepted, {len(REFUSED)} refused, 1 warned of"


STORIES = (an_image_with_an_identity_or_no_place_for_one_is_refused,)
