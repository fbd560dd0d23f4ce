-- Devices that speak hawkBit's DDI: how they prove who they are, and the attempts of their deployments as they know them.

ALTER TABLE device ADD COLUMN protocol TEXT NOT NULL DEFAULT 'aviary' CHECK (protocol IN ('aviary', 'ddi'));
ALTER TABLE device ADD COLUMN target_token BLOB;      -- sealed with keys/target.key: nonce, text, tag
ALTER TABLE device ADD COLUMN wants_attributes INTEGER NOT NULL DEFAULT 0 CHECK (wants_attributes IN (0, 1)); -- configData is asked for
ALTER TABLE device ADD COLUMN auto_confirm TEXT;      -- JSON: initiator, remark, activated_at; NULL: off
ALTER TABLE device ADD COLUMN installed_at INTEGER NOT NULL DEFAULT 0; -- by the device's clock: older news change nothing
ALTER TABLE device ADD COLUMN installed_action INTEGER; -- the last one that finished; NULL: none, or it said that it runs something else
CREATE INDEX device_ddi ON device (id) WHERE protocol = 'ddi';

-- Of devices that speak MQTT all three stay as they are.
ALTER TABLE deployment ADD COLUMN action INTEGER;     -- number of the present attempt, from counter 'action'
ALTER TABLE deployment ADD COLUMN cancelling INTEGER; -- the action to be cancelled before anything else; below 0: the device refused, it goes on
ALTER TABLE deployment ADD COLUMN confirm INTEGER NOT NULL DEFAULT 0 CHECK (confirm IN (0, 1, 2)); -- not asked, waiting, confirmed
CREATE UNIQUE INDEX deployment_action ON deployment (action) WHERE action IS NOT NULL;
CREATE INDEX deployment_cancelling ON deployment (device, id) WHERE cancelling IS NOT NULL;

-- What was said about an attempt, by its device and by the server. The first entry of an attempt is the server's, with what is offered, so
-- that the numbers of earlier attempts stay known.
CREATE TABLE deployment_note (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	deployment INTEGER NOT NULL REFERENCES deployment (id) ON DELETE CASCADE,
	action     INTEGER NOT NULL,
	at         INTEGER NOT NULL,
	status     TEXT NOT NULL,             -- core/ddi.h has the table
	code       INTEGER,
	messages   TEXT NOT NULL DEFAULT '[]', -- JSON array of texts
	release    INTEGER REFERENCES release (id), -- of a first entry
	is_revert  INTEGER NOT NULL DEFAULT 0 CHECK (is_revert IN (0, 1))
) STRICT;
CREATE INDEX deployment_note_action ON deployment_note (action, id);
CREATE INDEX deployment_note_deployment ON deployment_note (deployment, id);
CREATE INDEX deployment_note_first ON deployment_note (deployment, action) WHERE release IS NOT NULL;
CREATE INDEX deployment_note_release ON deployment_note (release) WHERE release IS NOT NULL; -- deleting a release

ALTER TABLE artifact ADD COLUMN sha1 TEXT;            -- NULL: not computed yet
ALTER TABLE artifact ADD COLUMN md5 TEXT;
CREATE INDEX artifact_undigested ON artifact (id) WHERE sha1 IS NULL AND state = 'ready';
