# Images whose devices enrol at first boot: installs the agent with the site's configuration and refuses an image
# from which devices would not come up as devices of their own.
#
# Inherit it in the image recipe. It changes no other recipe.
#
# There is no first-boot unit and no post-install script: the agent's own service enrols when it finds no identity,
# exactly once whatever is cut off in between, so it works on read-only roots too.

IMAGE_INSTALL:append = " packagegroup-moorline"

# Last, when everything that puts files into the image has done so.
ROOTFS_POSTPROCESS_COMMAND:append = " moorline_check_image;"

# Files that only a device that was switched on can have.
MOORLINE_IDENTITY_FILES = "device_key identity.toml client.sh provisioning_key last_seen_time"
# Folders that are empty again after each boot.
MOORLINE_VOLATILE = "/run /tmp /dev/shm ${localstatedir}/run ${localstatedir}/tmp ${localstatedir}/volatile"

def moorline_toml(path, key):
    """The value of a top-level text setting in agent.toml, or nothing."""
    import re
    try:
        with open(path) as file:
            text = file.read()
    except FileNotFoundError:
        return ""
    found = re.search(r"(?m)^\s*%s\s*=\s*[\"']([^\"']*)[\"']" % key, text)
    return found.group(1) if found else ""

def moorline_identities(root, names, state):
    """Every file below the root that belongs to a device's identity."""
    found = []
    for folder, _, files in os.walk(root):
        inside = folder[len(root):]
        if os.path.basename(folder) == "moorline" or (state and inside == state.rstrip("/")):
            for file in files:
                # A power cut leaves .device_key.new behind.
                if file in names or (file.startswith(".") and file[1:].rsplit(".", 1)[0] in names):
                    found.append(inside + "/" + file)
    return sorted(found)

def moorline_is_below(path, folders):
    """Whether the path is one of the folders or inside one."""
    return any(path == folder or path.startswith(folder + "/") for folder in folders)

python moorline_check_image() {
    import stat
    root = d.getVar("IMAGE_ROOTFS").rstrip("/")
    settings = d.expand("${sysconfdir}/moorline/")
    state = moorline_toml(root + settings + "agent.toml", "state_dir")
    found = moorline_identities(root, d.getVar("MOORLINE_IDENTITY_FILES").split(), state)
    if found:
        bb.fatal("this image contains a device's identity, so all its devices would be one: remove %s" % ", ".join(found))

    for name in ("agent.toml", "api_key"):
        path = root + settings + name
        if os.path.exists(path) and stat.S_IMODE(os.stat(path).st_mode) & 0o077:
            bb.fatal("%s can be read by others than root: it must have mode 0600" % (settings + name))

    volatile = d.getVar("MOORLINE_VOLATILE").split()
    if bb.utils.contains("IMAGE_FEATURES", "read-only-rootfs", True, False, d):
        # On a read-only root, OE binds these to memory (volatile-binds).
        volatile += d.expand("${localstatedir}/lib ${localstatedir}/cache ${localstatedir}/spool").split()
        if not state:
            bb.fatal("a read-only root needs MOORLINE_STATE_DIR, a folder on a partition that stays (such as "
                     "/data/moorline): else each boot makes a new device")
    if state and moorline_is_below(state, volatile):
        bb.fatal("MOORLINE_STATE_DIR = %s is empty again after each boot, which makes a new device each time" % state)
    if state:
        # Where the partition is mounted; a read-only root cannot make the folder later.
        os.makedirs(root + os.path.dirname(state), mode=0o755, exist_ok=True)
    if not moorline_toml(root + settings + "agent.toml", "api_url") and "moorline.api_url=" not in (d.getVar("APPEND") or ""):
        bb.warn("this image does not know its server: set MOORLINE_API_URL")
}
moorline_check_image[doc] = "Refuses an image whose devices would not come up as devices of their own"
