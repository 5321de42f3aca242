UPDATE calls SET next_step = NULL WHERE next_step = 'handed-over';
ALTER TABLE calls DROP CONSTRAINT calls_next_step_check;
ALTER TABLE calls ADD CONSTRAINT calls_next_step_check CHECK (next_step IN ('human', 'voicemail', 'hang-up'));
