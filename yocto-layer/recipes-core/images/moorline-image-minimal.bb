SUMMARY = "core-image-minimal that is reached through Moorline"
DESCRIPTION = "An example: a small image with an SSH server and the agent, which enrols at first boot."
LICENSE = "MIT"

IMAGE_FEATURES += "ssh-server-dropbear"

inherit core-image moorline_image
