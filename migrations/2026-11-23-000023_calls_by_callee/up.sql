CREATE INDEX CONCURRENTLY IF NOT EXISTS calls_by_callee ON calls (to_number, started_at DESC, call_sid DESC);
