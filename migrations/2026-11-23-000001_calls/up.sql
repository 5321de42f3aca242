-- One row a call. A later epoch of the same call overrules an earlier one.
CREATE TABLE calls (
    call_sid TEXT PRIMARY KEY CHECK (call_sid ~ '^CA[0-9a-fA-F]{32}$'),
    epoch INTEGER NOT NULL CHECK (epoch >= 1),
    from_number TEXT,
    to_number TEXT,
    instance TEXT,
    started_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ,
    outcome TEXT CHECK (outcome IN ('completed', 'transferred', 'voicemail', 'abandoned', 'refused', 'failed')),
    reason TEXT,
    urgent BOOLEAN NOT NULL DEFAULT FALSE,
    turns INTEGER NOT NULL DEFAULT 0,
    barge_ins INTEGER NOT NULL DEFAULT 0,
    first_audio_ms INTEGER,
    usage JSONB NOT NULL DEFAULT '{}',
    cost_usd DOUBLE PRECISION
);

COMMENT ON COLUMN calls.started_at IS 'the earliest moment of the call that is known';
COMMENT ON COLUMN calls.turns IS 'the highest ordinal among the turns that are written';

CREATE INDEX calls_newest_first ON calls (started_at DESC, call_sid DESC);
