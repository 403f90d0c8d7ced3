/* Roles, the roles of users, and what goes with a user. */
#include "test_identity_world.h"

TestSuite(identity_roles, .init = world_start, .fini = world_stop);

static void create_role(const char *code)
{
	Identity__CreateRoleRequest request = IDENTITY__CREATE_ROLE_REQUEST__INIT;
	Identity__Role *reply;
	request.code = (char *)code;
	request.name = (char *)"Editors";
	cr_assert_eq(world_call(M_IDENTITY_CREATE_ROLE, &request, &reply), ST_OK, "%s", world.call.reason);
	cr_assert_str_eq(reply->code, code);
	cr_assert_eq(reply->version, 1);
}

static char *create_user(const char *email)
{
	Identity__CreateUserRequest request = IDENTITY__CREATE_USER_REQUEST__INIT;
	char *logins[] = {(char *)"ada", (char *)"lovelace"};
	Identity__User *reply;
	request.email = (char *)email;
	request.external_id = (char *)"42";
	request.login_ids = logins;
	request.n_login_ids = 2;
	cr_assert_eq(world_call(M_IDENTITY_CREATE_USER, &request, &reply), ST_OK, "%s", world.call.reason);
	return reply->id;
}

static enum status put_roles(const char *user, char **codes, size_t count, Identity__User **ret_user)
{
	Identity__PutUserRolesRequest request = IDENTITY__PUT_USER_ROLES_REQUEST__INIT;
	request.user_id = (char *)user;
	request.roles = codes;
	request.n_roles = count;
	return world_call(M_IDENTITY_PUT_USER_ROLES, &request, ret_user);
}

Test(identity_roles, a_user_gets_a_set_of_roles_and_a_new_epoch)
{
	char *codes[] = {(char *)"editor", (char *)"admin", (char *)"editor"},
	     *unknown[] = {(char *)"admin", (char *)"ghost"};
	Identity__User *user;
	create_role("admin");
	create_role("editor");
	char *id = create_user("ada@example.com");
	cr_assert_eq(put_roles(id, codes, 3, &user), ST_OK);
	cr_assert_eq(user->n_roles, 2);
	cr_assert_str_eq(user->roles[0], "admin");
	cr_assert_eq(user->version, 2);
	cr_assert_str_eq(world_sql("SELECT epoch FROM users"), "1");
	cr_assert_str_eq(world_sql("SELECT revokes FROM outbox ORDER BY id DESC LIMIT 1"), "t");
	cr_assert_eq(put_roles(id, codes, 2, &user), ST_OK);
	cr_assert_eq(user->version, 2, "the same set is no change");
	cr_assert_eq(put_roles(id, unknown, 2, &user), ST_INVALID_ARGUMENT);
	cr_assert_str_eq(world.call.field, "roles");
	cr_assert_eq(put_roles("usr_01jd0000000000000000000000", codes, 2, &user), ST_NOT_FOUND);
	cr_assert_eq(put_roles(id, NULL, 0, &user), ST_OK);
	cr_assert_eq(user->n_roles, 0);
}

Test(identity_roles, a_role_that_somebody_has_is_not_deleted)
{
	char *codes[] = {(char *)"admin"};
	Identity__DeleteRoleRequest request = IDENTITY__DELETE_ROLE_REQUEST__INIT;
	Common__Empty *empty;
	Identity__User *user;
	create_role("admin");
	char *id = create_user("ada@example.com");
	cr_assert_eq(put_roles(id, codes, 1, &user), ST_OK);
	request.code = (char *)"admin";
	cr_assert_eq(world_call(M_IDENTITY_DELETE_ROLE, &request, &empty), ST_CONFLICT);
	cr_assert_eq(put_roles(id, NULL, 0, &user), ST_OK);
	request.has_if_match_version = true;
	request.if_match_version = 2;
	cr_assert_eq(world_call(M_IDENTITY_DELETE_ROLE, &request, &empty), ST_PRECONDITION_FAILED);
	request.if_match_version = 1;
	cr_assert_eq(world_call(M_IDENTITY_DELETE_ROLE, &request, &empty), ST_OK);
	cr_assert_eq(world_call(M_IDENTITY_DELETE_ROLE, &request, &empty), ST_NOT_FOUND);
}

Test(identity_roles, are_merged_and_cleared)
{
	Identity__UpdateRoleRequest request = IDENTITY__UPDATE_ROLE_REQUEST__INIT;
	char *name[] = {(char *)"name"}, *code[] = {(char *)"code"};
	Identity__Role *role;
	create_role("editor");
	request.code = (char *)"editor";
	request.description = (char *)"May write";
	cr_assert_eq(world_call(M_IDENTITY_UPDATE_ROLE, &request, &role), ST_OK);
	cr_assert(role->version == 2 && strcmp(role->name, "Editors") == 0 &&
	          strcmp(role->description, "May write") == 0);
	cr_assert_eq(world_call(M_IDENTITY_UPDATE_ROLE, &request, &role), ST_OK);
	cr_assert_eq(role->version, 2, "the same again is no change");
	request.null_fields = name;
	request.n_null_fields = 1;
	cr_assert_eq(world_call(M_IDENTITY_UPDATE_ROLE, &request, &role), ST_OK);
	cr_assert(role->version == 3 && !role->name);
	request.null_fields = code;
	cr_assert_eq(world_call(M_IDENTITY_UPDATE_ROLE, &request, &role), ST_INVALID_ARGUMENT);
	cr_assert_str_eq(world.call.field, "code");
}

/* Whatever hangs on a user stands in a table with a column user_id: all of them are empty of a user that was deleted. */
Test(identity_roles, what_hangs_on_a_user_goes_with_the_user)
{
	char *codes[] = {(char *)"admin"}, sql[512], tables[1024];
	Identity__DeleteUserRequest request = IDENTITY__DELETE_USER_REQUEST__INIT;
	Common__Empty *empty;
	Identity__User *user;
	create_role("admin");
	char *id = create_user("ada@example.com");
	cr_assert_eq(put_roles(id, codes, 1, &user), ST_OK);
	snprintf(
	    tables, sizeof(tables), "%s",
	    world_sql(
	        "SELECT string_agg(table_name, ',') FROM information_schema.columns WHERE table_schema = 'identity' "
	        "AND column_name = 'user_id'"));
	cr_assert_not_null(strstr(tables, "login_id"));
	for (int after = 0; after < 2; after++) {
		char copy[1024], *rest = copy, *table;
		snprintf(copy, sizeof(copy), "%s", tables);
		while ((table = strsep(&rest, ","))) {
			snprintf(sql, sizeof(sql), "SELECT count(*) > 0 FROM %s", table);
			cr_assert_str_eq(world_sql(sql), after ? "f" : "t", "%s %s", table,
			                 after ? "keeps rows" : "is not filled: add it above");
		}
		request.user_id = id;
		if (!after)
			cr_assert_eq(world_call(M_IDENTITY_DELETE_USER, &request, &empty), ST_OK);
	}
	world_check_counts();
}

Test(identity_roles, users_are_named_by_reference)
{
	static const char *const names[] = {"login_id:ada@example.com", "login_id:ADA@Example.com", "login_id:lovelace",
	                                    "external_id:42"};
	static const char *const strangers[] = {
	    "login_id:", "external_id:", "login_id:nobody", "external_id:43", "ada@example.com", "42", ""};
	Identity__GetUserRequest request = IDENTITY__GET_USER_REQUEST__INIT;
	Identity__UpdateUserRequest update = IDENTITY__UPDATE_USER_REQUEST__INIT;
	Identity__User *user;
	char *id = create_user("ada@example.com");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		request.user_id = update.user_id = (char *)names[i];
		cr_assert_eq(world_call(M_IDENTITY_GET_USER, &request, &user), ST_OK, "%s", names[i]);
		cr_assert_str_eq(user->id, id);
		update.name = arena_printf(world.arena, "Ada %zu", i);
		cr_assert_eq(world_call(M_IDENTITY_UPDATE_USER, &update, &user), ST_OK, "%s", names[i]);
		cr_assert_str_eq(user->name, update.name);
	}
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
		request.user_id = (char *)strangers[i];
		cr_assert_eq(world_call(M_IDENTITY_GET_USER, &request, &user), ST_NOT_FOUND, "%s", strangers[i]);
	}
}
