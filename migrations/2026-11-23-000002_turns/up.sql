-- What was said, in order. Turns may be written before their call: no foreign key.
CREATE TABLE turns (
    call_sid TEXT NOT NULL CHECK (call_sid ~ '^CA[0-9a-fA-F]{32}$'),
    ordinal INTEGER NOT NULL CHECK (ordinal >= 1),
    epoch INTEGER NOT NULL CHECK (epoch >= 1),
    speaker TEXT NOT NULL CHECK (speaker IN ('caller', 'agent')),
    text TEXT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    heard_ms INTEGER,
    cut_off BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (call_sid, ordinal)
);
