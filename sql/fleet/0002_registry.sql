-- Devices, what they are, what they run, what they should know; groups of them.

CREATE TABLE device (
	id                INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: telemetry is kept by it
	device_id         TEXT NOT NULL UNIQUE,   -- the public id
	name              TEXT NOT NULL DEFAULT '',
	hardware          TEXT NOT NULL,          -- hardware class
	capabilities      TEXT NOT NULL DEFAULT '{}', -- JSON object, as the device reported it
	desired           TEXT NOT NULL DEFAULT '{}', -- twin: JSON object by operators
	desired_revision  INTEGER NOT NULL DEFAULT 1,
	reported          TEXT NOT NULL DEFAULT '{}', -- JSON object: `running` as the device last reported it
	reported_revision INTEGER NOT NULL DEFAULT 1, -- of the reported twin: running and capabilities
	running_release   TEXT,                   -- name as reported; may be unknown here
	running_counter   INTEGER NOT NULL DEFAULT 0, -- manifest counter that the device confirmed: its floor
	running_firmware  TEXT,
	secret_sha256     BLOB CHECK (length(secret_sha256) = 32), -- NULL: may enrol
	desired_rev       INTEGER NOT NULL DEFAULT 0, -- protocol: `rev` of /desired
	sent_rev          INTEGER NOT NULL DEFAULT 0, -- last rev that the broker acknowledged
	report_boot       TEXT,                   -- last report that is durable
	report_seq        INTEGER NOT NULL DEFAULT 0,
	online            INTEGER NOT NULL DEFAULT 0 CHECK (online IN (0, 1)),
	last_seen_at      INTEGER NOT NULL DEFAULT 0, -- 0: never
	revision          INTEGER NOT NULL DEFAULT 1, -- ETag of the editable part
	created_at        INTEGER NOT NULL,
	updated_at        INTEGER NOT NULL
) STRICT;
CREATE INDEX device_hardware ON device (hardware, id);
CREATE INDEX device_last_seen ON device (last_seen_at, id);
CREATE INDEX device_name ON device (name, id);
CREATE INDEX device_created ON device (created_at, id);
CREATE INDEX device_release ON device (running_release, id);

CREATE TABLE device_attribute (
	device INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
	name   TEXT NOT NULL,
	value  TEXT NOT NULL,                  -- attributes are text; numbers compare as text
	PRIMARY KEY (device, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX device_attribute_value ON device_attribute (name, value, device);

CREATE TABLE device_tag (
	device INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
	tag    TEXT NOT NULL,
	PRIMARY KEY (device, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX device_tag_tag ON device_tag (tag, device);

CREATE TABLE device_model (
	device  INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
	model   TEXT NOT NULL,                 -- name and version as the device reported them
	version TEXT NOT NULL,
	PRIMARY KEY (device, model)
) STRICT, WITHOUT ROWID;
CREATE INDEX device_model_version ON device_model (model, version, device);

CREATE TABLE device_group (
	id          INTEGER PRIMARY KEY,
	name        TEXT NOT NULL UNIQUE,
	description TEXT NOT NULL DEFAULT '',
	filter      TEXT,                      -- RSQL: dynamic; NULL: static, members below
	revision    INTEGER NOT NULL DEFAULT 1,
	created_at  INTEGER NOT NULL,
	updated_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE group_member (
	device_group INTEGER NOT NULL REFERENCES device_group (id) ON DELETE CASCADE,
	device       INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
	PRIMARY KEY (device_group, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_member_device ON group_member (device);
