-- What comes after a call's stream; null: nothing is decided.
ALTER TABLE calls ADD COLUMN next_step TEXT CHECK (next_step IN ('human', 'voicemail', 'hang-up'));

-- Few calls are open at any time, whatever the length of the log.
CREATE INDEX calls_open ON calls (instance) WHERE ended_at IS NULL;
