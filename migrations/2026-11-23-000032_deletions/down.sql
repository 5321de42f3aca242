DROP INDEX call_events_with_number;
DROP INDEX calls_with_number;
DROP INDEX turns_oldest_first;
DROP TABLE deletions;
