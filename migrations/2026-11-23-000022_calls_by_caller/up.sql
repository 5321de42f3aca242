-- Built while calls are written; so are those that follow, each alone in its migration and outside a transaction. One
-- whose building fails stays behind as INVALID: the next run drops it first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS calls_by_caller ON calls (from_number, started_at DESC, call_sid DESC);
