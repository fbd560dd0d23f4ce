-- Alerts have a life: pending, firing, resolved; who is told of it; silences; rules of more kinds; stages that an alert holds.

ALTER TABLE alert_rule ADD COLUMN kind TEXT NOT NULL DEFAULT 'threshold'; -- service/alert_rules.c has the table
ALTER TABLE alert_rule ADD COLUMN subject TEXT NOT NULL DEFAULT '';       -- which cause, check or gate; a glob
ALTER TABLE alert_rule ADD COLUMN clear REAL;                             -- NULL: the kind's default
ALTER TABLE alert_rule ADD COLUMN keep_ms INTEGER NOT NULL DEFAULT 0;     -- how long under `clear` before it is resolved
ALTER TABLE alert_rule ADD COLUMN stale_ms INTEGER NOT NULL DEFAULT 0;    -- without data for so long it is resolved; 0: never
ALTER TABLE alert_rule ADD COLUMN samples_over INTEGER NOT NULL DEFAULT 0; -- k of the last n samples; 0: for_ms counts
ALTER TABLE alert_rule ADD COLUMN samples_of INTEGER NOT NULL DEFAULT 0;
ALTER TABLE alert_rule ADD COLUMN is_damped INTEGER NOT NULL DEFAULT 0;
ALTER TABLE alert_rule ADD COLUMN holds INTEGER NOT NULL DEFAULT 0;       -- on a canary it holds the stage
ALTER TABLE alert_rule ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
ALTER TABLE alert_rule ADD COLUMN annotations TEXT NOT NULL DEFAULT '{}';
ALTER TABLE alert_rule ADD COLUMN template TEXT NOT NULL DEFAULT '';      -- of the summary; '': the kind's own words

CREATE TABLE alert_next (
	id              INTEGER PRIMARY KEY,
	kind            TEXT NOT NULL,         -- 'device.silent' 'install.failed' 'gate.verdict' 'metric.threshold' 'model_corrupt' ...
	resource        TEXT NOT NULL,         -- 'devices/dev-1' 'cohorts/esp32s3/kws-1.4.2' 'rollouts/7'
	cohort          TEXT NOT NULL DEFAULT '',
	metric          TEXT NOT NULL DEFAULT '',
	severity        TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
	status          TEXT NOT NULL CHECK (status IN ('pending', 'firing', 'resolved')),
	summary         TEXT NOT NULL,
	data            TEXT NOT NULL DEFAULT '{}',
	labels          TEXT NOT NULL DEFAULT '{}',
	rule            INTEGER REFERENCES alert_rule (id) ON DELETE SET NULL,
	value           REAL,
	expected        REAL,
	score           REAL,
	seq             INTEGER NOT NULL DEFAULT 0, -- transitions so far
	flaps           INTEGER NOT NULL DEFAULT 0, -- how often it fired while remembered (core/alert_life.h)
	is_suppressed   INTEGER NOT NULL DEFAULT 0, -- flaps too much to tell anybody
	is_stale        INTEGER NOT NULL DEFAULT 0, -- its data is missing
	is_told         INTEGER NOT NULL DEFAULT 0, -- a notice says that it fires
	holds           INTEGER NOT NULL DEFAULT 0, -- on a canary it holds the stage
	life            BLOB,                       -- state and policy as of the last transition (service/alert_lives.c)
	pending_at      INTEGER,
	fired_at        INTEGER NOT NULL,           -- 0: pending
	resolved_at     INTEGER,
	resolved_by     TEXT,                       -- 'cleared' 'no_data' 'ended'
	acknowledged_at INTEGER,
	acknowledged_by TEXT
) STRICT;
INSERT INTO alert_next (id, kind, resource, metric, severity, status, summary, data, rule, seq, is_told, fired_at, resolved_at, acknowledged_at,
	acknowledged_by)
	SELECT id, kind, resource, coalesce((SELECT metric FROM alert_rule WHERE alert_rule.id = alert.rule), ''), severity, status, summary, data, rule, 1, 1,
		fired_at, resolved_at, acknowledged_at, acknowledged_by FROM alert;
DROP TABLE alert;
ALTER TABLE alert_next RENAME TO alert;
CREATE UNIQUE INDEX alert_open ON alert (resource, kind, metric, coalesce(rule, 0)) WHERE status <> 'resolved'; -- one at a time
CREATE INDEX alert_status ON alert (status, id);
CREATE INDEX alert_resource ON alert (resource, id);
CREATE INDEX alert_of_rule ON alert (rule, status) WHERE rule IS NOT NULL;
CREATE INDEX alert_kind ON alert (kind, id);
CREATE INDEX alert_cohort ON alert (cohort, id) WHERE cohort <> '';

-- What somebody is to be told, in the order in which it happened; written with the transition itself, taken away by delivery.
CREATE TABLE notice (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	alert      INTEGER NOT NULL REFERENCES alert (id) ON DELETE CASCADE,
	seq        INTEGER NOT NULL,           -- the alert's, so that (alert, seq) names the transition
	transition TEXT NOT NULL CHECK (transition IN ('firing', 'resolved', 'acknowledged')),
	at         INTEGER NOT NULL,
	group_key  TEXT NOT NULL               -- cohort (or resource) and rule (or kind): told together
) STRICT;
CREATE INDEX notice_alert ON notice (alert);
CREATE INDEX notice_group ON notice (group_key, id);

CREATE TABLE silence (
	id         INTEGER PRIMARY KEY,
	matchers   TEXT NOT NULL,              -- JSON: [{"name":"kind","value":"device.*","negate":false}], all must match
	author     TEXT NOT NULL,
	comment    TEXT NOT NULL,
	begins_at  INTEGER NOT NULL,
	expires_at INTEGER NOT NULL CHECK (expires_at >= begins_at),
	created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX silence_expires ON silence (expires_at);

-- An alert on a canary holds its stage until it is resolved.
CREATE TABLE stage_hold (
	rollout INTEGER NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
	stage   INTEGER NOT NULL,
	alert   INTEGER NOT NULL REFERENCES alert (id) ON DELETE CASCADE,
	PRIMARY KEY (rollout, stage, alert)
) STRICT, WITHOUT ROWID;
CREATE INDEX stage_hold_alert ON stage_hold (alert);
