-- Offloading: which inferences of a model may go to an operator's endpoint, and what came back, by class of hardware and version.

CREATE TABLE offload_policy (
	model       INTEGER PRIMARY KEY REFERENCES model (id),
	endpoint    TEXT NOT NULL,     -- URL, https
	target      REAL NOT NULL CHECK (target BETWEEN 0 AND 1), -- share of inferences to send
	margin      INTEGER NOT NULL CHECK (margin BETWEEN 0 AND 10000), -- 1/10000: where a class begins
	audit       INTEGER NOT NULL CHECK (audit BETWEEN 0 AND 10000),  -- 1/10000: share of sure ones that are sent all the same
	link        TEXT NOT NULL CHECK (link IN ('bad', 'metered', 'good')), -- least that will do
	rssi        INTEGER,           -- least dBm; NULL: any
	rate        INTEGER NOT NULL,  -- least kbit/s; 0: any
	battery     INTEGER NOT NULL,  -- least percent; 0: any
	unit        INTEGER NOT NULL CHECK (unit BETWEEN 0 AND 3), -- enum offload_unit of the budget
	budget      INTEGER NOT NULL CHECK (budget >= 0),          -- of each device
	fit_every   INTEGER NOT NULL CHECK (fit_every >= 1),       -- ms: a margin changes at most so often
	rate_max    REAL,              -- bounds; NULL: not watched
	agreement_min REAL,            -- of audits
	agreement_max REAL,            -- of hard ones
	cost_max    REAL,              -- mean of an inference
	rev         INTEGER NOT NULL,  -- what devices are told where a class has nothing of its own
	revision    INTEGER NOT NULL,  -- grows with each change by an operator
	created_at  INTEGER NOT NULL,
	updated_at  INTEGER NOT NULL
) STRICT;

-- A class begins with its first report.
CREATE TABLE offload_class (
	model       INTEGER NOT NULL REFERENCES offload_policy (model) ON DELETE CASCADE,
	hardware    TEXT NOT NULL,
	version     TEXT NOT NULL,     -- that ran
	margin      INTEGER NOT NULL CHECK (margin BETWEEN 0 AND 10000), -- that is distributed, 1/10000
	rev         INTEGER NOT NULL,  -- of this margin, on the server's number line; devices say which one they had
	rev_at      INTEGER NOT NULL,  -- since when
	fitted_at   INTEGER NOT NULL,  -- last time that it was looked at
	why         TEXT NOT NULL,     -- what came of that (core/offload_policy.h)
	fits        INTEGER NOT NULL,  -- how often the margin was changed
	faded_at    INTEGER NOT NULL,  -- when the figures were halved last
	batch       INTEGER NOT NULL,  -- last batch of telemetry that is in them
	stats       BLOB NOT NULL,     -- of reports with this rev
	PRIMARY KEY (model, hardware, version)
) STRICT, WITHOUT ROWID;

-- Reports up to this batch of telemetry are in the rows.
CREATE TABLE offload_watermark (
	id          INTEGER PRIMARY KEY CHECK (id = 1),
	batch       INTEGER NOT NULL
) STRICT;
