include $(sort $(wildcard $(BR2_EXTERNAL_MOORLINE_PATH)/package/*/*.mk))
