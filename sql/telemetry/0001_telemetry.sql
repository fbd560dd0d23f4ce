-- The log of telemetry and what is derived from it. Times are ms since 1970 by the server's clock.
--
-- One raw row is one batch as it was committed: reports packed in order of arrival (store/report_log.h), so that a report costs a
-- fraction of a row, and deleting old ones costs no more than dropping a table would. Everything below it can be made again from it.

CREATE TABLE raw (
	id       INTEGER PRIMARY KEY,          -- number of the batch, without gaps upwards
	first_ms INTEGER NOT NULL,             -- time of receipt of the first report; base of the packed times
	last_ms  INTEGER NOT NULL CHECK (last_ms >= first_ms),
	reports  INTEGER NOT NULL,
	data     BLOB NOT NULL
) STRICT;
CREATE INDEX raw_last ON raw (last_ms);

CREATE TABLE symbol (
	id    INTEGER PRIMARY KEY,             -- stands for the text in packed reports and roll-ups
	kind  TEXT NOT NULL CHECK (kind IN ('metric', 'version')),
	model TEXT NOT NULL,                   -- of a version; '' for a metric
	text  TEXT NOT NULL,
	UNIQUE (kind, model, text)
) STRICT;

-- Written once a minute in the order of the key, so that it grows at its end.
CREATE TABLE minute (
	bucket  INTEGER NOT NULL,              -- start of the minute
	metric  INTEGER NOT NULL,
	device  INTEGER NOT NULL,              -- row id in fleet.db
	version INTEGER NOT NULL,              -- 0: reported without one
	reports INTEGER NOT NULL,
	n       INTEGER NOT NULL,              -- values behind them
	sum     REAL NOT NULL,                 -- of values; of successes for a ratio
	min     REAL,                          -- NULL: values are not known (histograms)
	max     REAL,
	sketch  BLOB,                          -- core/ddsketch.h, of those values that quantiles are known of
	PRIMARY KEY (bucket, metric, device, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE hour (
	bucket  INTEGER NOT NULL,
	metric  INTEGER NOT NULL,
	device  INTEGER NOT NULL,
	version INTEGER NOT NULL,
	reports INTEGER NOT NULL,
	n       INTEGER NOT NULL,
	sum     REAL NOT NULL,
	min     REAL,
	max     REAL,
	sketch  BLOB,
	PRIMARY KEY (bucket, metric, device, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE device_state (
	device INTEGER PRIMARY KEY,
	batch  INTEGER NOT NULL,               -- the state holds every report up to this batch
	state  BLOB NOT NULL                   -- duplicates, habits, baselines, windows: service/telemetry_state.c
) STRICT;

CREATE TABLE progress (
	name  TEXT PRIMARY KEY,
	value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO progress (name, value) VALUES
	('rolled_batch', 0),                   -- minute roll-ups hold every batch up to this one
	('hours_before', 0),                   -- hour roll-ups are complete before this time
	('states_batch', 0);                   -- every device state holds every report up to this batch: replay starts after it
