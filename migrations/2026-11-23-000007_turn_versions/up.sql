-- A flight whose answer did not come in time may still arrive, after a later version of the same turn.
ALTER TABLE turns ADD COLUMN version INTEGER NOT NULL DEFAULT 0;

COMMENT ON COLUMN turns.version IS 'rises with each writing of a call''s turns under one epoch; an earlier one replaces nothing';
