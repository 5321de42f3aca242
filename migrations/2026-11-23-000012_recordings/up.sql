-- Recordings of calls and conferences, as their status callbacks tell: in any order, and twice. The status that is
-- furthest on wins; it is Twilio's own word.
CREATE TABLE recordings (
    recording_sid TEXT PRIMARY KEY CHECK (recording_sid <> ''),
    call_sid TEXT,
    conference_sid TEXT,
    status TEXT NOT NULL CHECK (status <> ''),
    progress SMALLINT NOT NULL,
    url TEXT,
    duration_seconds INTEGER,
    channels INTEGER,
    source TEXT,
    track TEXT,
    started_at TIMESTAMPTZ,
    first_event_at TIMESTAMPTZ NOT NULL
);

COMMENT ON COLUMN recordings.progress IS 'how far on the status is';

CREATE INDEX recordings_of_call ON recordings (call_sid) WHERE call_sid IS NOT NULL;
CREATE INDEX recordings_of_conference ON recordings (conference_sid) WHERE conference_sid IS NOT NULL;

ALTER TABLE recordings ENABLE ROW LEVEL SECURITY;

ALTER TABLE calls ADD COLUMN recordings INTEGER NOT NULL DEFAULT 0;
COMMENT ON COLUMN calls.recordings IS 'how many there are to be heard, so that the list need not count';
