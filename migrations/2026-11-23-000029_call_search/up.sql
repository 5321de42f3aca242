-- What was said in a call, as one document, from when the call is over. Whole words of any language: no stemming. A
-- document has 100,000 characters at most, because a tsvector has at most a MiB.
CREATE TABLE call_search (
    call_sid TEXT PRIMARY KEY,
    started_at TIMESTAMPTZ NOT NULL,
    document TSVECTOR NOT NULL
);

COMMENT ON COLUMN call_search.started_at IS 'the call''s, so that the newest matches are found without it';

INSERT INTO call_search
SELECT calls.call_sid, calls.started_at, to_tsvector('simple', left(string_agg(text, E'\n' ORDER BY ordinal), 100000))
FROM calls JOIN turns USING (call_sid)
WHERE ended_at IS NOT NULL
GROUP BY calls.call_sid;

CREATE INDEX call_search_newest_first ON call_search (started_at DESC, call_sid DESC);
-- No list of pending entries: a search would read it from end to end, and some unlucky writer would empty it.
CREATE INDEX call_search_words ON call_search USING gin (document) WITH (fastupdate = off);

ALTER TABLE call_search SET (
    autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);
ALTER TABLE call_search ENABLE ROW LEVEL SECURITY;
