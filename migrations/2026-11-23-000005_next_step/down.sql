DROP INDEX calls_open;
ALTER TABLE calls DROP COLUMN next_step;
