# What the recipe uses of OpenEmbedded's class: the real do_install takes every program out of this folder.
BUILD_DIR = "release"
CARGO_TARGET_SUBDIR = "${TARGET_ARCH}/${BUILD_DIR}"
CARGO_BUILD_FLAGS = "-v --frozen ${BUILD_MODE}"
B = "${WORKDIR}/build"
cargo_do_install() {
    for program in ${B}/target/${CARGO_TARGET_SUBDIR}/*; do
        if [ -f "$program" ] && [ -x "$program" ]; then
            install -d ${D}${bindir}
            install -m755 "$program" ${D}${bindir}
        fi
    done
}
EXPORT_FUNCTIONS do_install
