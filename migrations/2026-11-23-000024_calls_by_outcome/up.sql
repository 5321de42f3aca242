CREATE INDEX CONCURRENTLY IF NOT EXISTS calls_by_outcome ON calls (outcome, started_at DESC, call_sid DESC);
