-- What was deleted because it was kept for long enough: that it was, never what it was.
CREATE TABLE deletions (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    kind TEXT NOT NULL CHECK (kind IN ('transcript', 'recording', 'number')),
    call_sid TEXT,
    count BIGINT NOT NULL CHECK (count > 0)
);

ALTER TABLE deletions ENABLE ROW LEVEL SECURITY;

COMMENT ON COLUMN deletions.call_sid IS 'null: the recording of a conference';
COMMENT ON COLUMN deletions.count IS 'turns, recordings, or places in which the number stood';

-- Its row stays, so that a callback which comes late does not bring it back.
ALTER TABLE recordings ADD COLUMN deleted_at TIMESTAMPTZ;

CREATE INDEX deletions_of_call ON deletions (call_sid);

-- What is to be deleted next is found without reading what is kept.
CREATE INDEX turns_oldest_first ON turns (started_at);
CREATE INDEX calls_with_number ON calls (started_at) WHERE from_number IS NOT NULL;
CREATE INDEX call_events_with_number ON call_events (at)
    WHERE data ?| ARRAY['From', 'Caller', 'CallerName', 'ForwardedFrom'];
CREATE INDEX webhooks_with_number ON webhooks (received_at)
    WHERE body ?| ARRAY['From', 'Caller', 'CallerName', 'ForwardedFrom'];
CREATE INDEX recordings_kept ON recordings (first_event_at) WHERE deleted_at IS NULL;
