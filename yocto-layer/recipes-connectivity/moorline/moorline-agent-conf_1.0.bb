SUMMARY = "Site configuration of the Moorline agent"
SUMMARY:${PN}-key = "Key with which devices enrol; never put this package into a public feed"
DESCRIPTION = "Tells the agent where its server is. All that differs between sites is here, and only here."
HOMEPAGE = "https://github.com/moorline/moorline"
BUGTRACKER = "https://github.com/moorline/moorline/issues"
SECTION = "net"
LICENSE = "MIT | Apache-2.0"
CVE_PRODUCT = ""
LIC_FILES_CHKSUM = "file://LICENSE;md5=b5480c52734ac860e10211f1f8b7b765"

# Where the API is: https://moorline.example.com
MOORLINE_API_URL ??= ""
# File on the build machine that holds the provisioning key, alone, with an absolute path. Empty: no key in images,
# the factory brings it.
MOORLINE_API_KEY_FILE ??= ""
# Folder on the device where key and identity live. Empty: the agent looks for it (/data, /persist, /var/lib).
# Needed for read-only roots.
MOORLINE_STATE_DIR ??= ""

# agent.toml is found in the files of a bbappend first: a site that needs more settings brings its own.
# nooelint: oelint.vars.fileextrapaths,oelint.vars.outofcontext - the files are outside of the layer's folder
FILESEXTRAPATHS:prepend := "${THISDIR}/../../../agent/dist:${THISDIR}/../../..:"
SRC_URI = "file://agent.toml file://LICENSE"

# Series before 5.1 unpack into WORKDIR and know no UNPACKDIR.
MOORLINE_UNPACKDIR = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"
S = "${MOORLINE_UNPACKDIR}"

inherit allarch

do_configure[noexec] = "1"
do_compile[noexec] = "1"

MOORLINE_API_KEY_PATH = "${sysconfdir}/moorline/api_key"

do_install() {
    install -d ${D}${sysconfdir}/moorline
    install -m 0600 ${S}/agent.toml ${D}${sysconfdir}/moorline/agent.toml
    # Read from where it is: as an entry of SRC_URI it would be copied into work folders and source archives.
    if [ -n "${MOORLINE_API_KEY_FILE}" ]; then
        install -m 0600 "${MOORLINE_API_KEY_FILE}" ${D}${MOORLINE_API_KEY_PATH}
    fi
    if [ -n "${MOORLINE_STATE_DIR}" ] && ${@bb.utils.contains('DISTRO_FEATURES', 'systemd', 'true', 'false', d)}; then
        install -d ${D}${systemd_system_unitdir}/moorline-agent.service.d
        printf '# The folder with the identity: never start without it, or a second one would be made elsewhere.\n[Unit]\nRequiresMountsFor=%s\n' \
            "${MOORLINE_STATE_DIR}" > ${D}${systemd_system_unitdir}/moorline-agent.service.d/state.conf
        chmod 0644 ${D}${systemd_system_unitdir}/moorline-agent.service.d/state.conf
    fi
}
do_install[file-checksums] += "${@d.getVar('MOORLINE_API_KEY_FILE') + ':True' if d.getVar('MOORLINE_API_KEY_FILE') else ''}"
do_install[vardepsexclude] += "MOORLINE_API_KEY_FILE"

def moorline_check_url(url):
    """What is wrong with the URL, or nothing; the agent refuses the same."""
    from urllib.parse import urlsplit
    try:
        parts = urlsplit(url)
        parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "it must begin with https:// (or http://) and a host"
    if parts.username is not None or parts.query or parts.fragment or any(c in url for c in '"\\ \t\n'):
        return "it must be scheme, host, port and path, nothing else"
    return ""

def moorline_check_key(path):
    """What is wrong with the key file, or nothing. Never says what is in it."""
    if not os.path.isabs(path):
        return "its path must begin with /"
    try:
        with open(path, "rb") as file:
            words = file.read(4097).split()
    except OSError as error:
        return error.strerror
    if len(words) != 1 or len(words[0]) > 4096:
        return "it must hold the key and nothing else"
    return ""

def moorline_set(text, key, value):
    """Sets a top-level key of agent.toml: in the line that has it, commented out or not, else before all others."""
    import json
    import re
    line = "%s = %s" % (key, json.dumps(value))
    changed, times = re.subn(r"(?m)^#?\s*%s\s*=.*$" % key, lambda _: line, text, count=1)
    return changed if times else "%s\n%s" % (line, text)

python moorline_check_settings() {
    url, key_file, state = (d.getVar("MOORLINE_" + name) for name in ("API_URL", "API_KEY_FILE", "STATE_DIR"))
    wrong = moorline_check_url(url) if url else ""
    if wrong:
        bb.fatal("MOORLINE_API_URL cannot be used: %s" % wrong)
    if url.startswith("http:"):
        bb.warn("MOORLINE_API_URL is not https: the provisioning key crosses the network in the clear")
    wrong = moorline_check_key(key_file) if key_file else ""
    if wrong:
        bb.fatal("MOORLINE_API_KEY_FILE (%s) cannot be used: %s" % (key_file, wrong))
    if state and (not os.path.isabs(state) or any(c in state for c in "\"\\ %\t\n")):
        bb.fatal("MOORLINE_STATE_DIR must begin with / and be free of spaces, quotes, backslashes and percent signs")
}
moorline_check_settings[doc] = "Refuses settings of the site that the agent could not use"
do_install[prefuncs] += "moorline_check_settings"

python moorline_apply_settings() {
    settings = {
        "api_url": d.getVar("MOORLINE_API_URL"),
        "api_key_file": d.getVar("MOORLINE_API_KEY_PATH") if d.getVar("MOORLINE_API_KEY_FILE") else "",
        "state_dir": d.getVar("MOORLINE_STATE_DIR"),
    }
    path = d.expand("${D}${sysconfdir}/moorline/agent.toml")
    with open(path) as file:
        text = file.read()
    for key, value in settings.items():
        if value:
            text = moorline_set(text, key, value)
    with open(path, "w") as file:
        file.write(text)
}
moorline_apply_settings[doc] = "Writes the site's settings into agent.toml"
do_install[postfuncs] += "moorline_apply_settings"

# The key is a package of its own, so that a package feed can leave it out.
PACKAGE_BEFORE_PN = "${PN}-key"
# nooelint: oelint.var.filesoverride - nothing else is in this package
FILES:${PN}-key = "${MOORLINE_API_KEY_PATH}"
FILES:${PN} += "${systemd_system_unitdir}"
CONFFILES:${PN} = "${sysconfdir}/moorline/agent.toml"
RDEPENDS:${PN} = "${@'${PN}-key' if d.getVar('MOORLINE_API_KEY_FILE') else ''}"
