-- What Twilio told us by status callbacks: each message once, from before its acknowledgement until it is processed.
CREATE TABLE webhooks (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    route TEXT NOT NULL CHECK (route IN ('call-status', 'stream-status', 'conference-events', 'recording-status')),
    dedupe_key TEXT NOT NULL UNIQUE CHECK (dedupe_key <> ''),
    call_sid TEXT,
    conference_sid TEXT,
    body JSONB NOT NULL,
    twilio_at TIMESTAMPTZ,
    received_at TIMESTAMPTZ NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'leased', 'done', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_error TEXT,
    processed_at TIMESTAMPTZ
);

COMMENT ON COLUMN webhooks.body IS 'all parameters; one that came several times is an array';
COMMENT ON COLUMN webhooks.twilio_at IS 'when it happened, as Twilio says';
COMMENT ON COLUMN webhooks.attempts IS 'how often it was leased';
COMMENT ON COLUMN webhooks.due_at IS 'when it may be leased: at its next attempt, or when its lease is over';

CREATE INDEX webhooks_due ON webhooks (due_at, id) WHERE state IN ('waiting', 'leased');
CREATE INDEX webhooks_dead ON webhooks (id) WHERE state = 'dead';
CREATE INDEX webhooks_of_conference ON webhooks (conference_sid) WHERE conference_sid IS NOT NULL;

ALTER TABLE webhooks ENABLE ROW LEVEL SECURITY;
