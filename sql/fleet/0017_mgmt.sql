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
