-- The judge's blocks: which stratum they were cut from, and canaries that wait are found without reading everybody who does.

ALTER TABLE block_member ADD COLUMN stratum INTEGER NOT NULL DEFAULT 0; -- number of the values of the spec's strata, as the draw saw them
CREATE INDEX deployment_canary ON deployment (rollout, stage, state, id) WHERE role = 'canary';
