CREATE INDEX CONCURRENTLY IF NOT EXISTS calls_recorded ON calls (started_at DESC, call_sid DESC) WHERE recordings > 0;
