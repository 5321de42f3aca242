CREATE INDEX CONCURRENTLY IF NOT EXISTS call_events_with_reason ON call_events (at)
    WHERE kind = 'transfer-asked' AND data ? 'reason';
