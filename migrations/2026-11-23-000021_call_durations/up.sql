-- The log is sorted by duration, so it is a column.
ALTER TABLE calls ADD COLUMN duration_seconds BIGINT
    GENERATED ALWAYS AS (trunc(extract(epoch FROM ended_at - started_at))::BIGINT) STORED;

-- Every turn updates its call: room in the page spares the indexes. Deep pages are read from an index alone, which
-- takes a table that is vacuumed long before a fifth of it is new.
ALTER TABLE calls SET (
    fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);
