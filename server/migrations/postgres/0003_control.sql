-- Short ids are one space over users and hosts: each is taken here in the transaction that makes its owner.
CREATE TABLE hosts (
    id                   UUID    NOT NULL PRIMARY KEY,
    account_id           BIGINT  NOT NULL REFERENCES accounts (id),
    user_id              UUID    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind                 TEXT    NOT NULL CHECK (kind IN ('container', 'device')),
    device_id            UUID    UNIQUE REFERENCES devices (id) ON DELETE CASCADE,
    status               TEXT    NOT NULL CHECK (status IN ('pending', 'running', 'stopped', 'failed')),
    wanted               TEXT    NOT NULL CHECK (wanted IN ('running', 'stopped')),
    short_id             TEXT    NOT NULL UNIQUE,
    slot_key             TEXT    NOT NULL,
    region               TEXT    REFERENCES nodes (name),
    timezone             TEXT    NOT NULL,
    hostname             TEXT    NOT NULL,
    memory_limit_mb      BIGINT  NOT NULL,
    cpu_limit            DOUBLE PRECISION NOT NULL,
    disk_limit_gb        BIGINT  NOT NULL,
    home_volume_name     TEXT    NOT NULL,
    entry_password_hash  TEXT    NOT NULL,
    recording_required   BOOLEAN NOT NULL DEFAULT FALSE,
    direct_tcpip_allowed BOOLEAN NOT NULL DEFAULT FALSE,
    -- The number of the owner's keys that it has: behind users.keys_version it has to get them.
    keys_version         BIGINT  NOT NULL DEFAULT 0,
    created_at           BIGINT  NOT NULL,
    updated_at           BIGINT  NOT NULL,
    CHECK ((kind = 'device') = (device_id IS NOT NULL)),
    UNIQUE (user_id, slot_key)
);
CREATE INDEX hosts_account ON hosts (account_id, updated_at);
CREATE INDEX hosts_region ON hosts (region, status);

CREATE TABLE short_ids (
    short_id TEXT NOT NULL PRIMARY KEY,
    user_id  UUID UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    host_id  UUID UNIQUE REFERENCES hosts (id) ON DELETE CASCADE,
    CHECK ((user_id IS NULL) <> (host_id IS NULL))
);
INSERT INTO short_ids (short_id, user_id) SELECT short_id, id FROM users;

-- Counts up with each change of the keys; the same number in user_keys tells since when one is there.
ALTER TABLE users ADD COLUMN keys_version BIGINT NOT NULL DEFAULT 0;
CREATE INDEX users_expiry ON users (expires_at) WHERE expires_at IS NOT NULL AND status = 'active';

ALTER TABLE user_keys ADD COLUMN purpose TEXT NOT NULL DEFAULT 'inbound' CHECK (purpose IN ('inbound', 'outbound'));
ALTER TABLE user_keys ADD COLUMN private_key_sealed BYTEA;
ALTER TABLE user_keys ADD COLUMN version BIGINT NOT NULL DEFAULT 0;

-- Policies. An operator's own ssh may go end to end (ssh -J) unless sessions have to be recorded.
ALTER TABLE devices ADD COLUMN recording_required BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE devices ADD COLUMN direct_tcpip_allowed BOOLEAN NOT NULL DEFAULT TRUE;

-- How the container engine of a node answered last.
ALTER TABLE nodes ADD COLUMN engine TEXT NOT NULL DEFAULT 'none' CHECK (engine IN ('none', 'ok', 'unreachable'));

CREATE TABLE egress_ips (
    id                      UUID   NOT NULL PRIMARY KEY,
    account_id              BIGINT NOT NULL REFERENCES accounts (id),
    label                   TEXT   NOT NULL,
    ip_address              TEXT   NOT NULL,
    provider                TEXT   NOT NULL,
    status                  TEXT   NOT NULL CHECK (status IN ('available', 'disabled')),
    tunnel_type             TEXT   NOT NULL CHECK (tunnel_type IN ('wireguard', 'proxy')),
    wg_endpoint             TEXT,
    wg_public_key           TEXT,
    wg_allowed_ips          TEXT   NOT NULL,
    wg_dns_server           TEXT,
    wg_peer_address         TEXT,
    wg_client_public_key    TEXT,
    wg_private_key_sealed   BYTEA,
    wg_preshared_key_sealed BYTEA,
    proxy_config_sealed     BYTEA,
    created_at              BIGINT NOT NULL,
    updated_at              BIGINT NOT NULL,
    UNIQUE (account_id, ip_address)
);

-- The lowest number of a host is the binding in use.
CREATE TABLE bindings (
    number       BIGSERIAL PRIMARY KEY,
    id           UUID   NOT NULL UNIQUE,
    host_id      UUID   NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    egress_ip_id UUID   NOT NULL REFERENCES egress_ips (id),
    created_at   BIGINT NOT NULL,
    UNIQUE (host_id, egress_ip_id)
);
CREATE INDEX bindings_egress_ip ON bindings (egress_ip_id);

-- Tasks of one host run in the order of their numbers, one at a time. They outlive their host.
CREATE TABLE tasks (
    number        BIGSERIAL PRIMARY KEY,
    id            UUID   NOT NULL UNIQUE,
    account_id    BIGINT NOT NULL REFERENCES accounts (id),
    host_id       UUID   REFERENCES hosts (id) ON DELETE SET NULL,
    kind          TEXT   NOT NULL
        CHECK (kind IN ('create_host', 'start_host', 'stop_host', 'rebuild_host', 'prepare_host')),
    status        TEXT   NOT NULL CHECK (status IN ('pending', 'running', 'succeeded', 'failed', 'canceled')),
    requested_by  TEXT   NOT NULL,
    -- The node that works on it.
    node          TEXT,
    error_code    TEXT   NOT NULL DEFAULT '',
    error_message TEXT   NOT NULL DEFAULT '',
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX tasks_account ON tasks (account_id, updated_at);
CREATE INDEX tasks_host ON tasks (host_id, number);
CREATE INDEX tasks_open ON tasks (number) WHERE status IN ('pending', 'running');
CREATE UNIQUE INDEX tasks_running ON tasks (host_id) WHERE status = 'running' AND host_id IS NOT NULL;

-- Good for one login: whoever deletes the row may in.
CREATE TABLE one_time_passwords (
    hash       BYTEA   NOT NULL PRIMARY KEY,
    host_id    UUID   NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    expires_at BIGINT NOT NULL
);
CREATE INDEX one_time_passwords_host ON one_time_passwords (host_id);
CREATE INDEX one_time_passwords_expiry ON one_time_passwords (expires_at);

-- The id on the wire follows from the number. The indexes take nothing from events that name no host, task or user.
ALTER TABLE events ADD COLUMN host_id UUID;
ALTER TABLE events ADD COLUMN task_id UUID;
CREATE INDEX events_user ON events (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX events_host ON events (host_id, id) WHERE host_id IS NOT NULL;
CREATE INDEX events_task ON events (task_id, id) WHERE task_id IS NOT NULL;

-- Sessions of operators. No foreign keys: they outlive whom and what they name.
CREATE TABLE operator_sessions (
    id             UUID   NOT NULL PRIMARY KEY,
    account_id     BIGINT NOT NULL,
    user_id        UUID   NOT NULL,
    username       TEXT   NOT NULL,
    device_id      UUID,
    host_id        UUID,
    target         TEXT   NOT NULL,
    way_in         TEXT   NOT NULL,
    node           TEXT   NOT NULL,
    peer           TEXT   NOT NULL,
    began_at       BIGINT NOT NULL,
    ended_at       BIGINT,
    received_bytes BIGINT NOT NULL DEFAULT 0,
    sent_bytes     BIGINT NOT NULL DEFAULT 0,
    ending         TEXT,
    recording_file TEXT
);
CREATE INDEX operator_sessions_account ON operator_sessions (account_id, began_at);
CREATE INDEX operator_sessions_device ON operator_sessions (device_id, began_at);
CREATE INDEX operator_sessions_user ON operator_sessions (user_id, began_at);
CREATE INDEX operator_sessions_open ON operator_sessions (node) WHERE ended_at IS NULL;

-- When the budget of failed logins is full again, per kind of subject (address, user, host …).
CREATE TABLE login_failures (
    kind    TEXT   NOT NULL,
    subject TEXT   NOT NULL,
    full_at BIGINT NOT NULL,
    PRIMARY KEY (kind, subject)
);
CREATE INDEX login_failures_full ON login_failures (full_at);
