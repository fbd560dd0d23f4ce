-- How often devices of this fleet fall silent by themselves: what the hard stop is priced with.

CREATE TABLE silence_day (
	day    INTEGER PRIMARY KEY,              -- since 1970-01-01, UTC
	hours  INTEGER NOT NULL CHECK (hours > 0), -- how many were counted
	trials INTEGER NOT NULL CHECK (trials >= 0), -- device-hours: heard within the hour before
	hits   INTEGER NOT NULL CHECK (hits BETWEEN 0 AND trials) -- of these: silent at its end, by the device's habits
) STRICT;

-- A rollout keeps the rate that it was planned with: a rule that changed on the way would have no price.
CREATE TABLE silence_rate (
	rollout INTEGER PRIMARY KEY REFERENCES rollout (id) ON DELETE CASCADE,
	rate    REAL NOT NULL CHECK (rate BETWEEN 0 AND 1),
	days    INTEGER NOT NULL CHECK (days >= 0) -- of history; 0: the default
) STRICT;

-- Blocks whose canary took the release and fell silent begin at once, and silence counts from when it was last heard.
ALTER TABLE block_start ADD COLUMN silent_since INTEGER;
