-- What the detection layer remembers (service/detect.h): derived from raw, like device_state; written in pieces with the batches.

CREATE TABLE detect_state (
	id    INTEGER PRIMARY KEY,             -- 4 x number + what: 0 device (row id in fleet.db), 1 cohort, 2 budget and drift of a cohort
	batch INTEGER NOT NULL,                -- the state holds every report up to this batch
	state BLOB NOT NULL                    -- service/detect_store.c
) STRICT;

-- What reports of a cohort were judged with, from a batch on: so that a replay of a device alone gives the same bits.
CREATE TABLE detect_view (
	cohort INTEGER NOT NULL,
	batch  INTEGER NOT NULL,
	view   BLOB NOT NULL,
	PRIMARY KEY (cohort, batch)
) STRICT, WITHOUT ROWID;

-- Samples with a novelty score that is an event (above one half).
CREATE TABLE anomaly (
	at     INTEGER NOT NULL,               -- time of receipt
	device INTEGER NOT NULL,
	metric INTEGER NOT NULL,               -- symbol
	score  REAL NOT NULL,
	value  REAL NOT NULL,
	PRIMARY KEY (at, device, metric)
) STRICT, WITHOUT ROWID;

-- Every row of detect_state holds every report up to this batch. A log from before this table is not read again: that may be a week's.
INSERT INTO progress (name, value) SELECT 'detect_batch', value FROM progress WHERE name = 'states_batch';
