-- Whether the event of a row takes access away (common/ledger/event.h). Followers read these rows where they were written, without waiting
-- for the ledger. True unless the writer says otherwise: a row of a program that does not know the column may be one.
ALTER TABLE outbox ADD COLUMN revokes boolean NOT NULL DEFAULT true;
CREATE INDEX outbox_revoking ON outbox (id) WHERE revokes;
