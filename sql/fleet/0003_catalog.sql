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
	precedence TEXT NOT NULL,              -- sort key: its byte order is SemVer precedence
	notes      TEXT NOT NULL DEFAULT '',
	created_at INTEGER NOT NULL,
	UNIQUE (model, version)
) STRICT;
CREATE INDEX version_precedence ON version (model, precedence, version);

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
	UNIQUE (version, hardware)
) STRICT;
CREATE INDEX artifact_sha256 ON artifact (sha256);
CREATE INDEX artifact_unfinished ON artifact (updated_at) WHERE state <> 'ready';

-- Contents whose last artifact is gone; the file goes once that is durable and no other artifact has them.
CREATE TABLE blob_garbage (
	sha256   TEXT PRIMARY KEY,
	added_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_garbage_age ON blob_garbage (added_at);

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

-- The artifacts that were ready when the release was made: a variant that is added to a version later is not part of it, so that
-- signing an old release again gives exactly the old content.
CREATE TABLE release_artifact (
	release  INTEGER NOT NULL REFERENCES release (id),
	artifact INTEGER NOT NULL REFERENCES artifact (id),
	PRIMARY KEY (release, artifact)
) STRICT, WITHOUT ROWID;
CREATE INDEX release_artifact_artifact ON release_artifact (artifact);

CREATE TABLE manifest (
	counter    INTEGER PRIMARY KEY,        -- from counter 'manifest'
	release    INTEGER NOT NULL REFERENCES release (id),
	bytes      BLOB NOT NULL,              -- exactly what was signed
	signature  BLOB NOT NULL CHECK (length(signature) = 64),
	key_id     TEXT NOT NULL,
	created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX manifest_release ON manifest (release, counter);
