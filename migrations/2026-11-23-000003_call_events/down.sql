DROP TABLE call_events;
