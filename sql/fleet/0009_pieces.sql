-- What takes many ticks is written down before its first one, so that a server that was killed goes on with it.

ALTER TABLE rollout ADD COLUMN retry_at INTEGER;   -- failures up to then wait to be attempted again; NULL: none
ALTER TABLE rollout ADD COLUMN deleted_at INTEGER; -- nobody sees it any more; its rows are deleted in pieces, its own last
ALTER TABLE stage ADD COLUMN extension_drawn INTEGER NOT NULL DEFAULT 0; -- extensions of the bake whose blocks have been drawn
CREATE INDEX rollout_deleted ON rollout (id) WHERE deleted_at IS NOT NULL;
CREATE INDEX deployment_rollout ON deployment (rollout, id); -- pages, and walks that go on where they stopped
