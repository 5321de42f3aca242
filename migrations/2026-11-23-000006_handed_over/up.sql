-- A process that goes down hands its calls over: whoever Twilio asks next has them.
ALTER TABLE calls DROP CONSTRAINT calls_next_step_check;
ALTER TABLE calls ADD CONSTRAINT calls_next_step_check
    CHECK (next_step IN ('human', 'voicemail', 'hang-up', 'handed-over'));
