/* Projects and keys: create, list, rotate, revoke, resolve; secrets are nowhere in the database. */
#include "test_identity_world.h"

TestSuite(identity_keys, .init = world_start, .fini = world_stop);

static enum status resolve(const char *secret, Identity__ResolveKeyReply **ret_reply)
{
	uint8_t hash[SHA256_SIZE];
	Identity__ResolveKeyRequest request = IDENTITY__RESOLVE_KEY_REQUEST__INIT;
	secret_sha256(secret, strlen(secret), hash);
	request.has_secret_hash = true;
	request.secret_hash = (ProtobufCBinaryData){sizeof(hash), hash};
	return world_call(M_IDENTITY_RESOLVE_KEY, &request, ret_reply);
}

static void check_secret_absent(const char *secret)
{
	char sql[400];
	snprintf(sql, sizeof(sql),
	         "SELECT (SELECT count(*) FROM operation WHERE position('%s'::bytea IN reply) > 0) + "
	         "(SELECT count(*) FROM outbox WHERE position('%s'::bytea IN event) > 0)",
	         secret, secret);
	cr_expect_str_eq(world_sql(sql), "0");
}

/* The next calls are made by a key of the project with these scopes (SQL text[]). */
static void call_as(const char *scopes)
{
	char sql[400], project[33], key[33];
	struct id id = id_new();
	hex_encode(world.project.bytes, 16, project);
	hex_encode(id.bytes, 16, key);
	snprintf(sql, sizeof(sql), "INSERT INTO api_key VALUES ('%s', '%s', 1, 'caller', '%s', 'dmk_', 1, 1)", project,
	         key, scopes);
	world_sql(sql);
	id_format("key", &id, world.actor);
}

Test(identity_keys, projects)
{
	Identity__CreateProjectRequest request = IDENTITY__CREATE_PROJECT_REQUEST__INIT;
	Identity__CreateProjectReply *created;
	Identity__ListProjectsRequest list = IDENTITY__LIST_PROJECTS_REQUEST__INIT;
	Identity__ListProjectsReply *projects;
	Identity__ResolveKeyReply *owner;
	char sql[200], hex[33];
	request.name = (char *)"Shop";
	cr_assert_eq(world_call(M_IDENTITY_CREATE_PROJECT, &request, &created), ST_PERMISSION_DENIED);
	hex_encode(world.project.bytes, 16, hex);
	snprintf(sql, sizeof(sql), "INSERT INTO project VALUES ('%s', 'platform', true, 1)", hex);
	world_sql(sql);
	cr_assert_eq(world_call(M_IDENTITY_CREATE_PROJECT, &request, &created), ST_OK);
	cr_assert_str_eq(created->name, "Shop");
	cr_assert(strncmp(created->management_key->secret, "dmk_", 4) == 0);
	check_secret_absent(created->management_key->secret);
	cr_assert_eq(resolve(created->management_key->secret, &owner), ST_OK);
	cr_assert(!owner->platform && owner->n_scopes == 1);
	char text[ID_TEXT_SIZE];
	struct id project;
	memcpy(project.bytes, owner->project_id.data, ID_SIZE);
	id_format("prj", &project, text);
	cr_assert_str_eq(text, created->id);
	list.has_limit = true;
	list.limit = 1;
	cr_assert_eq(world_call(M_IDENTITY_LIST_PROJECTS, &list, &projects), ST_OK);
	cr_assert(projects->n_data == 1 && projects->total == 2 && projects->next);
	list.after = projects->next;
	cr_assert_eq(world_call(M_IDENTITY_LIST_PROJECTS, &list, &projects), ST_OK);
	cr_assert(projects->n_data == 1 && !projects->next);
	request.name = (char *)"";
	cr_assert_str_eq(world_outcome(world_call(M_IDENTITY_CREATE_PROJECT, &request, &created)),
	                 "invalid_argument name");
	cr_assert_str_eq(world_sql("SELECT count(*) FROM outbox WHERE NOT revokes"), "2");
	/* There is one platform. */
	cr_assert_str_eq(world_sql("SELECT count(*) FROM project WHERE platform"), "1");
}

Test(identity_keys, life_of_a_key)
{
	char *scopes[] = {"users:read", "keys:*"}, *bad[] = {"users:fly"};
	Identity__CreateKeyRequest request = IDENTITY__CREATE_KEY_REQUEST__INIT;
	Identity__Key *key, *rotated;
	Identity__ResolveKeyReply *owner;
	char sql[200], hex[33];
	hex_encode(world.project.bytes, 16, hex);
	snprintf(sql, sizeof(sql), "INSERT INTO project VALUES ('%s', 'platform', true, 1)", hex);
	world_sql(sql);
	call_as("{*}");
	cr_expect_str_eq(world_outcome(world_call(M_IDENTITY_CREATE_KEY, &request, &key)), "invalid_argument scopes");
	request.scopes = bad;
	request.n_scopes = 1;
	cr_expect_str_eq(world_outcome(world_call(M_IDENTITY_CREATE_KEY, &request, &key)),
	                 "invalid_argument scopes[0]");
	request.scopes = scopes;
	request.n_scopes = 2;
	request.has_expires_at_us = true;
	request.expires_at_us = 5;
	cr_expect_str_eq(world_outcome(world_call(M_IDENTITY_CREATE_KEY, &request, &key)),
	                 "invalid_argument expires_at");
	request.has_expires_at_us = false;
	request.name = (char *)"backend";
	cr_assert_eq(world_call(M_IDENTITY_CREATE_KEY, &request, &key), ST_OK, "%s", world.call.reason);
	cr_assert(secret_text_valid("dak", key->secret) && strncmp(key->secret, key->prefix, strlen(key->prefix)) == 0);
	check_secret_absent(key->secret);
	cr_assert_eq(resolve(key->secret, &owner), ST_OK);
	cr_assert(owner->platform && owner->n_scopes == 2 && strcmp(owner->key_id, key->id) == 0);
	cr_assert_eq(resolve("dak_nothing", &owner), ST_NOT_FOUND);
	/* Rotation: both secrets work, then only the new one. */
	Identity__RotateKeyRequest rotate = IDENTITY__ROTATE_KEY_REQUEST__INIT;
	rotate.key_id = key->id;
	cr_assert_eq(world_call(M_IDENTITY_ROTATE_KEY, &rotate, &rotated), ST_OK);
	check_secret_absent(rotated->secret);
	cr_assert_eq(resolve(key->secret, &owner), ST_OK);
	cr_assert(owner->has_expires_at_us);
	cr_assert_eq(resolve(rotated->secret, &owner), ST_OK);
	cr_assert(!owner->has_expires_at_us);
	rotate.has_overlap_sec = true;
	rotate.overlap_sec = 0;
	Identity__Key *last;
	cr_assert_eq(world_call(M_IDENTITY_ROTATE_KEY, &rotate, &last), ST_OK);
	cr_assert_eq(resolve(key->secret, &owner), ST_NOT_FOUND);
	cr_assert_eq(resolve(rotated->secret, &owner), ST_NOT_FOUND);
	cr_assert_eq(resolve(last->secret, &owner), ST_OK);
	/* Lists show no secret; a revoked key is gone. */
	Identity__ListKeysRequest list = IDENTITY__LIST_KEYS_REQUEST__INIT;
	Identity__ListKeysReply *keys;
	cr_assert_eq(world_call(M_IDENTITY_LIST_KEYS, &list, &keys), ST_OK);
	cr_assert(keys->n_data == 2 && keys->total == 2 && !keys->data[0]->secret && !keys->data[1]->secret);
	Identity__DeleteKeyRequest delete = IDENTITY__DELETE_KEY_REQUEST__INIT;
	void *empty;
	delete.key_id = key->id;
	cr_assert_eq(world_call(M_IDENTITY_DELETE_KEY, &delete, &empty), ST_OK);
	cr_assert_eq(resolve(last->secret, &owner), ST_NOT_FOUND);
	cr_assert_eq(world_call(M_IDENTITY_DELETE_KEY, &delete, &empty), ST_NOT_FOUND);
	cr_assert_eq(world_call(M_IDENTITY_ROTATE_KEY, &rotate, &last), ST_NOT_FOUND);
	cr_assert_eq(world_call(M_IDENTITY_LIST_KEYS, &list, &keys), ST_OK);
	cr_assert(keys->n_data == 1 && keys->total == 1);
	cr_assert_str_eq(world_sql("SELECT count(*) FROM outbox"), "4");
	cr_assert_str_eq(world_sql("SELECT count(*) FROM outbox WHERE revokes"), "3", "two rotations and the end");
}

/* Nobody hands out what they do not have, and a call without a key hands out nothing. */
Test(identity_keys, no_key_makes_a_mightier_one)
{
	static const struct {
		const char *caller;
		char *wanted;
		enum status expected;
	} cases[] = {
	    {"{*}", "*", ST_OK},
	    {"{*}", "users:*", ST_OK},
	    {"{users:*,keys:write}", "users:read", ST_OK},
	    {"{users:*,keys:write}", "users:*", ST_OK},
	    {"{users:*,keys:write}", "*", ST_PERMISSION_DENIED},
	    {"{users:read,users:write,keys:*}", "users:*", ST_PERMISSION_DENIED},
	    {"{keys:write}", "keys:read", ST_PERMISSION_DENIED},
	    {"{keys:*}", "projects:write", ST_PERMISSION_DENIED},
	};
	Identity__CreateKeyRequest request = IDENTITY__CREATE_KEY_REQUEST__INIT;
	Identity__RotateKeyRequest rotate = IDENTITY__ROTATE_KEY_REQUEST__INIT;
	Identity__Key *key, *rotated;
	char made[ID_TEXT_SIZE];
	request.n_scopes = 1;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *wanted = cases[i].wanted;
		request.scopes = &wanted;
		call_as(cases[i].caller);
		cr_expect_eq(world_call(M_IDENTITY_CREATE_KEY, &request, &key), cases[i].expected, "case %zu", i);
		call_as("{*}");
		cr_assert_eq(world_call(M_IDENTITY_CREATE_KEY, &request, &key), ST_OK);
		snprintf(made, sizeof(made), "%s", key->id);
		rotate.key_id = made;
		call_as(cases[i].caller);
		cr_expect_eq(world_call(M_IDENTITY_ROTATE_KEY, &rotate, &rotated), cases[i].expected, "case %zu", i);
	}
	/* Management keys and clients without scopes may do everything: not for a narrower caller. */
	request.n_scopes = 0;
	request.has_kind = true;
	request.kind = IDENTITY__KEY_KIND__KEY_KIND_MANAGEMENT;
	cr_expect_eq(world_call(M_IDENTITY_CREATE_KEY, &request, &key), ST_PERMISSION_DENIED);
	request.kind = IDENTITY__KEY_KIND__KEY_KIND_CLIENT;
	cr_expect_eq(world_call(M_IDENTITY_CREATE_KEY, &request, &key), ST_PERMISSION_DENIED);
	/* The caller was revoked meanwhile, is of another project, or is not told at all. */
	call_as("{*}");
	world_sql("UPDATE api_key SET revoked_at_us = 1");
	cr_expect_eq(world_call(M_IDENTITY_CREATE_KEY, &request, &key), ST_PERMISSION_DENIED);
	struct id mine = world.project;
	call_as("{*}");
	world.project = id_new();
	cr_expect_eq(world_call(M_IDENTITY_CREATE_KEY, &request, &key), ST_PERMISSION_DENIED);
	world.project = mine;
	cr_expect_eq(world_call(M_IDENTITY_CREATE_KEY, &request, &key), ST_OK);
	world.actor[0] = '\0';
	cr_expect_eq(world_call(M_IDENTITY_CREATE_KEY, &request, &key), ST_PERMISSION_DENIED);
}
