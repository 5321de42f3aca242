-- Conferences as their events tell. Events come in any order, and twice: so each column is the least or the greatest of
-- what was told, and what changes to and fro is a JSON array that begins with the event's sequence number and time, of
-- which the greatest is the last.
CREATE TABLE conferences (
    conference_sid TEXT PRIMARY KEY CHECK (conference_sid <> ''),
    friendly_name TEXT,
    first_event_at TIMESTAMPTZ NOT NULL,
    started_at TIMESTAMPTZ,
    ended_at TIMESTAMPTZ,
    end_reason TEXT,
    ended_by_call_sid TEXT
);

CREATE TABLE conference_participants (
    conference_sid TEXT NOT NULL CHECK (conference_sid <> ''),
    call_sid TEXT NOT NULL CHECK (call_sid <> ''),
    label TEXT,
    joined_at TIMESTAMPTZ,
    presence JSONB,
    flags JSONB,
    PRIMARY KEY (conference_sid, call_sid)
);

COMMENT ON COLUMN conference_participants.joined_at IS 'the first time';
COMMENT ON COLUMN conference_participants.presence IS
    'the last join or leave: [sequence, milliseconds since 1970, present, reason for leaving]';
COMMENT ON COLUMN conference_participants.flags IS
    'as of the last event that told them: [sequence, milliseconds since 1970, muted, on hold, coaching]';

CREATE INDEX conference_participants_of_call ON conference_participants (call_sid);

ALTER TABLE conferences ENABLE ROW LEVEL SECURITY;
ALTER TABLE conference_participants ENABLE ROW LEVEL SECURITY;
