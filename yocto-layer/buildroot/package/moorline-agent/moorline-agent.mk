################################################################################
#
# moorline-agent
#
################################################################################

MOORLINE_AGENT_LICENSE = MIT or Apache-2.0
MOORLINE_AGENT_LICENSE_FILES = LICENSE

ifeq ($(BR2_PACKAGE_MOORLINE_AGENT_SOURCE),y)

MOORLINE_AGENT_VERSION = $(call qstrip,$(BR2_PACKAGE_MOORLINE_AGENT_REVISION))
MOORLINE_AGENT_SITE = $(call qstrip,$(BR2_PACKAGE_MOORLINE_AGENT_REPOSITORY))
MOORLINE_AGENT_SITE_METHOD = git
MOORLINE_AGENT_SUBDIR = agent
MOORLINE_AGENT_CARGO_BUILD_OPTS = --features lean
MOORLINE_AGENT_CARGO_INSTALL_OPTS = --features lean
MOORLINE_AGENT_DIST = $(@D)/agent/dist
# Any revision may be asked for, so there is no hash of the archive: give a
# full commit id where that matters. Cargo.lock has the hash of every crate.
BR_NO_CHECK_HASH_FOR += $(MOORLINE_AGENT_SOURCE)

else

MOORLINE_AGENT_VERSION = 0.1.0
MOORLINE_AGENT_SITE = $(BR2_EXTERNAL_MOORLINE_PATH)/../../agent/dist
MOORLINE_AGENT_SITE_METHOD = local
MOORLINE_AGENT_DIST = $(@D)
# A static program is copied, nothing is compiled.
MOORLINE_AGENT_ADD_TOOLCHAIN_DEPENDENCY = NO
MOORLINE_AGENT_PROGRAM = $(call qstrip,$(BR2_PACKAGE_MOORLINE_AGENT_BINARIES))/$(call qstrip,$(BR2_PACKAGE_MOORLINE_AGENT_TRIPLE))/moorline-agent

define MOORLINE_AGENT_COPY_LICENSE
	cp $(BR2_EXTERNAL_MOORLINE_PATH)/../../LICENSE $(@D)/LICENSE
endef
MOORLINE_AGENT_POST_RSYNC_HOOKS += MOORLINE_AGENT_COPY_LICENSE

define MOORLINE_AGENT_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(MOORLINE_AGENT_PROGRAM) \
		$(TARGET_DIR)/usr/bin/moorline-agent
endef

endif

MOORLINE_AGENT_API_URL = $(call qstrip,$(BR2_PACKAGE_MOORLINE_AGENT_API_URL))
MOORLINE_AGENT_KEY_FILE = $(call qstrip,$(BR2_PACKAGE_MOORLINE_AGENT_KEY_FILE))
MOORLINE_AGENT_STATE_DIR = $(call qstrip,$(BR2_PACKAGE_MOORLINE_AGENT_STATE_DIR))
MOORLINE_AGENT_CONFIG = $(call qstrip,$(BR2_PACKAGE_MOORLINE_AGENT_CONFIG))
MOORLINE_AGENT_TOML = $(TARGET_DIR)/etc/moorline/agent.toml

# Sets $(1) to the text $(2), unless that is empty.
define MOORLINE_AGENT_SET
	$(if $(2),$(SED) 's|^#$(1) = .*|$(1) = "$(2)"|' $(MOORLINE_AGENT_TOML))
	$(if $(2),grep -qxF '$(1) = "$(2)"' $(MOORLINE_AGENT_TOML))
endef

define MOORLINE_AGENT_INSTALL_CONFIGURATION
	$(INSTALL) -d -m 0700 $(TARGET_DIR)/etc/moorline
	$(INSTALL) -m 0600 \
		$(or $(MOORLINE_AGENT_CONFIG),$(MOORLINE_AGENT_DIST)/agent.toml) \
		$(MOORLINE_AGENT_TOML)
	$(call MOORLINE_AGENT_SET,api_url,$(MOORLINE_AGENT_API_URL))
	$(call MOORLINE_AGENT_SET,state_dir,$(MOORLINE_AGENT_STATE_DIR))
	$(call MOORLINE_AGENT_SET,api_key_file,$(if $(MOORLINE_AGENT_KEY_FILE),/etc/moorline/api_key))
	$(RM) $(TARGET_DIR)/etc/moorline/api_key
	$(if $(MOORLINE_AGENT_KEY_FILE),$(INSTALL) -m 0600 $(MOORLINE_AGENT_KEY_FILE) \
		$(TARGET_DIR)/etc/moorline/api_key)
endef
MOORLINE_AGENT_POST_INSTALL_TARGET_HOOKS += MOORLINE_AGENT_INSTALL_CONFIGURATION

define MOORLINE_AGENT_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(MOORLINE_AGENT_DIST)/moorline-agent.service \
		$(TARGET_DIR)/usr/lib/systemd/system/moorline-agent.service
endef

# After the network and the SSH server, which start at 40 and 50.
define MOORLINE_AGENT_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(MOORLINE_AGENT_DIST)/moorline-agent.init \
		$(TARGET_DIR)/etc/init.d/S80moorline-agent
endef

define MOORLINE_AGENT_INSTALL_INIT_OPENRC
	$(INSTALL) -D -m 0755 $(MOORLINE_AGENT_DIST)/moorline-agent.openrc \
		$(TARGET_DIR)/etc/init.d/moorline-agent
	$(INSTALL) -d $(TARGET_DIR)/etc/runlevels/default
	ln -sf /etc/init.d/moorline-agent \
		$(TARGET_DIR)/etc/runlevels/default/moorline-agent
endef

# The agent runs as root, for it writes authorized_keys where it is told to:
# no user of its own. What it keeps is for root alone.
define MOORLINE_AGENT_PERMISSIONS
	/etc/moorline d 700 0 0 - - - - -
	/etc/moorline/agent.toml f 600 0 0 - - - - -
	$(if $(MOORLINE_AGENT_KEY_FILE),/etc/moorline/api_key f 600 0 0 - - - - -)
endef

ifeq ($(BR2_PACKAGE_MOORLINE_AGENT_SOURCE),y)
$(eval $(cargo-package))
else
$(eval $(generic-package))
endif
