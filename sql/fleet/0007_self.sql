-- control: self. A judged device's own earlier windows, frozen when its stage began: what they held is the same at every look, also after
-- the raw reports are gone.
CREATE TABLE self_window (
	rollout   INTEGER NOT NULL REFERENCES rollout (id) ON DELETE CASCADE,
	stage     INTEGER NOT NULL,
	device    INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
	place     INTEGER NOT NULL CHECK (place >= 1), -- 1 is the one that ended when the stage began, 2 the one before, ...
	from_ms   INTEGER NOT NULL,
	length_ms INTEGER NOT NULL,
	points    BLOB NOT NULL,               -- service/self_windows.c: what each gate showed by each of its marks
	PRIMARY KEY (rollout, stage, device, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX self_window_device ON self_window (device, rollout); -- deleting a device
