-- Settings that can be changed while the server runs, and what hawkBit's Management API tells of models, versions and releases.

CREATE TABLE setting (
	key        TEXT PRIMARY KEY,           -- hawkBit's words: pollingTime; service/settings.c has the table
	value      TEXT NOT NULL,
	updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A name that is none of ours ("Test Module 1"), as it was given; NULL: the name itself.
ALTER TABLE model ADD COLUMN title TEXT;
ALTER TABLE version ADD COLUMN label TEXT;      -- "1.0" is stored as 1.0.0; NULL: the version itself
ALTER TABLE version ADD COLUMN vendor TEXT NOT NULL DEFAULT '';
ALTER TABLE version ADD COLUMN deleted_at INTEGER; -- releases that hold it keep it; nobody sees it any more
ALTER TABLE release ADD COLUMN title TEXT;
ALTER TABLE release ADD COLUMN label TEXT;      -- the version that hawkBit's distribution sets have
ALTER TABLE release ADD COLUMN kind TEXT CHECK (kind IN ('os', 'app', 'os_app')); -- NULL: by its components
-- A draft has versions, but no artifacts and no manifest yet: they are taken when it is first sent out.
ALTER TABLE release ADD COLUMN is_draft INTEGER NOT NULL DEFAULT 0 CHECK (is_draft IN (0, 1));
ALTER TABLE release ADD COLUMN deleted_at INTEGER; -- a device may still run it, or go back to it

ALTER TABLE device ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE device_group ADD COLUMN title TEXT; -- a target filter's name, where it is none of ours
ALTER TABLE device_group ADD COLUMN query TEXT; -- and its RSQL in hawkBit's words, as it was given; NULL: it is ours

-- Tags with a number, a colour and a text. Devices carry them by name, also such as are in no row here.
CREATE TABLE tag (
	id          INTEGER PRIMARY KEY AUTOINCREMENT,
	name        TEXT NOT NULL UNIQUE,      -- as devices carry it
	title       TEXT NOT NULL,
	description TEXT NOT NULL DEFAULT '',
	colour      TEXT,
	created_at  INTEGER NOT NULL,
	updated_at  INTEGER NOT NULL
) STRICT;

-- A version may have several files for one class of hardware. The table is made anew, as SQLite cannot drop a constraint; what refers to it
-- (release_artifact) is checked at the end of the transaction, and numbers are not given again.
PRAGMA defer_foreign_keys = ON;
CREATE TABLE artifact_before AS SELECT * FROM artifact;
CREATE TABLE artifact_sequence AS SELECT seq FROM sqlite_sequence WHERE name = 'artifact';
DROP TABLE artifact;
CREATE TABLE artifact (
	id             INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: files of uploads are named by it
	version        INTEGER NOT NULL REFERENCES version (id),
	hardware       TEXT NOT NULL,          -- hardware class it is for, '*' for any
	file_name      TEXT NOT NULL,
	size_bytes     INTEGER NOT NULL CHECK (size_bytes >= 1),
	sha256         TEXT NOT NULL CHECK (length(sha256) = 64),
	state          TEXT NOT NULL CHECK (state IN ('uploading', 'ready', 'failed')), -- failed: other bytes came; may be tried again
	received_bytes INTEGER NOT NULL DEFAULT 0, -- durable bytes of an upload; where to resume
	created_at     INTEGER NOT NULL,
	updated_at     INTEGER NOT NULL,       -- last change of state or received_bytes
	sha1           TEXT,                   -- NULL: not computed yet
	md5            TEXT,
	UNIQUE (version, hardware, file_name)
) STRICT;
INSERT INTO artifact (id, version, hardware, file_name, size_bytes, sha256, state, received_bytes, created_at, updated_at, sha1, md5)
	SELECT id, version, hardware, file_name, size_bytes, sha256, state, received_bytes, created_at, updated_at, sha1, md5 FROM artifact_before;
INSERT INTO sqlite_sequence (name, seq) SELECT 'artifact', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'artifact');
UPDATE sqlite_sequence SET seq = max(seq, coalesce((SELECT seq FROM artifact_sequence), 0)) WHERE name = 'artifact';
DROP TABLE artifact_before;
DROP TABLE artifact_sequence;
CREATE INDEX artifact_sha256 ON artifact (sha256);
CREATE INDEX artifact_unfinished ON artifact (updated_at) WHERE state <> 'ready';
CREATE INDEX artifact_undigested ON artifact (id) WHERE sha1 IS NULL AND state = 'ready';
