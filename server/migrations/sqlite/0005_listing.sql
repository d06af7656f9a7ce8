-- What an account lists is found and counted by index, newest first, whatever the other accounts have.
CREATE INDEX events_account ON events (account_id, at);
CREATE INDEX events_kind ON events (account_id, kind, at);
DROP INDEX events_user;
CREATE INDEX events_user ON events (account_id, user_id, at) WHERE user_id IS NOT NULL;
DROP INDEX events_host;
CREATE INDEX events_host ON events (account_id, host_id, at) WHERE host_id IS NOT NULL;
DROP INDEX events_device;
CREATE INDEX events_device ON events (account_id, device_id, at) WHERE device_id IS NOT NULL;

DROP INDEX operator_sessions_device;
CREATE INDEX operator_sessions_device ON operator_sessions (account_id, device_id, began_at)
    WHERE device_id IS NOT NULL;
DROP INDEX operator_sessions_user;
CREATE INDEX operator_sessions_user ON operator_sessions (account_id, user_id, began_at);
CREATE INDEX operator_sessions_username ON operator_sessions (account_id, username, began_at);
CREATE INDEX operator_sessions_host ON operator_sessions (account_id, host_id, began_at) WHERE host_id IS NOT NULL;
CREATE INDEX operator_sessions_live ON operator_sessions (account_id, began_at) WHERE ended_at IS NULL;

-- Pages of devices in the order of their numbers, which every index of SQLite ends with.
CREATE INDEX devices_account ON devices (account_id);

-- For the counts of the dashboard, which need no row then.
DROP INDEX users_account;
CREATE INDEX users_account ON users (account_id, status, expires_at);
CREATE INDEX hosts_status ON hosts (account_id, status);

CREATE INDEX api_keys_account ON api_keys (account_id);
