-- States of devices are written some hundred in a row, at the end of the table: a row a device was written at a random place for each device and round,
-- which cost more than the reports. The newest state of a device counts; a page goes when all of its devices have newer ones.

CREATE TABLE state_page (
	id    INTEGER PRIMARY KEY,             -- 2 x number + what: 0 tracks, 1 detection; both in order of time
	batch INTEGER NOT NULL,                -- its states hold every report up to this batch
	data  BLOB NOT NULL                    -- service/state_pages.c
) STRICT;

DELETE FROM detect_state WHERE id % 4 = 0; -- of another layout anyway
-- device_state is read once more, and emptied when its devices are in pages.
