-- What a repeated request is answered with.

-- name: process_find_operation read (operation_id uuid) -> method int4, request_hash bytea, reply bytea
SELECT method, request_hash, reply FROM operation WHERE project_id = :project AND operation_id = :operation_id;

-- name: process_record_operation write
-- A request that changed nothing: its answer is kept all the same.
WITH w AS (SELECT), {operation} SELECT FROM w;
