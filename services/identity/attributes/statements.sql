-- The schema of custom attributes.

-- name: schema_get read -> schema AttributeSchema
SELECT {AttributeSchema.columns} FROM attribute_schema WHERE project_id = :project;

-- name: schema_put write (schema AttributeSchema)
-- From the version before; no row: it moved.
WITH w AS (INSERT INTO attribute_schema AS t (project_id, {AttributeSchema.names}) SELECT :project, {AttributeSchema.values(schema)}
  WHERE :schema.version = 1 OR EXISTS (SELECT 1 FROM attribute_schema WHERE project_id = :project)
  ON CONFLICT (project_id) DO UPDATE SET version = excluded.version, definitions = excluded.definitions
  WHERE t.version = excluded.version - 1 RETURNING 1),
{effects}
SELECT 1 FROM w;
