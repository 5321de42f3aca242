DROP INDEX recordings_kept;
DROP INDEX webhooks_with_number;
DROP INDEX call_events_with_number;
DROP INDEX calls_with_number;
DROP INDEX turns_oldest_first;
ALTER TABLE recordings DROP COLUMN deleted_at;
DROP TABLE deletions;
