-- Supabase serves the schema `public` to the world as an API, in the roles `anon` and `authenticated`, which it grants
-- every table. Row-level security without a policy shows them nothing and takes nothing from them. The program is not
-- concerned: its role owns the tables, and an owner is exempt unless the security is forced.
ALTER TABLE __diesel_schema_migrations ENABLE ROW LEVEL SECURITY;
ALTER TABLE calls ENABLE ROW LEVEL SECURITY;
ALTER TABLE turns ENABLE ROW LEVEL SECURITY;
ALTER TABLE call_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE instances ENABLE ROW LEVEL SECURITY;
