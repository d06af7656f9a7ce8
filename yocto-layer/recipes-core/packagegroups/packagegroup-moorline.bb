SUMMARY = "Moorline agent with the configuration of the site"
DESCRIPTION = "Everything a device needs to be reached through Moorline."
HOMEPAGE = "https://github.com/moorline/moorline"
BUGTRACKER = "https://github.com/moorline/moorline/issues"
SECTION = "net"

# Which agent it is may differ from machine to machine.
PACKAGE_ARCH = "${TUNE_PKGARCH}"

inherit packagegroup

RDEPENDS:${PN} = "${VIRTUAL-RUNTIME_moorline-agent} moorline-agent-conf"
