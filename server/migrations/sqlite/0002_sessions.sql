-- Forwards as sessions of the Openport surface: unused ones are let go, killed ones are refused once.
ALTER TABLE forwards ADD COLUMN is_http BOOLEAN NOT NULL DEFAULT 0;
-- NULL: as the device's setting says.
ALTER TABLE forwards ADD COLUMN link_protection BOOLEAN;
ALTER TABLE forwards ADD COLUMN killed BOOLEAN NOT NULL DEFAULT 0;
ALTER TABLE forwards ADD COLUMN last_used_at BIGINT;

-- NULL: the HTTP names of the node are under its public DNS name.
ALTER TABLE nodes ADD COLUMN names_domain TEXT;

-- Registers keys to the account; made when it is first asked for.
ALTER TABLE accounts ADD COLUMN binding_token_hash BLOB;
ALTER TABLE accounts ADD COLUMN binding_token_sealed BLOB;
CREATE UNIQUE INDEX accounts_binding_token ON accounts (binding_token_hash);

-- What a device without an SSH key calls itself, and what its client told.
ALTER TABLE devices ADD COLUMN unique_client_id TEXT;
ALTER TABLE devices ADD COLUMN client_version TEXT;
ALTER TABLE devices ADD COLUMN platform TEXT;
CREATE UNIQUE INDEX devices_unique_client_id ON devices (account_id, unique_client_id);

ALTER TABLE device_presence ADD COLUMN last_up_at BIGINT;
-- Payload bytes since the first of the month, or since the device was made.
ALTER TABLE device_presence ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE device_presence ADD COLUMN bytes_since BIGINT;

-- No foreign keys: clicks outlive the device.
CREATE TABLE link_clicks (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         BIGINT  NOT NULL,
    account_id BIGINT  NOT NULL,
    device_id  BLOB    NOT NULL,
    forward_id BIGINT  NOT NULL,
    port       INTEGER NOT NULL,
    source_ip  TEXT    NOT NULL,
    key_name   TEXT    NOT NULL
);
CREATE INDEX link_clicks_account ON link_clicks (account_id, id);
CREATE INDEX link_clicks_visitor ON link_clicks (forward_id, source_ip, at);
CREATE INDEX link_clicks_at ON link_clicks (at);
