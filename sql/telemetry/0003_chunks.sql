-- Roll-ups are of the whole fleet now; what single devices reported is regrouped from the log into chunks. A row a device, metric and minute
-- is eight million rows a minute for a million devices with eight metrics; a chunk an hour is one row a device.

CREATE TABLE fleet_minute (
	bucket  INTEGER NOT NULL,              -- start of the minute
	metric  INTEGER NOT NULL,
	version INTEGER NOT NULL,              -- 0: reported without one
	reports INTEGER NOT NULL,
	n       INTEGER NOT NULL,              -- values behind them
	sum     REAL NOT NULL,                 -- of values; of successes for a ratio
	min     REAL,                          -- NULL: values are not known (histograms)
	max     REAL,
	sketch  BLOB,                          -- core/ddsketch.h, of those values that quantiles are known of
	PRIMARY KEY (bucket, metric, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE fleet_hour (
	bucket  INTEGER NOT NULL,
	metric  INTEGER NOT NULL,
	version INTEGER NOT NULL,
	reports INTEGER NOT NULL,
	n       INTEGER NOT NULL,
	sum     REAL NOT NULL,
	min     REAL,
	max     REAL,
	sketch  BLOB,
	PRIMARY KEY (bucket, metric, version)
) STRICT, WITHOUT ROWID;

-- Without sketches, which cannot be merged here: quantiles of that time are not told any more.
INSERT INTO fleet_minute SELECT bucket, metric, version, sum(reports), sum(n), sum(sum), CASE WHEN count(min) = count(*) THEN min(min) END,
	CASE WHEN count(max) = count(*) THEN max(max) END, NULL FROM minute GROUP BY bucket, metric, version;
INSERT INTO fleet_hour SELECT bucket, metric, version, sum(reports), sum(n), sum(sum), CASE WHEN count(min) = count(*) THEN min(min) END,
	CASE WHEN count(max) = count(*) THEN max(max) END, NULL FROM hour GROUP BY bucket, metric, version;
DROP TABLE minute;
DROP TABLE hour;

-- A part of the log that is regrouped as one: its batches first_batch to last_batch.
CREATE TABLE period (
	id          INTEGER PRIMARY KEY,
	first_batch INTEGER NOT NULL,
	last_batch  INTEGER NOT NULL CHECK (last_batch >= first_batch),
	first_ms    INTEGER NOT NULL,          -- least time of receipt; base of the chunks' times
	last_ms     INTEGER NOT NULL
) STRICT;
CREATE INDEX period_last ON period (last_ms);

-- Written in the order of the key, so that it grows at its end. A long chunk is cut into parts, because a row of more than a quarter of a page
-- spills into pages of its own.
CREATE TABLE chunk (
	period INTEGER NOT NULL,
	device INTEGER NOT NULL,               -- row id in fleet.db
	part   INTEGER NOT NULL,
	data   BLOB NOT NULL,                  -- store/chunk.h
	PRIMARY KEY (period, device, part)
) STRICT, WITHOUT ROWID;

INSERT INTO progress (name, value) VALUES
	('regrouped_batch', 0);                -- periods and chunks hold every batch up to this one
