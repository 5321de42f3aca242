-- What Twilio charges for a call; it knows the price some minutes after the call's end.
ALTER TABLE calls
    ADD COLUMN twilio_duration_seconds INTEGER,
    ADD COLUMN twilio_price DOUBLE PRECISION,
    ADD COLUMN twilio_price_unit TEXT,
    ADD COLUMN twilio_asked_at TIMESTAMPTZ;

COMMENT ON COLUMN calls.twilio_price IS 'as Twilio writes it: a charge is negative';
COMMENT ON COLUMN calls.twilio_asked_at IS 'when Twilio was last asked for the price';

CREATE INDEX calls_without_price ON calls (ended_at) WHERE twilio_price IS NULL;
