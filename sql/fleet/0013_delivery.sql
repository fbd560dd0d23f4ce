-- Who is told of alerts, what they know, and what is on its way to them.

CREATE TABLE receiver (
	id          INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: keys of deliveries are made of it
	name        TEXT NOT NULL UNIQUE,
	type        TEXT NOT NULL CHECK (type IN ('webhook', 'alertmanager', 'email')),
	is_enabled  INTEGER NOT NULL,
	matchers    TEXT NOT NULL,             -- JSON as of silences; all must match, none: everything
	url         TEXT NOT NULL,             -- https: http: smtp: smtps:
	secret      TEXT NOT NULL,             -- HMAC key, bearer token or password; never shown again
	settings    TEXT NOT NULL,             -- JSON: ca_file, user, sender, recipients, title, text, body
	wait_ms     INTEGER NOT NULL,
	interval_ms INTEGER NOT NULL,
	repeat_ms   INTEGER NOT NULL,
	timeout_ms  INTEGER NOT NULL,          -- of one attempt
	revision    INTEGER NOT NULL DEFAULT 1,
	created_at  INTEGER NOT NULL,
	updated_at  INTEGER NOT NULL
) STRICT;

-- An alert in its group, from its first notice until everybody knows that it is resolved.
CREATE TABLE notify_member (
	group_key TEXT NOT NULL,
	alert     INTEGER NOT NULL REFERENCES alert (id) ON DELETE CASCADE,
	change    INTEGER NOT NULL,            -- numbers that only grow, of all groups: the last change of it
	is_firing INTEGER NOT NULL,
	is_muted  INTEGER NOT NULL DEFAULT 0,  -- silenced or inhibited when it was looked at last
	is_told   INTEGER NOT NULL DEFAULT 0,  -- somebody was told that it fires
	PRIMARY KEY (group_key, alert)
) STRICT, WITHOUT ROWID;
CREATE INDEX notify_member_change ON notify_member (group_key, change);
CREATE INDEX notify_member_alert ON notify_member (alert);

-- What a receiver knows of a group (core/notify_plan.h).
CREATE TABLE notify_track (
	receiver    INTEGER NOT NULL REFERENCES receiver (id) ON DELETE CASCADE,
	group_key   TEXT NOT NULL,
	key         TEXT NOT NULL,             -- of its deliveries; a track that begins anew has another one
	due_at      INTEGER,                   -- NULL: nothing to come
	first_at    INTEGER NOT NULL,
	told_at     INTEGER NOT NULL,
	seq         INTEGER NOT NULL,
	told_change INTEGER NOT NULL,
	was_firing  INTEGER NOT NULL,
	is_waiting  INTEGER NOT NULL,
	touched_at  INTEGER NOT NULL,
	PRIMARY KEY (receiver, group_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX notify_track_due ON notify_track (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX notify_track_group ON notify_track (group_key);
CREATE INDEX notify_track_touched ON notify_track (touched_at);

CREATE TABLE delivery (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	receiver   INTEGER NOT NULL REFERENCES receiver (id) ON DELETE CASCADE,
	key        TEXT NOT NULL,              -- key:seq is the Idempotency-Key; of one key one at a time, in order
	seq        INTEGER NOT NULL,
	group_key  TEXT NOT NULL,
	status     TEXT NOT NULL CHECK (status IN ('pending', 'sent', 'dead')),
	subject    TEXT NOT NULL,
	body       TEXT NOT NULL,              -- as it is sent; of mail the text
	created_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,           -- an attempt that fails then was the last one
	next_at    INTEGER NOT NULL,
	attempts   INTEGER NOT NULL DEFAULT 0,
	reply      INTEGER NOT NULL DEFAULT 0, -- status of the last answer, 0: none
	error      TEXT NOT NULL DEFAULT '',
	done_at    INTEGER,                    -- sent or dead
	UNIQUE (key, seq)
) STRICT;
CREATE INDEX delivery_next ON delivery (receiver, next_at) WHERE status = 'pending';
CREATE INDEX delivery_order ON delivery (key, id) WHERE status = 'pending';
CREATE INDEX delivery_status ON delivery (status, id);
CREATE INDEX delivery_receiver ON delivery (receiver, id);
CREATE INDEX delivery_done ON delivery (done_at) WHERE done_at IS NOT NULL;
