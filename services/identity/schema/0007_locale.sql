-- The language in which a user wants to be addressed.
ALTER TABLE users ADD COLUMN locale text;
