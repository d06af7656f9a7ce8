-- Times are microseconds since 1970 in UTC, UUIDs 16 bytes, lists and objects JSON.
CREATE TABLE accounts (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    uid            TEXT    NOT NULL UNIQUE,
    name           TEXT    NOT NULL,
    name_folded    TEXT    NOT NULL UNIQUE,
    suspended      BOOLEAN NOT NULL DEFAULT 0,
    default_region TEXT,
    created_at     BIGINT  NOT NULL
);
-- The anonymous account, which holds devices that nobody has registered.
INSERT INTO accounts (id, uid, name, name_folded, created_at)
VALUES (0, '_acc_000000000000000000', '', '', 0);

CREATE TABLE users (
    id            BLOB    NOT NULL PRIMARY KEY,
    account_id    BIGINT  NOT NULL REFERENCES accounts (id),
    username      TEXT    NOT NULL UNIQUE,
    short_id      TEXT    NOT NULL UNIQUE,
    role          TEXT    NOT NULL CHECK (role IN ('admin', 'user')),
    status        TEXT    NOT NULL CHECK (status IN ('active', 'disabled', 'expired')),
    expires_at    BIGINT,
    password_hash TEXT    NOT NULL,
    token_version BIGINT  NOT NULL DEFAULT 0,
    created_at    BIGINT  NOT NULL,
    updated_at    BIGINT  NOT NULL
);
CREATE INDEX users_account ON users (account_id);

CREATE TABLE user_keys (
    id          BLOB   NOT NULL PRIMARY KEY,
    user_id     BLOB   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    label       TEXT   NOT NULL,
    public_key  TEXT   NOT NULL,
    comment     TEXT   NOT NULL,
    fingerprint TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    UNIQUE (user_id, fingerprint)
);
CREATE INDEX user_keys_fingerprint ON user_keys (fingerprint);

CREATE TABLE api_clients (
    id            TEXT    NOT NULL PRIMARY KEY,
    account_id    BIGINT  NOT NULL REFERENCES accounts (id),
    name          TEXT    NOT NULL,
    name_folded   TEXT    NOT NULL,
    friendly_name TEXT    NOT NULL,
    description   TEXT,
    tags          TEXT,
    locked        BOOLEAN NOT NULL DEFAULT 0,
    created_at    BIGINT  NOT NULL,
    modified_at   BIGINT  NOT NULL,
    UNIQUE (account_id, name_folded)
);

CREATE TABLE api_keys (
    id               TEXT   NOT NULL PRIMARY KEY,
    api_client_id    TEXT   NOT NULL UNIQUE REFERENCES api_clients (id) ON DELETE CASCADE,
    account_id       BIGINT NOT NULL REFERENCES accounts (id),
    secret_hash      BLOB   NOT NULL UNIQUE,
    secret_sealed    BLOB   NOT NULL,
    context_kind     TEXT   NOT NULL CHECK (context_kind IN ('account', 'device', 'app')),
    context_ids      TEXT   NOT NULL,
    scope            TEXT   NOT NULL,
    rate_limit       BIGINT NOT NULL,
    limit_prefix     TEXT,
    limit_region     TEXT,
    limit_uses       BIGINT CHECK (limit_uses >= 0),
    limit_expires_at BIGINT,
    created_at       BIGINT NOT NULL,
    modified_at      BIGINT NOT NULL
);

CREATE TABLE nodes (
    name        TEXT    NOT NULL PRIMARY KEY,
    public_host TEXT    NOT NULL,
    ssh_port    INTEGER NOT NULL,
    host_key    TEXT    NOT NULL,
    status      TEXT    NOT NULL CHECK (status IN ('active', 'draining', 'down')),
    port_first  INTEGER NOT NULL,
    port_last   INTEGER NOT NULL
);

CREATE TABLE devices (
    number                     INTEGER PRIMARY KEY AUTOINCREMENT,
    id                         BLOB    NOT NULL UNIQUE,
    account_id                 BIGINT  NOT NULL REFERENCES accounts (id),
    name                       TEXT    NOT NULL,
    name_folded                TEXT    NOT NULL,
    state                      TEXT    NOT NULL CHECK (state IN ('active', 'blocked', 'inactive')),
    wanted                     TEXT    NOT NULL CHECK (wanted IN ('open', 'closed')),
    allow_clientless           BOOLEAN NOT NULL,
    public_key                 TEXT,
    public_key_comment         TEXT,
    public_key_fingerprint     TEXT    UNIQUE,
    dbid                       BLOB    NOT NULL,
    redirect_token             TEXT    NOT NULL UNIQUE,
    username                   TEXT,
    hostname                   TEXT,
    hardware                   TEXT,
    region                     TEXT    NOT NULL REFERENCES nodes (name),
    sshd_host_keys             TEXT    NOT NULL,
    ip_link_protection         BOOLEAN NOT NULL,
    max_connections_per_minute INTEGER NOT NULL,
    created_at                 BIGINT  NOT NULL,
    UNIQUE (account_id, name_folded)
);

-- Apart from the devices because it changes all the time and they hardly do.
CREATE TABLE device_presence (
    device_number INTEGER NOT NULL PRIMARY KEY REFERENCES devices (number) ON DELETE CASCADE,
    last_seen_at  BIGINT,
    last_end      TEXT,
    last_end_at   BIGINT
);

CREATE TABLE forwards (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    device_number BIGINT  NOT NULL REFERENCES devices (number) ON DELETE CASCADE,
    node          TEXT    NOT NULL REFERENCES nodes (name),
    device_port   INTEGER NOT NULL,
    public_port   INTEGER NOT NULL,
    is_first      BOOLEAN NOT NULL,
    session_token TEXT    UNIQUE,
    link_token    TEXT,
    http_label    TEXT    UNIQUE,
    created_at    BIGINT  NOT NULL,
    UNIQUE (node, public_port)
);
CREATE INDEX forwards_device ON forwards (device_number);

CREATE TABLE serial_counters (
    account_id  BIGINT NOT NULL REFERENCES accounts (id),
    prefix      TEXT   NOT NULL,
    next_number BIGINT NOT NULL,
    PRIMARY KEY (account_id, prefix)
);

-- No foreign keys: events outlive what they speak of.
CREATE TABLE events (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         BIGINT NOT NULL,
    account_id BIGINT,
    device_id  BLOB,
    user_id    BLOB,
    level      TEXT   NOT NULL CHECK (level IN ('info', 'warn', 'error')),
    kind       TEXT   NOT NULL,
    message    TEXT   NOT NULL,
    metadata   TEXT   NOT NULL
);
CREATE INDEX events_device ON events (device_id, id);
CREATE INDEX events_at ON events (at);

-- One row: by it a master key is recognised as the one that everything here is sealed under.
CREATE TABLE master_key_check (
    id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    hash BLOB NOT NULL
);
