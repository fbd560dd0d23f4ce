-- Deployments that change nothing on a device: releases in shadow, and controls that re-install what they run.

ALTER TABLE stage ADD COLUMN mode TEXT NOT NULL DEFAULT 'live' CHECK (mode IN ('live', 'shadow'));
ALTER TABLE device ADD COLUMN can_shadow INTEGER NOT NULL DEFAULT 0 CHECK (can_shadow IN (0, 1)); -- of capabilities, for scans

-- The deployments get a kind and another uniqueness, so their table is built anew. Foreign keys are on: a table that is dropped deletes its
-- rows first, and those of active_deployment would go with them. So that one goes before, and comes back after.
CREATE TABLE active_kept (device INTEGER PRIMARY KEY, deployment INTEGER NOT NULL) STRICT;
INSERT INTO active_kept SELECT device, deployment FROM active_deployment;
DROP TABLE active_deployment;

CREATE TABLE deployment_new (
	id           INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: devices remember it
	rollout      INTEGER NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
	stage        INTEGER NOT NULL,
	device       INTEGER NOT NULL REFERENCES device (id),
	kind         TEXT NOT NULL DEFAULT 'install' CHECK (kind IN ('install', 'shadow', 'sham')),
	role         TEXT NOT NULL CHECK (role IN ('canary', 'wave', 'control')),
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
	updated_at   INTEGER NOT NULL
) STRICT;
INSERT INTO deployment_new (id, rollout, stage, device, role, state, attempt, prev_release, progress, reason, offered_at, deadline_at, ended_at,
	reverts, counter, updated_at)
	SELECT id, rollout, stage, device, role, state, attempt, prev_release, progress, reason, offered_at, deadline_at, ended_at, reverts, counter,
		updated_at FROM deployment ORDER BY id;
-- Numbers of deleted deployments are not given again either.
DELETE FROM sqlite_sequence WHERE name = 'deployment_new';
INSERT INTO sqlite_sequence (name, seq) SELECT 'deployment_new', seq FROM sqlite_sequence WHERE name = 'deployment';
DROP TABLE deployment;
ALTER TABLE deployment_new RENAME TO deployment;

-- A device gets the release once in a rollout, and is in one role in a stage.
CREATE UNIQUE INDEX deployment_once ON deployment (rollout, device) WHERE kind = 'install';
CREATE UNIQUE INDEX deployment_aside ON deployment (rollout, stage, device) WHERE kind <> 'install';
CREATE INDEX deployment_stage ON deployment (rollout, stage, state, kind, id);
CREATE INDEX deployment_device ON deployment (device, id);
CREATE INDEX deployment_previous ON deployment (prev_release) WHERE prev_release IS NOT NULL; -- deleting a release
CREATE INDEX deployment_deadline ON deployment (deadline_at) WHERE deadline_at IS NOT NULL;
-- A device takes part in one rollout at a time: the row of its active deployment.
CREATE TABLE active_deployment (
	device     INTEGER PRIMARY KEY REFERENCES device (id) ON DELETE CASCADE,
	deployment INTEGER NOT NULL UNIQUE REFERENCES deployment (id) ON DELETE CASCADE
) STRICT;
INSERT INTO active_deployment SELECT device, deployment FROM active_kept;
DROP TABLE active_kept;
