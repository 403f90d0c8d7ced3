-- jsonb writes every number in full: 1e308 came back as 309 digits, so the attributes of a user and the events about them grew beyond
-- all bounds, and 1e19 came back as an integer that no reader takes. As text they come back as they were checked.
ALTER TABLE users ALTER COLUMN attributes TYPE text COLLATE "C" USING attributes::text;
