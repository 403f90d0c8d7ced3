-- A key is published before it signs: each project has one key that is `next`, with its private part, beside the one that signs.
-- The previous version neither publishes nor touches it. `created_at_us` is when a key was first published.
ALTER TABLE signing_key DROP CONSTRAINT signing_key_state;
ALTER TABLE signing_key ADD CONSTRAINT signing_key_state CHECK (
    (state IN ('next', 'active') AND sealed_private IS NOT NULL AND retires_at_us IS NULL)
    OR (state = 'retiring' AND sealed_private IS NULL AND retires_at_us IS NOT NULL));
CREATE UNIQUE INDEX signing_key_next ON signing_key (project_id) WHERE state = 'next';
