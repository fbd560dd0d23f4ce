-- Models, versions, artifacts; releases and their signed manifests.

CREATE TABLE model (
	id          INTEGER PRIMARY KEY,
	name        TEXT NOT NULL UNIQUE,
	kind        TEXT NOT NULL CHECK (kind IN ('model', 'firmware')),
	description TEXT NOT NULL DEFAULT '',
	revision    INTEGER NOT NULL DEFAULT 1,
	created_at  INTEGER NOT NULL,
	updated_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE version (
	id         INTEGER PRIMARY KEY,
	model      INTEGER NOT NULL REFERENCES model (id),
	version    TEXT NOT NULL,              -- SemVer 2.0.0
	notes      TEXT NOT NULL DEFAULT '',
	created_at INTEGER NOT NULL,
	UNIQUE (model, version)
) STRICT;

CREATE TABLE artifact (
	id             INTEGER PRIMARY KEY,
	version        INTEGER NOT NULL REFERENCES version (id),
	hardware       TEXT NOT NULL,          -- hardware class it is for, '*' for any
	file_name      TEXT NOT NULL,
	size_bytes     INTEGER NOT NULL CHECK (size_bytes >= 1),
	sha256         TEXT NOT NULL CHECK (length(sha256) = 64),
	state          TEXT NOT NULL CHECK (state IN ('uploading', 'ready', 'failed')),
	received_bytes INTEGER NOT NULL DEFAULT 0, -- durable bytes of an upload; where to resume
	created_at     INTEGER NOT NULL,
	UNIQUE (version, hardware)
) STRICT;
CREATE INDEX artifact_sha256 ON artifact (sha256);
CREATE INDEX artifact_unfinished ON artifact (id) WHERE state = 'uploading';

CREATE TABLE release (
	id          INTEGER PRIMARY KEY,
	name        TEXT NOT NULL UNIQUE,
	description TEXT NOT NULL DEFAULT '',
	config      TEXT NOT NULL DEFAULT '{}', -- JSON object, activated with the release
	created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE release_component (
	release INTEGER NOT NULL REFERENCES release (id),
	version INTEGER NOT NULL REFERENCES version (id),
	PRIMARY KEY (release, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX release_component_version ON release_component (version);

CREATE TABLE manifest (
	counter    INTEGER PRIMARY KEY,        -- from counter 'manifest'
	release    INTEGER NOT NULL REFERENCES release (id),
	bytes      BLOB NOT NULL,              -- exactly what was signed
	signature  BLOB NOT NULL CHECK (length(signature) = 64),
	key_id     TEXT NOT NULL,
	created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX manifest_release ON manifest (release, counter);
