# The functions every recipe has.
base_do_configure() {
    :
}
base_do_install() {
    :
}
addtask configure
addtask install after do_configure
EXPORT_FUNCTIONS do_configure do_install
