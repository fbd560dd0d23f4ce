-- Rules say what their alerts are about: a summary and a description, in the placeholders of receivers. Receivers are not told too much at once.

ALTER TABLE alert_rule ADD COLUMN description TEXT NOT NULL DEFAULT ''; -- template; '': none
UPDATE alert_rule SET template = replace(replace(replace(replace(replace(replace(replace(template, '{name}', '{{name}}'), '{device}', '{{device}}'),
	'{cohort}', '{{cohort}}'), '{metric}', '{{metric}}'), '{value}', '{{value}}'), '{threshold}', '{{threshold}}'), '{severity}', '{{severity}}')
	WHERE template <> '';
ALTER TABLE alert ADD COLUMN description TEXT NOT NULL DEFAULT '';      -- as it was when the summary was

ALTER TABLE receiver ADD COLUMN per_minute INTEGER NOT NULL DEFAULT 10; -- notifications of all groups together; 0: as many as there are
ALTER TABLE receiver ADD COLUMN delayed INTEGER NOT NULL DEFAULT 0;     -- how often one had to wait for that
UPDATE receiver SET per_minute = 0 WHERE type = 'alertmanager';
