-- New users wait in the search index's pending list until an insert finds it full and works it off. At the default of 4 MB that insert,
-- and those behind it, stand still for 100 ms and more; at 64 kB nobody notices.
ALTER INDEX users_search SET (gin_pending_list_limit = 64);
