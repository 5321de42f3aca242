DROP TABLE call_search;
