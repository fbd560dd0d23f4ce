-- Rules that are changed or deleted end their alerts in pieces; what rules have seen of the log is known with the transitions; resolved
-- alerts go in the order in which they were resolved.

ALTER TABLE alert_rule ADD COLUMN ended_below INTEGER NOT NULL DEFAULT 0; -- its open alerts below this id are of an older form: they end; 0: none
ALTER TABLE alert_rule ADD COLUMN deleted_at INTEGER;                    -- nobody sees it any more; its row goes when its alerts have ended
CREATE INDEX alert_resolved ON alert (resolved_at) WHERE status = 'resolved';

-- Up to where the log of telemetry was compared with rules; written with what came of it, so that a start goes on there.
CREATE TABLE rule_progress (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	batch   INTEGER NOT NULL,              -- all before this batch of telemetry.db ...
	reports INTEGER NOT NULL,              -- ... and so many of its first reports
	at      INTEGER NOT NULL               -- when this was so
) STRICT;
