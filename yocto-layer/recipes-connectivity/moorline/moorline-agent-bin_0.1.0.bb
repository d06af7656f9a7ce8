SUMMARY = "Moorline agent, the static binary"

require moorline-agent.inc
require moorline-agent-bin-targets.inc

# A folder with <triple>/moorline-agent for each machine that is built: what `cross/build` leaves in the clone, or
# what a site unpacked from the archives of a release.
MOORLINE_BINARIES ??= "${@os.path.normpath(d.getVar('THISDIR') + '/../../../target/cross')}"
# nooelint: oelint.vars.fileextrapaths,oelint.vars.outofcontext - it is the site that says where binaries are
FILESEXTRAPATHS:prepend := "${MOORLINE_BINARIES}:"

MOORLINE_TRIPLE = "${@moorline_triple(d)}"
SRC_URI += "file://${MOORLINE_TRIPLE}/moorline-agent"

# Where no binary fits, nobody else's build may stop: the host must be one of ours, its CPU features too, and the
# binary must be there.
COMPATIBLE_HOST = "(${MOORLINE_OE_ARCHES})(-.*)?-linux.*"

def moorline_triple(d):
    """The first target of cross/targets.toml whose binary runs on this machine, or nothing."""
    # A tune such as cortexa7 names its architecture in the overrides, not among its features.
    features = set((d.getVar("TUNE_FEATURES") or "").split()) | set((d.getVar("MACHINEOVERRIDES") or "").split(":"))

    def fits(condition):
        if condition.startswith("!"):
            return condition[1:] not in features
        return features & set(condition.split("|"))

    for target in (d.getVar("MOORLINE_OE_TARGETS") or "").split():
        triple, arch, *wanted = target.split(";")
        if arch == d.getVar("TARGET_ARCH") and all(fits(each) for each in wanted):
            return triple
    return ""

# nooelint: oelint.task.noanonpython - whether this recipe exists depends on machine and files
python () {
    triple = d.getVar("MOORLINE_TRIPLE")
    if not triple:
        raise bb.parse.SkipRecipe("there is no static agent for %s with tune features %s" %
                                  (d.getVar("TARGET_ARCH"), d.getVar("TUNE_FEATURES")))
    binary = os.path.join(d.getVar("MOORLINE_BINARIES"), triple, "moorline-agent")
    bb.parse.mark_dependency(d, binary)
    if not os.path.exists(binary):
        raise bb.parse.SkipRecipe("%s is not there: make it with cross/build, or set MOORLINE_BINARIES" % binary)
}

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}${bindir}
    install -m 0755 ${MOORLINE_UNPACKDIR}/${MOORLINE_TRIPLE}/moorline-agent ${D}${bindir}/moorline-agent
    moorline_install_startup
}

# It must run on every root file system, whatever libc that has: no interpreter, no shared library. Machine, word
# size and byte order are checked by package QA (arch).
python moorline_assert_static() {
    import struct
    path = d.expand("${D}${bindir}/moorline-agent")
    with open(path, "rb") as binary:
        elf = binary.read()
    if elf[:4] != b"\x7fELF":
        bb.fatal("%s is no ELF program" % path)
    order = "<" if elf[5] == 1 else ">"
    wide = elf[4] == 2
    (table,) = struct.unpack_from(order + ("Q" if wide else "I"), elf, 32 if wide else 28)
    size, count = struct.unpack_from(order + "HH", elf, 54 if wide else 42)
    kinds = [struct.unpack_from(order + "I", elf, table + size * number)[0] for number in range(count)]
    if 3 in kinds:  # PT_INTERP
        bb.fatal("%s is linked dynamically; moorline-agent-bin takes static programs only" % path)
}
moorline_assert_static[doc] = "Refuses a program that is linked dynamically"
do_install[postfuncs] += "moorline_assert_static"

# It comes without symbols, and there is nothing to split off.
INHIBIT_PACKAGE_STRIP = "1"
INHIBIT_PACKAGE_DEBUG_SPLIT = "1"
INHIBIT_SYSROOT_STRIP = "1"
# Stripped by the linker already, on purpose: the symbols would not be of use without the debug information.
# nooelint: oelint.vars.insaneskip - for the reason just given
INSANE_SKIP:${PN} += "already-stripped"

RCONFLICTS:${PN} = "moorline-agent"
