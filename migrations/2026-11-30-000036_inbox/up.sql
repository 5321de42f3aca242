-- What callers left for the staff. An item may be written before its call: no foreign key.
CREATE TABLE inbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    call_sid TEXT NOT NULL CHECK (call_sid ~ '^CA[0-9a-fA-F]{32}$'),
    dedupe_key TEXT NOT NULL CHECK (dedupe_key <> ''),
    kind TEXT NOT NULL CHECK (kind IN ('message', 'voicemail', 'urgent', 'call-back')),
    at TIMESTAMPTZ NOT NULL,
    from_number TEXT,
    name TEXT,
    text TEXT NOT NULL,
    language TEXT,
    recording_sid TEXT,
    duration_seconds INTEGER,
    done_at TIMESTAMPTZ,
    done_by TEXT,
    UNIQUE (call_sid, dedupe_key),
    CHECK ((done_at IS NULL) = (done_by IS NULL))
);

ALTER TABLE inbox ENABLE ROW LEVEL SECURITY;

COMMENT ON COLUMN inbox.from_number IS 'null: as in the row of the call';
COMMENT ON COLUMN inbox.text IS 'what the caller asks for; empty of a voicemail, and once it was kept for long enough';
COMMENT ON COLUMN inbox.done_by IS 'user:NAME or token:NAME';

CREATE INDEX inbox_newest_first ON inbox (at DESC, id DESC);
CREATE INDEX inbox_open ON inbox (at DESC, id DESC) WHERE done_at IS NULL;
CREATE INDEX inbox_done ON inbox (at DESC, id DESC) WHERE done_at IS NOT NULL;

-- What is to be deleted next is found without reading what is kept.
CREATE INDEX inbox_with_text ON inbox (at) WHERE text <> '';
CREATE INDEX inbox_with_number ON inbox (at) WHERE from_number IS NOT NULL OR name IS NOT NULL;
