-- Variants of a version, what is known of an artifact's content, and capabilities that devices share.

-- A version may have several variants for one class of hardware. The table is made anew, as in 0017.
PRAGMA defer_foreign_keys = ON;
CREATE TABLE artifact_before AS SELECT * FROM artifact;
CREATE TABLE artifact_sequence AS SELECT seq FROM sqlite_sequence WHERE name = 'artifact';
DROP TABLE artifact;
CREATE TABLE artifact (
	id             INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: files of uploads are named by it
	version        INTEGER NOT NULL REFERENCES version (id),
	hardware       TEXT NOT NULL,          -- hardware class it is for, '*' for any
	variant        TEXT NOT NULL DEFAULT '', -- one of several that do the same job; a device gets one of them
	file_name      TEXT NOT NULL,
	size_bytes     INTEGER NOT NULL CHECK (size_bytes >= 1),
	sha256         TEXT NOT NULL CHECK (length(sha256) = 64),
	state          TEXT NOT NULL CHECK (state IN ('uploading', 'ready', 'failed')), -- failed: other bytes came, or they were refused
	received_bytes INTEGER NOT NULL DEFAULT 0, -- durable bytes of an upload; where to resume
	created_at     INTEGER NOT NULL,
	updated_at     INTEGER NOT NULL,       -- last change of state or received_bytes
	sha1           TEXT,                   -- NULL: not computed yet
	md5            TEXT,
	declared       TEXT,                   -- JSON by its publisher: format, requires, quality; NULL: nothing
	facts_state    TEXT NOT NULL DEFAULT 'none' CHECK (facts_state IN ('none', 'reading', 'read', 'opaque', 'refused')),
	facts          TEXT,                   -- JSON: what the content says (core/model_file.h)
	facts_summary  TEXT,                   -- JSON: the few members of it that lists show
	facts_error    TEXT,                   -- of one that was refused: why, with the place in the file
	requires       TEXT,                   -- JSON: derived and declared, joined (core/requirement.h); NULL: nothing beyond the hardware
	UNIQUE (version, hardware, variant, file_name)
) STRICT;
INSERT INTO artifact (id, version, hardware, file_name, size_bytes, sha256, state, received_bytes, created_at, updated_at, sha1, md5, facts_state)
	SELECT id, version, hardware, file_name, size_bytes, sha256, state, received_bytes, created_at, updated_at, sha1, md5,
		iif(state = 'ready', 'reading', 'none') FROM artifact_before;
INSERT INTO sqlite_sequence (name, seq) SELECT 'artifact', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'artifact');
UPDATE sqlite_sequence SET seq = max(seq, coalesce((SELECT seq FROM artifact_sequence), 0)) WHERE name = 'artifact';
DROP TABLE artifact_before;
DROP TABLE artifact_sequence;
CREATE INDEX artifact_sha256 ON artifact (sha256);
CREATE INDEX artifact_unfinished ON artifact (updated_at) WHERE state <> 'ready';
CREATE INDEX artifact_undigested ON artifact (id) WHERE sha1 IS NULL AND state = 'ready';
CREATE INDEX artifact_unread ON artifact (id) WHERE facts_state = 'reading';

-- What devices say that they can do, as far as models are matched against it: devices with the same words share a row. Rows that no device
-- names any more go at the next start.
CREATE TABLE capability_class (
	id    INTEGER PRIMARY KEY,
	words TEXT NOT NULL                    -- canonical JSON: members of core/compat.h, and "running_firmware"
) STRICT;
ALTER TABLE device ADD COLUMN capability_class INTEGER NOT NULL DEFAULT 0; -- 0: it was not worked out yet, or nothing is known
