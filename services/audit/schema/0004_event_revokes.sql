-- Whether an entry takes access away (common/ledger/event.h). True where it is not known: in the entries from before this column, and in
-- those of a replica of the version before. Followers look at the event itself.
ALTER TABLE event ADD COLUMN revokes boolean NOT NULL DEFAULT true;
