-- Alerts, and the rules that raise them from telemetry.

CREATE TABLE alert_rule (
	id         INTEGER PRIMARY KEY,
	name       TEXT NOT NULL UNIQUE,
	metric     TEXT NOT NULL,
	operator   TEXT NOT NULL CHECK (operator IN ('gt', 'lt')),
	threshold  REAL NOT NULL,
	for_ms     INTEGER NOT NULL DEFAULT 0 CHECK (for_ms >= 0), -- how long it must hold before it fires
	filter     TEXT NOT NULL DEFAULT '',   -- RSQL over devices
	severity   TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
	revision   INTEGER NOT NULL DEFAULT 1,
	created_at INTEGER NOT NULL,
	updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE alert (
	id              INTEGER PRIMARY KEY,
	kind            TEXT NOT NULL,         -- 'device.silent' 'install.failed' 'gate.verdict' 'metric.threshold' 'deployment.not_revertible' ...
	resource        TEXT NOT NULL,         -- 'devices/dev-1' 'rollouts/7'
	severity        TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
	status          TEXT NOT NULL CHECK (status IN ('firing', 'resolved')),
	summary         TEXT NOT NULL,
	data            TEXT NOT NULL DEFAULT '{}',
	rule            INTEGER REFERENCES alert_rule (id) ON DELETE SET NULL,
	fired_at        INTEGER NOT NULL,
	resolved_at     INTEGER,
	acknowledged_at INTEGER,
	acknowledged_by TEXT
) STRICT;
CREATE UNIQUE INDEX alert_firing ON alert (kind, resource, coalesce(rule, 0)) WHERE status = 'firing'; -- one at a time
CREATE INDEX alert_status ON alert (status, id);
CREATE INDEX alert_resource ON alert (resource, id);
CREATE INDEX alert_of_rule ON alert (rule, status) WHERE rule IS NOT NULL;
CREATE INDEX alert_kind ON alert (kind, id);
