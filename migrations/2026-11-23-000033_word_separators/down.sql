UPDATE call_search SET document = made.document
FROM (SELECT call_sid, to_tsvector('simple', left(string_agg(text, E'\n' ORDER BY ordinal), 100000)) AS document FROM turns GROUP BY call_sid) AS made
WHERE made.call_sid = call_search.call_sid AND call_search.document IS DISTINCT FROM made.document;
