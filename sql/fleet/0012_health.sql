-- Commands to devices, and health checks with the newest result of each device.

CREATE TABLE command (
	id           INTEGER PRIMARY KEY AUTOINCREMENT, -- devices know it by this number: it never comes again
	kind         TEXT NOT NULL,
	params       TEXT NOT NULL DEFAULT '{}',  -- JSON object, sent as it is
	device_id    TEXT,                        -- one device, by its public id; else group and filter
	device_group INTEGER,                     -- no reference: a group that goes must not make the target wider
	filter       TEXT NOT NULL DEFAULT '',
	health_check INTEGER,                     -- the check that asked, or NULL
	timeout_ms   INTEGER NOT NULL CHECK (timeout_ms > 0), -- from when it is a device's turn
	rate         REAL NOT NULL CHECK (rate > 0), -- devices a second
	spread_ms    INTEGER NOT NULL DEFAULT 0,  -- above 0: as slowly as this needs, in random order
	is_spreading INTEGER NOT NULL DEFAULT 1 CHECK (is_spreading IN (0, 1)), -- devices are still to be found
	is_cancelled INTEGER NOT NULL DEFAULT 0 CHECK (is_cancelled IN (0, 1)),
	queued       INTEGER NOT NULL DEFAULT 0,
	sent         INTEGER NOT NULL DEFAULT 0,
	answered     INTEGER NOT NULL DEFAULT 0,
	failed       INTEGER NOT NULL DEFAULT 0,
	expired      INTEGER NOT NULL DEFAULT 0,
	created_at   INTEGER NOT NULL,
	created_by   TEXT NOT NULL
) STRICT;
CREATE INDEX command_spreading ON command (id) WHERE is_spreading = 1;

-- One device's part of a command.
CREATE TABLE errand (
	command     INTEGER NOT NULL REFERENCES command (id) ON DELETE CASCADE,
	device      INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
	state       TEXT NOT NULL CHECK (state IN ('queued', 'sent', 'answered', 'failed', 'expired')),
	created_at  INTEGER NOT NULL,
	deadline_at INTEGER NOT NULL,
	sent_at     INTEGER,
	ended_at    INTEGER,
	answer      TEXT,                         -- JSON object
	PRIMARY KEY (command, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX errand_device ON errand (device, command);
CREATE INDEX errand_open ON errand (command, device, state, deadline_at) WHERE state IN ('queued', 'sent');

CREATE TABLE health_check (
	id          INTEGER PRIMARY KEY AUTOINCREMENT,
	name        TEXT NOT NULL UNIQUE,
	kind        TEXT NOT NULL,                -- 'limit', or what a device checks: core/command.h
	hardware    TEXT NOT NULL DEFAULT '',     -- '' any
	model       TEXT NOT NULL DEFAULT '',
	filter      TEXT NOT NULL DEFAULT '',
	metric      TEXT NOT NULL DEFAULT '',     -- of a limit
	operator    TEXT NOT NULL DEFAULT '' CHECK (operator IN ('', 'gt', 'lt')), -- the bad side
	threshold   REAL NOT NULL DEFAULT 0,
	window_ms   INTEGER NOT NULL DEFAULT 0,
	hot_c       REAL,                         -- NULL: heat excuses nothing
	battery_low REAL,
	rssi_bad    REAL,
	every_ms    INTEGER NOT NULL DEFAULT 0,
	timeout_ms  INTEGER NOT NULL,
	severity    TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
	next_at     INTEGER NOT NULL DEFAULT 0,   -- when a schedule runs next
	revision    INTEGER NOT NULL DEFAULT 1,
	deleted_at  INTEGER,                      -- its results are deleted in pieces, itself last
	created_at  INTEGER NOT NULL,
	updated_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE health_result (
	health_check INTEGER NOT NULL REFERENCES health_check (id) ON DELETE CASCADE,
	device       INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
	passed       INTEGER NOT NULL CHECK (passed IN (0, 1)),
	firing       INTEGER NOT NULL CHECK (firing IN (0, 1)), -- its alert fires
	cell         INTEGER NOT NULL CHECK (cell BETWEEN 0 AND 7),
	at           INTEGER NOT NULL,
	value        REAL,
	detail       TEXT NOT NULL DEFAULT '',
	model        TEXT NOT NULL DEFAULT '',
	version      TEXT NOT NULL DEFAULT '',
	counts       BLOB NOT NULL,               -- results and failures of each cell, 16 bits each, little-endian
	PRIMARY KEY (health_check, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX health_result_device ON health_result (device, health_check);
