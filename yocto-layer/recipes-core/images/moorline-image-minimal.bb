SUMMARY = "core-image-minimal that is reached through Moorline"
DESCRIPTION = "An example: a small image with an SSH server and the agent, which enrols at first boot."
HOMEPAGE = "https://github.com/moorline/moorline"
BUGTRACKER = "https://github.com/moorline/moorline/issues"
SECTION = "images"
LICENSE = "MIT"
CVE_PRODUCT = ""

IMAGE_FEATURES += "ssh-server-dropbear"

inherit core-image moorline_image
