CREATE INDEX CONCURRENTLY calls_by_outcome ON calls (outcome, started_at DESC, call_sid DESC);
