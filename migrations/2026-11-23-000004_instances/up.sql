-- The processes that carry calls. One that has not been heard of for 15 s is taken to be gone.
CREATE TABLE instances (
    instance_id TEXT PRIMARY KEY CHECK (instance_id <> ''),
    started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    heartbeat_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

COMMENT ON COLUMN instances.started_at IS 'since when it has been heard of without a break';
