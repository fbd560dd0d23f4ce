-- What variants cost on classes of hardware, which variant a device has, and what a release wants of it.

-- Learned from telemetry, one row a context (core/profile.h). `batch`: reports up to this batch of telemetry.db are in it.
CREATE TABLE profile (
	artifact   INTEGER NOT NULL REFERENCES artifact (id) ON DELETE CASCADE,
	hardware   TEXT NOT NULL,              -- of the devices; the artifact may be for any
	cell       INTEGER NOT NULL,
	figures    BLOB NOT NULL,
	batch      INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	PRIMARY KEY (artifact, hardware, cell)
) STRICT, WITHOUT ROWID;
-- Reports up to this batch are in every row that they belong to: the log is read again from here after a kill. One row.
CREATE TABLE profile_watermark (
	id    INTEGER PRIMARY KEY CHECK (id = 1),
	batch INTEGER NOT NULL
) STRICT;

-- Imported tables. By names: a table may come before the model does.
CREATE TABLE published_profile (
	hardware    TEXT NOT NULL,
	model       TEXT NOT NULL,
	version     TEXT NOT NULL,             -- '': any
	variant     TEXT NOT NULL,
	origin      TEXT NOT NULL,             -- where the table is from, for people
	latency_ms  REAL,
	latency_p95_ms REAL,
	energy_uj   REAL,
	memory_bytes REAL,
	accuracy    REAL,
	top1        REAL,                      -- a share
	auc         REAL,
	devices     INTEGER NOT NULL,
	samples     INTEGER NOT NULL,
	imported_at INTEGER NOT NULL,
	PRIMARY KEY (hardware, model, version, variant)
) STRICT, WITHOUT ROWID;

-- Which artifact of a model a device runs, as far as it was installed from here. Numbers of artifacts are never used twice, so those of
-- deleted ones stay without harm.
CREATE TABLE device_choice (
	device        INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
	model         INTEGER NOT NULL,
	artifact      INTEGER NOT NULL,
	version       INTEGER NOT NULL,
	since         INTEGER NOT NULL,        -- reports that were received before belong to the one before
	prev_artifact INTEGER,
	prev_version  INTEGER,
	PRIMARY KEY (device, model)
) STRICT, WITHOUT ROWID;

CREATE TABLE device_override (
	device  INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
	model   INTEGER NOT NULL REFERENCES model (id) ON DELETE CASCADE,
	variant TEXT NOT NULL,
	reason  TEXT NOT NULL,
	made_by TEXT NOT NULL,
	made_at INTEGER NOT NULL,
	PRIMARY KEY (device, model)
) STRICT, WITHOUT ROWID;
CREATE INDEX device_override_model ON device_override (model);

-- What was handed out over a metered link, for the budget of a day.
CREATE TABLE device_traffic (
	device INTEGER PRIMARY KEY REFERENCES device (id) ON DELETE CASCADE,
	day    INTEGER NOT NULL,               -- since 1970, UTC
	bytes  INTEGER NOT NULL
) STRICT;

ALTER TABLE release ADD COLUMN objective TEXT;       -- JSON; NULL: fastest, then least energy, then smallest
ALTER TABLE deployment ADD COLUMN parts TEXT;        -- numbers of the artifacts that were chosen; NULL: by hardware alone
ALTER TABLE deployment ADD COLUMN prev_parts TEXT;   -- of the release before, to go back to
ALTER TABLE deployment ADD COLUMN not_before INTEGER; -- withheld until then
