-- What is done now and then, by whichever process takes it first. A lease is a value in the row, not a lock of a session.
CREATE TABLE jobs (
    name TEXT PRIMARY KEY CHECK (name <> ''),
    paused BOOLEAN NOT NULL DEFAULT FALSE,
    every_seconds INTEGER NOT NULL CHECK (every_seconds > 0),
    next_run_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    leased_by TEXT,
    lease_until TIMESTAMPTZ,
    last_run_at TIMESTAMPTZ,
    last_duration_ms INTEGER,
    last_result TEXT CHECK (last_result IN ('ok', 'failed', 'timed-out', 'panicked', 'interrupted', 'lost')),
    last_error TEXT,
    runs BIGINT NOT NULL DEFAULT 0,
    failures BIGINT NOT NULL DEFAULT 0,
    CHECK ((leased_by IS NULL) = (lease_until IS NULL))
);

ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;

COMMENT ON COLUMN jobs.runs IS 'runs that were begun; names the run that holds the lease';
COMMENT ON COLUMN jobs.last_result IS 'lost: the process that ran it is gone';
