-- Staged deployments of a release, their cohorts, and the judge's books.

CREATE TABLE rollout (
	id            INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: audit and events name it
	name          TEXT NOT NULL,
	release       INTEGER NOT NULL REFERENCES release (id),
	target_filter TEXT NOT NULL,           -- RSQL, '' = every device
	device_group  INTEGER REFERENCES device_group (id), -- NULL: by filter alone
	status        TEXT NOT NULL CHECK (status IN ('creating', 'waiting_for_approval', 'ready', 'starting', 'running', 'paused',
	                  'finished', 'stopping', 'stopped', 'reverting', 'reverted')),
	reason        TEXT NOT NULL DEFAULT '', -- why it is in this status, for people
	spec          TEXT NOT NULL,           -- the whole request as canonical JSON: policy, limits, windows, judge settings
	guarantee     TEXT NOT NULL DEFAULT 'exact', -- 'exact' or why not (judge.md section 8)
	seed_sha256   BLOB NOT NULL CHECK (length(seed_sha256) = 32), -- committed before the draw
	seed          BLOB NOT NULL CHECK (length(seed) = 32),        -- shown by the API only once the draw is made
	created_by    TEXT NOT NULL,
	approved_by   TEXT,
	target        INTEGER NOT NULL DEFAULT 0, -- devices of the plan
	created_at    INTEGER NOT NULL,
	started_at    INTEGER,
	ended_at      INTEGER,
	revision      INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE INDEX rollout_active ON rollout (id) WHERE status NOT IN ('finished', 'stopped', 'reverted');
CREATE INDEX rollout_release ON rollout (release);
CREATE INDEX rollout_created ON rollout (created_at, id);
CREATE INDEX rollout_status ON rollout (status, id);
CREATE INDEX rollout_group ON rollout (device_group) WHERE device_group IS NOT NULL; -- deleting a group

CREATE TABLE stage (
	rollout     INTEGER NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
	stage       INTEGER NOT NULL,          -- 0 is the canary
	name        TEXT NOT NULL,
	status      TEXT NOT NULL,             -- core/rollout.h has the table
	planned     INTEGER NOT NULL,          -- devices, after percentages were applied; the last stage takes what is left
	is_judged   INTEGER NOT NULL DEFAULT 0 CHECK (is_judged IN (0, 1)), -- blocks were drawn
	started_at  INTEGER,
	baking_at   INTEGER,                   -- success condition met: soak begins
	ended_at    INTEGER,
	error_floor INTEGER NOT NULL DEFAULT 0, -- errors that an operator resumed past
	blocks      INTEGER NOT NULL DEFAULT 0,
	controls    INTEGER NOT NULL DEFAULT 0, -- in each block
	verdict     TEXT NOT NULL DEFAULT 'continue', -- last of the judge
	look        INTEGER NOT NULL DEFAULT 0, -- last executed scheduled look
	extension   INTEGER NOT NULL DEFAULT 0,
	held        INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1)),
	PRIMARY KEY (rollout, stage)
) STRICT, WITHOUT ROWID;

-- How many deployments of a stage are in which state: kept in the same unit of work as the states, so that no tick counts rows.
CREATE TABLE stage_count (
	rollout INTEGER NOT NULL,
	stage   INTEGER NOT NULL,
	state   TEXT NOT NULL,
	n       INTEGER NOT NULL CHECK (n >= 0),
	PRIMARY KEY (rollout, stage, state),
	FOREIGN KEY (rollout, stage) REFERENCES stage (rollout, stage) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE deployment (
	id           INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: devices remember it
	rollout      INTEGER NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
	stage        INTEGER NOT NULL,
	device       INTEGER NOT NULL REFERENCES device (id),
	role         TEXT NOT NULL CHECK (role IN ('canary', 'wave')),
	state        TEXT NOT NULL,            -- core/deployment.h has the table
	attempt      INTEGER NOT NULL DEFAULT 1,
	prev_release INTEGER REFERENCES release (id), -- what the device ran before; NULL: unknown, cannot be reverted
	progress     INTEGER NOT NULL DEFAULT 0,
	reason       TEXT NOT NULL DEFAULT '',
	offered_at   INTEGER,                  -- of this attempt
	deadline_at  INTEGER,                  -- of this attempt; NULL while not offered
	ended_at     INTEGER,
	reverts      INTEGER NOT NULL DEFAULT 0, -- attempts to send the previous release back
	counter      INTEGER NOT NULL DEFAULT 0, -- of the manifest that was last handed out
	updated_at   INTEGER NOT NULL,
	UNIQUE (rollout, device)
) STRICT;
CREATE INDEX deployment_stage ON deployment (rollout, stage, state, id);
CREATE INDEX deployment_device ON deployment (device, id);
CREATE INDEX deployment_previous ON deployment (prev_release) WHERE prev_release IS NOT NULL; -- deleting a release
CREATE INDEX deployment_deadline ON deployment (deadline_at) WHERE deadline_at IS NOT NULL;
-- A device takes part in one rollout at a time: the row of its active deployment.
CREATE TABLE active_deployment (
	device     INTEGER PRIMARY KEY REFERENCES device (id) ON DELETE CASCADE,
	deployment INTEGER NOT NULL UNIQUE REFERENCES deployment (id) ON DELETE CASCADE
) STRICT;

CREATE TABLE block_member (
	rollout   INTEGER NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
	stage     INTEGER NOT NULL,
	block     INTEGER NOT NULL,
	device    INTEGER NOT NULL REFERENCES device (id),
	is_canary INTEGER NOT NULL CHECK (is_canary IN (0, 1)),
	unit      INTEGER NOT NULL DEFAULT 0,  -- devices of one unit share fate and are judged as one; 0: alone
	PRIMARY KEY (rollout, stage, block, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX block_member_device ON block_member (device, rollout, stage);

CREATE TABLE block_start (
	rollout INTEGER NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
	stage   INTEGER NOT NULL,
	block   INTEGER NOT NULL,
	t0      INTEGER NOT NULL,              -- the window of every member begins here
	PRIMARY KEY (rollout, stage, block)
) STRICT, WITHOUT ROWID;

CREATE TABLE baseline (
	rollout INTEGER NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
	stage   INTEGER NOT NULL,
	device  INTEGER NOT NULL REFERENCES device (id),
	gate    INTEGER NOT NULL,              -- place in the spec's list
	accum   BLOB NOT NULL,                 -- core's serialised metric accumulator, frozen when the cohort was drawn
	PRIMARY KEY (rollout, stage, device, gate)
) STRICT, WITHOUT ROWID;
CREATE INDEX baseline_device ON baseline (device, rollout); -- deleting a device

CREATE TABLE look (
	rollout    INTEGER NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
	stage      INTEGER NOT NULL,
	look       INTEGER NOT NULL,           -- k, from 1
	gate       INTEGER NOT NULL,
	at         INTEGER NOT NULL,
	reports    INTEGER NOT NULL,           -- of all block members, when looked
	blocks     INTEGER NOT NULL,
	devices    INTEGER NOT NULL,
	statistic  INTEGER NOT NULL,           -- S
	p          REAL NOT NULL,
	p_ni       REAL,
	alpha_look REAL NOT NULL,              -- budget of this metric at this look
	spent      REAL NOT NULL,              -- of alpha, whole rollout, this look included
	verdict    TEXT NOT NULL,
	data       TEXT NOT NULL,              -- JSON: effect, arms, scale, guarantee
	PRIMARY KEY (rollout, stage, look, gate)
) STRICT, WITHOUT ROWID;
