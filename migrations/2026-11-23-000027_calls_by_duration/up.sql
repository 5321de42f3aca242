-- What is not known counts as less than any duration. The column is included so that the index alone can be read.
CREATE INDEX CONCURRENTLY IF NOT EXISTS calls_by_duration ON calls (coalesce(duration_seconds, -1) DESC, call_sid DESC)
    INCLUDE (duration_seconds);
