-- Who may do what, what was done, and what happened: tokens, audit, events, idempotent replies, counters.

CREATE TABLE counter (
	name  TEXT PRIMARY KEY,              -- 'manifest': last signing counter; one number line for the whole server
	value INTEGER NOT NULL CHECK (value >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE token (
	id         INTEGER PRIMARY KEY,
	name       TEXT NOT NULL,            -- for people: "dashboard", "factory line 3"
	kind       TEXT NOT NULL CHECK (kind IN ('api', 'enrolment')),
	role       TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin', 'enrol')),
	sha256     BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32), -- of the token text; the text itself is shown once
	created_at INTEGER NOT NULL,         -- ms since 1970, as every time in this file
	expires_at INTEGER,                  -- NULL: never
	uses_left  INTEGER CHECK (uses_left >= 0), -- enrolment tokens only; NULL: unlimited
	revoked_at INTEGER
) STRICT;

CREATE TABLE audit (
	id       INTEGER PRIMARY KEY,
	at       INTEGER NOT NULL,
	who      TEXT NOT NULL,              -- token name, 'device:<id>' or 'aviary' for what the server does by itself
	role     TEXT NOT NULL,
	action   TEXT NOT NULL,              -- 'device.create', 'rollout.revert'
	resource TEXT NOT NULL,              -- 'devices/dev-1'
	before   TEXT,                       -- JSON, NULL when created
	after    TEXT                        -- JSON, NULL when deleted
) STRICT;
CREATE INDEX audit_resource ON audit (resource, id);

CREATE TABLE event (
	id       INTEGER PRIMARY KEY AUTOINCREMENT, -- the id of server-sent events; never used twice
	at       INTEGER NOT NULL,
	kind     TEXT NOT NULL,              -- 'rollout.status', 'deployment.state', 'verdict', 'alert'
	resource TEXT NOT NULL,              -- 'rollouts/7'
	data     TEXT NOT NULL               -- JSON object
) STRICT;
CREATE INDEX event_resource ON event (resource, id);

CREATE TABLE idempotency (
	principal      TEXT NOT NULL,        -- who sent it: keys of different callers never meet
	key            TEXT NOT NULL,
	request_sha256 BLOB NOT NULL,        -- method, path and body: the same key with another request is refused
	status         INTEGER NOT NULL,
	reply          BLOB NOT NULL,
	created_at     INTEGER NOT NULL,
	PRIMARY KEY (principal, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_age ON idempotency (created_at);
