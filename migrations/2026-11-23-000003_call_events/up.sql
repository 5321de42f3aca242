-- What happened to a call. Status callbacks may come before the call is written: no foreign key.
CREATE TABLE call_events (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    call_sid TEXT NOT NULL CHECK (call_sid ~ '^CA[0-9a-fA-F]{32}$'),
    at TIMESTAMPTZ NOT NULL,
    kind TEXT NOT NULL CHECK (kind <> ''),
    data JSONB NOT NULL,
    dedupe_key TEXT,
    UNIQUE (call_sid, dedupe_key)
);

CREATE INDEX call_events_in_order ON call_events (call_sid, at, id);
