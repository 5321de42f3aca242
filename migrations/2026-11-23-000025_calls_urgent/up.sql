CREATE INDEX CONCURRENTLY IF NOT EXISTS calls_urgent ON calls (started_at DESC, call_sid DESC) WHERE urgent;
