-- A failed sign-in is counted before its password is hashed (a place is taken) and given back when it turns out not to be one, so that
-- guesses side by side cannot run ahead of the count. until_us is kept in the row because it is decided there, under its lock.
ALTER TABLE throttle ADD COLUMN until_us bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN throttle.until_us IS 'sign-ins that meet this counter are refused until then; 0 = none is';
COMMENT ON COLUMN throttle.kind IS '1 user and network, 2 user, 3 network; a login id that is nobody''s stands for its user';
