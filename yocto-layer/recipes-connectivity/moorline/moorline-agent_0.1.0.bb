SUMMARY = "Moorline agent, built from source"

require moorline-agent.inc
require moorline-agent-crates.inc

SRC_URI += "file://Cargo.toml;subdir=moorline \
            file://agent;subdir=moorline \
            file://server/protocol;subdir=moorline \
            file://agent-only.sed \
            file://agent-only.lock \
            "

inherit cargo

# The profile for devices; OE strips by itself and keeps the symbols in -dbg.
BUILD_MODE = "--profile device"
BUILD_DIR = "device"
CARGO_BUILD_FLAGS += "--package moorline-agent --bin moorline-agent"
export CARGO_PROFILE_DEVICE_STRIP = "none"

# nooelint: oelint.task.noanonpython - whether this recipe exists depends on the Rust of the series
python () {
    have, need = d.getVar("MOORLINE_RUST"), d.getVar("MOORLINE_RUST_NEEDED")
    if bb.utils.vercmp_string_op(have, need, "<"):
        raise bb.parse.SkipRecipe("it needs Rust %s, this release has %s: use moorline-agent-bin" % (need, have))
}

# Server, CLI and tests stay out of the build, with the crates that only they need: the manifests are cut down to the
# agent and get the lock file that scripts/crates made for exactly that (same versions and checksums as Cargo.lock).
do_configure:prepend() {
    sed -i -f ${MOORLINE_UNPACKDIR}/agent-only.sed \
        ${S}/Cargo.toml ${S}/agent/Cargo.toml ${S}/server/protocol/Cargo.toml
    install -m 0644 ${MOORLINE_UNPACKDIR}/agent-only.lock ${S}/Cargo.lock
}

do_install:append() {
    moorline_install_startup
}

RCONFLICTS:${PN} = "moorline-agent-bin"
