ALTER TABLE calls DROP COLUMN recordings;
DROP TABLE recordings;
