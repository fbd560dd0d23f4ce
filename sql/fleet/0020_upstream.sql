-- Where new versions of a model come from, and what became of each of them.
CREATE TABLE upstream (
	id            INTEGER PRIMARY KEY AUTOINCREMENT,
	name          TEXT NOT NULL UNIQUE,
	model         TEXT NOT NULL,           -- name; made with the first version where there is none
	kind          TEXT NOT NULL CHECK (kind IN ('index', 'directory', 's3', 'hawkbit', 'aviary')),
	url           TEXT NOT NULL,           -- of a directory: its path
	prefix        TEXT NOT NULL,           -- of a bucket: what keys begin with; of other servers: name of the model there
	public_key    TEXT NOT NULL,           -- base64 of the Ed25519 key that signs; '': nothing is signed
	auth          TEXT NOT NULL CHECK (auth IN ('none', 'basic', 'bearer', 'header')),
	user          TEXT NOT NULL,           -- of basic: who; of header: its name
	secret        BLOB,                    -- sealed with keys/target.key; NULL: none
	ca_file       TEXT NOT NULL,
	interval_ms   INTEGER NOT NULL,
	alert_after   INTEGER NOT NULL,        -- failures in a row
	policy        TEXT NOT NULL,           -- JSON, canonical
	is_enabled    INTEGER NOT NULL,
	revision      INTEGER NOT NULL,
	created_at    INTEGER NOT NULL,
	updated_at    INTEGER NOT NULL,
	-- how it goes
	etag          TEXT NOT NULL DEFAULT '', -- of the last document that was taken over
	published     INTEGER NOT NULL DEFAULT 0, -- the highest that was seen
	state         TEXT NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'ok', 'failing', 'stopped')),
	fault         TEXT NOT NULL DEFAULT '', -- why it is failing: core/upstream.h
	reason        TEXT NOT NULL DEFAULT '',
	failures      INTEGER NOT NULL DEFAULT 0, -- in a row
	checked_at    INTEGER,
	succeeded_at  INTEGER,
	next_at       INTEGER NOT NULL,
	stopped_version TEXT NOT NULL DEFAULT '' -- was reverted: a newer one is waited for
) STRICT;

CREATE TABLE upstream_version (
	id         INTEGER PRIMARY KEY,
	upstream   INTEGER NOT NULL REFERENCES upstream (id) ON DELETE CASCADE,
	version    TEXT NOT NULL,
	digest     TEXT NOT NULL,              -- of what is published under it
	withdrawn  INTEGER NOT NULL DEFAULT 0,
	record     TEXT,                       -- JSON: notes and artifacts with absolute addresses; NULL: not read
	status     TEXT NOT NULL CHECK (status IN ('seen', 'fetching', 'fetched', 'released', 'rolling', 'done', 'refused', 'reverted')),
	fault      TEXT NOT NULL DEFAULT '',
	reason     TEXT NOT NULL DEFAULT '',
	table_json TEXT,                       -- which classes of hardware are left out and why, when the release was made
	attempts   INTEGER NOT NULL DEFAULT 0, -- of this step, in a row
	next_at    INTEGER NOT NULL DEFAULT 0, -- not tried again before
	release    INTEGER,                    -- row; may be deleted meanwhile
	rollout    INTEGER,
	seen_at    INTEGER NOT NULL,
	updated_at INTEGER NOT NULL,
	UNIQUE (upstream, version)
) STRICT;
CREATE INDEX upstream_version_busy ON upstream_version (upstream) WHERE status IN ('fetching', 'fetched', 'released', 'rolling');
