ALTER TABLE calls RESET (
    fillfactor,
    autovacuum_vacuum_scale_factor,
    autovacuum_vacuum_insert_scale_factor,
    autovacuum_analyze_scale_factor
);
ALTER TABLE calls DROP COLUMN duration_seconds;
