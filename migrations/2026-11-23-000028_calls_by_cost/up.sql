-- What is not known counts as less than any cost.
CREATE INDEX CONCURRENTLY IF NOT EXISTS calls_by_cost ON calls (coalesce(cost_usd, -1) DESC, call_sid DESC) INCLUDE (cost_usd);
