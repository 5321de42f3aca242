DROP INDEX CONCURRENTLY calls_by_outcome;
