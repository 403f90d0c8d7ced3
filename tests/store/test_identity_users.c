/* Users through the handlers: create, read, patch, delete, lists, look-up, sign-in, revocation. */
#include "test_identity_world.h"

#include <pthread.h>

TestSuite(identity_users, .init = world_start, .fini = world_stop);

static Identity__User *create_user(const char *email)
{
	Identity__CreateUserRequest request = IDENTITY__CREATE_USER_REQUEST__INIT;
	Identity__User *user;
	request.email = (char *)email;
	cr_assert_eq(world_call(M_IDENTITY_CREATE_USER, &request, &user), ST_OK);
	return user;
}

static Identity__User *get_user(const char *id, enum status expected)
{
	Identity__GetUserRequest request = IDENTITY__GET_USER_REQUEST__INIT;
	Identity__User *user;
	request.user_id = (char *)id;
	cr_assert_eq(world_call(M_IDENTITY_GET_USER, &request, &user), expected);
	return user;
}

Test(identity_users, create_read)
{
	char *logins[] = {"Bob", "bob@EXAMPLE.com", "ＢＯＢ２"};
	Identity__CreateUserRequest request = IDENTITY__CREATE_USER_REQUEST__INIT;
	Identity__User *user;
	request.email = (char *)"Bob@Example.COM";
	request.has_email_verified = request.email_verified = true;
	request.phone = (char *)"+4915112345678";
	request.name = (char *)"Bob \"B\" Ünal";
	request.external_id = (char *)"crm-7";
	request.login_ids = logins;
	request.n_login_ids = 3;
	request.attributes_json = (char *)"{\"plan\": \"pro\", \"gone\": null}";
	request.password = (char *)"correct horse";
	struct id operation = id_new();
	world.operation = operation;
	cr_assert_eq(world_call(M_IDENTITY_CREATE_USER, &request, &user), ST_OK, "%s", world.call.reason);
	cr_assert_str_eq(user->email, "bob@example.com");
	cr_assert_eq(user->n_login_ids, 3);
	cr_assert_str_eq(user->login_ids[0], "bob");
	cr_assert_str_eq(user->login_ids[1], "bob2");
	cr_assert_str_eq(user->login_ids[2], "bob@example.com");
	cr_assert(user->has_password && user->version == 1 && user->email_verified);
	user = get_user(user->id, ST_OK);
	cr_assert_str_eq(user->name, "Bob \"B\" Ünal");
	cr_assert_str_eq(user->attributes_json, "{\"plan\":\"pro\"}");
	cr_assert_eq(user->n_login_ids, 3);
	cr_assert_str_eq(world_sql("SELECT count(*) FROM outbox"), "1");
	cr_assert_str_eq(world_sql("SELECT count(*) FROM operation"), "1");
	/* The same operation again: its primary key refuses, and nothing else is written. */
	world.operation = operation;
	request.email = (char *)"other@example.com";
	request.login_ids = NULL;
	request.n_login_ids = 0;
	request.external_id = NULL;
	cr_assert_eq(world_call(M_IDENTITY_CREATE_USER, &request, &user), ST_ALREADY_EXISTS);
	cr_assert_null(world.call.field);
	cr_assert_str_eq(world_sql("SELECT count(*) FROM users"), "1");
	world_check_counts();
	/* Another project does not see it. */
	world.project = id_new();
	get_user(user->id ? user->id : "usr_x", ST_NOT_FOUND);
	get_user("nonsense", ST_NOT_FOUND);
}

#define WITH(...) .base = PROTOBUF_C_MESSAGE_INIT(&identity__create_user_request__descriptor), __VA_ARGS__

Test(identity_users, refusals)
{
	const struct {
		Identity__CreateUserRequest request;
		const char *outcome;
	} cases[] = {
	    {{WITH(.email = (char *)"")}, "invalid_argument email"},
	    {{WITH(.email = (char *)"a@")}, "invalid_argument email"},
	    {{WITH(.email = (char *)"a b@example.com")}, "invalid_argument email"},
	    {{WITH(.name = (char *)"nobody")}, "invalid_argument email"},
	    {{WITH(.phone = (char *)"0151")}, "invalid_argument phone"},
	    {{WITH(.external_id = (char *)"x", .name = (char *)"a\nb")}, "invalid_argument name"},
	    {{WITH(.external_id = (char *)"x", .picture = (char *)"javascript:1")}, "invalid_argument picture"},
	    {{WITH(.external_id = (char *)"x", .password = (char *)"short")}, "invalid_argument password"},
	    {{WITH(.external_id = (char *)"x", .attributes_json = (char *)"[1]")}, "invalid_argument attributes"},
	    {{WITH(.external_id = (char *)"x", .has_status = true, .status = 9)}, "invalid_argument status"},
	    {{WITH(.external_id = (char *)"x", .has_email_verified = true, .email_verified = true)},
	     "invalid_argument email_verified"},
	    {{WITH(.email = (char *)"TAKEN@example.com")}, "already_exists email"},
	    {{WITH(.external_id = (char *)"taken")}, "already_exists external_id"},
	};
	Identity__CreateUserRequest taken = {
	    WITH(.email = (char *)"taken@example.com", .external_id = (char *)"taken")};
	Identity__User *user;
	cr_assert_eq(world_call(M_IDENTITY_CREATE_USER, &taken, &user), ST_OK);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum status status = world_call(M_IDENTITY_CREATE_USER, &cases[i].request, &user);
		cr_expect_str_eq(world_outcome(status), cases[i].outcome, "case %zu: %s", i, world_outcome(status));
	}
	char *login = (char *)"taken@example.com";
	Identity__CreateUserRequest other = {
	    WITH(.email = (char *)"fresh@example.com", .login_ids = &login, .n_login_ids = 1)};
	cr_expect_str_eq(world_outcome(world_call(M_IDENTITY_CREATE_USER, &other, &user)), "already_exists login_ids");
	cr_assert_str_eq(world_sql("SELECT count(*) FROM users"), "1");
	cr_assert_str_eq(world_sql("SELECT count(*) FROM outbox"), "1");
	world_check_counts();
}

Test(identity_users, update)
{
	Identity__UpdateUserRequest request = IDENTITY__UPDATE_USER_REQUEST__INIT;
	Identity__User *user = create_user("ann@example.com"), *changed;
	Identity__User *other = create_user("other@example.com");
	char *id = user->id;
	request.user_id = id;
	request.name = (char *)"Ann";
	request.attributes_json = (char *)"{\"a\":1,\"b\":{\"c\":2}}";
	cr_assert_eq(world_call(M_IDENTITY_UPDATE_USER, &request, &changed), ST_OK, "%s", world.call.reason);
	cr_assert_eq(changed->version, 2);
	/* Nothing new: no version, no event. */
	cr_assert_eq(world_call(M_IDENTITY_UPDATE_USER, &request, &changed), ST_OK);
	cr_assert_eq(changed->version, 2);
	cr_assert_str_eq(world_sql("SELECT count(*) FROM outbox"), "3");
	request = (Identity__UpdateUserRequest)IDENTITY__UPDATE_USER_REQUEST__INIT;
	request.user_id = id;
	request.has_if_match_version = true;
	request.if_match_version = 1;
	request.name = (char *)"late";
	cr_assert_eq(world_call(M_IDENTITY_UPDATE_USER, &request, &changed), ST_PRECONDITION_FAILED);
	request.if_match_version = 2;
	char *nulls[] = {"name", "attributes"};
	request.name = NULL;
	request.null_fields = nulls;
	request.n_null_fields = 2;
	request.email = (char *)"ann2@example.com";
	char *logins[] = {"ann"};
	request.login_ids = logins;
	request.n_login_ids = 1;
	cr_assert_eq(world_call(M_IDENTITY_UPDATE_USER, &request, &changed), ST_OK);
	cr_assert(!changed->name && !changed->attributes_json && changed->n_login_ids == 2);
	cr_assert_str_eq(world_sql("SELECT string_agg(value, ',' ORDER BY value) FROM login_id"),
	                 "ann,ann2@example.com,other@example.com");
	/* A taken address, a status that frees tokens, counters. */
	request = (Identity__UpdateUserRequest)IDENTITY__UPDATE_USER_REQUEST__INIT;
	request.user_id = id;
	request.email = other->email;
	cr_assert_str_eq(world_outcome(world_call(M_IDENTITY_UPDATE_USER, &request, &changed)), "already_exists email");
	request.email = NULL;
	request.has_status = true;
	request.status = USER_DISABLED;
	cr_assert_eq(world_call(M_IDENTITY_UPDATE_USER, &request, &changed), ST_OK);
	cr_assert_str_eq(world_sql("SELECT epoch FROM users WHERE status = 3"), "1");
	world_check_counts();
	request = (Identity__UpdateUserRequest)IDENTITY__UPDATE_USER_REQUEST__INIT;
	request.user_id = id;
	request.password = (char *)"a new password";
	cr_assert_eq(world_call(M_IDENTITY_UPDATE_USER, &request, &changed), ST_OK);
	cr_assert(changed->has_password);
	cr_assert_str_eq(world_sql("SELECT epoch FROM users WHERE status = 3"), "2");
	cr_assert_str_eq(world_sql("SELECT count(*) FROM outbox WHERE position('argon2'::bytea IN event) > 0"), "0");
	cr_assert_str_eq(world_sql("SELECT count(*) FROM outbox WHERE revokes"), "2", "disabled, and a new password");
	char *bad[] = {"status"};
	request.password = NULL;
	request.null_fields = bad;
	request.n_null_fields = 1;
	cr_assert_str_eq(world_outcome(world_call(M_IDENTITY_UPDATE_USER, &request, &changed)),
	                 "invalid_argument status");
}

Test(identity_users, delete_frees_login_ids)
{
	Identity__User *user = create_user("gone@example.com");
	Identity__DeleteUserRequest request = IDENTITY__DELETE_USER_REQUEST__INIT;
	void *empty;
	request.user_id = user->id;
	request.has_if_match_version = true;
	request.if_match_version = 7;
	cr_assert_eq(world_call(M_IDENTITY_DELETE_USER, &request, &empty), ST_PRECONDITION_FAILED);
	request.if_match_version = 1;
	cr_assert_eq(world_call(M_IDENTITY_DELETE_USER, &request, &empty), ST_OK);
	cr_assert_eq(world_call(M_IDENTITY_DELETE_USER, &request, &empty), ST_NOT_FOUND);
	world_check_counts();
	create_user("gone@example.com");
	world_check_counts();
}

Test(identity_users, attribute_schema)
{
	Identity__AttributeDefinition plan = IDENTITY__ATTRIBUTE_DEFINITION__INIT,
	                              tags = IDENTITY__ATTRIBUTE_DEFINITION__INIT;
	Identity__AttributeDefinition *list[] = {&plan, &tags};
	Identity__AttributeSchema schema = IDENTITY__ATTRIBUTE_SCHEMA__INIT, *stored;
	Identity__CreateUserRequest request = IDENTITY__CREATE_USER_REQUEST__INIT;
	Identity__User *user;
	create_user("before@example.com"); /* the cache holds "no schema" now */
	plan.name = (char *)"plan";
	plan.has_type = plan.has_required = true;
	plan.type = IDENTITY__ATTRIBUTE_TYPE__ATTRIBUTE_TYPE_STRING;
	plan.required = true;
	tags.name = (char *)"tags";
	tags.has_type = true;
	tags.type = IDENTITY__ATTRIBUTE_TYPE__ATTRIBUTE_TYPE_STRINGS;
	schema.attributes = list;
	schema.n_attributes = 2;
	cr_assert_eq(world_call(M_IDENTITY_PUT_ATTRIBUTE_SCHEMA, &schema, &stored), ST_OK, "%s", world.call.reason);
	cr_assert_eq(stored->version, 1);
	static const struct {
		const char *attributes, *outcome;
	} cases[] = {
	    {NULL, "invalid_argument attributes.plan"},
	    {"{\"plan\":1}", "invalid_argument attributes.plan"},
	    {"{\"plan\":\"x\",\"tags\":[1]}", "invalid_argument attributes.tags"},
	    {"{\"plan\":\"x\",\"other\":1}", "invalid_argument attributes.other"},
	    {"{\"plan\":\"x\",\"tags\":[\"a\"]}", "ok "},
	};
	request.email = (char *)"x@example.com";
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		request.attributes_json = (char *)cases[i].attributes;
		enum status status = world_call(M_IDENTITY_CREATE_USER, &request, &user);
		cr_expect_str_eq(world_outcome(status), cases[i].outcome, "%s", world_outcome(status));
	}
	/* Another replica changes the schema: the cached one is refused by the write and read again. */
	world_sql("UPDATE attribute_schema SET version = 2, definitions = '[]'");
	request.email = (char *)"y@example.com";
	request.attributes_json = (char *)"{\"plan\":\"x\"}";
	cr_expect_eq(world_call(M_IDENTITY_CREATE_USER, &request, &user), ST_OK);
	world_sql("UPDATE attribute_schema SET version = 3, "
	          "definitions = '[{\"name\":\"n\",\"type\":2,\"required\":true}]'");
	request.email = (char *)"z@example.com";
	cr_expect_str_eq(world_outcome(world_call(M_IDENTITY_CREATE_USER, &request, &user)),
	                 "invalid_argument attributes.plan");
	cr_expect_eq(world_call(M_IDENTITY_GET_ATTRIBUTE_SCHEMA, &schema, &stored), ST_OK);
	cr_expect_eq(stored->version, 3);
	world_check_counts();
}

/* Walks a list by cursor and checks that it has `expected` rows, each once, in order of `sort`. */
static void check_walk(const char *sort, const char *search, int status, int64_t expected)
{
	Identity__ListUsersRequest request = IDENTITY__LIST_USERS_REQUEST__INIT;
	Identity__ListUsersReply *reply;
	char last[400] = "";
	int64_t seen = 0;
	request.sort = (char *)sort;
	request.search = (char *)search;
	request.has_status = status != 0;
	request.status = (Identity__UserStatus)status;
	request.has_limit = true;
	request.limit = 7;
	do {
		cr_assert_eq(world_call(M_IDENTITY_LIST_USERS, &request, &reply), ST_OK, "%s", world.call.reason);
		cr_assert_eq(reply->total, expected, "%s %s: %ld", sort, search, (long)reply->total);
		for (size_t i = 0; i < reply->n_data; i++) {
			char key[400];
			const Identity__User *user = reply->data[i];
			if (strstr(sort, "email"))
				snprintf(key, sizeof(key), "%s %s", user->email ? user->email : "", user->id);
			else
				snprintf(key, sizeof(key), "%020lld %s", (long long)user->created_at_us, user->id);
			int order = strcmp(last, key);
			cr_assert(!last[0] || (sort[0] == '-' ? order > 0 : order < 0), "%s: %s %s", sort, last, key);
			snprintf(last, sizeof(last), "%s", key);
			seen++;
		}
		cr_assert(reply->next == NULL || reply->n_data == 7);
		request.after = reply->next;
	} while (reply->next);
	cr_assert_eq(seen, expected);
}

Test(identity_users, lists)
{
	static const char *const sorts[] = {"-created_at", "created_at", "-email", "email"};
	char sql[1600];
	char project[64], hex[33];
	hex_encode(world.project.bytes, 16, hex);
	snprintf(project, sizeof(project), "'%s'::uuid", hex);
	snprintf(
	    sql, sizeof(sql),
	    "INSERT INTO users SELECT %s, gen_random_uuid(), 1 + i %% 3, CASE WHEN i %% 5 > 0 THEN 'u' || i || "
	    "'@x.com' END,"
	    " false, NULL, false, 'N%%_' || i, NULL, NULL, NULL, NULL, '{}', NULL, NULL, 1, 0, 1000 + i / 4, 1, "
	    "CASE WHEN i %% 5 > 0 THEN 'u' || i || '@x.com' ELSE '' END, 'u' || i || E'@x.com\\nn%%_' || i || E'\\n' "
	    "FROM generate_series(1, 60) i",
	    project);
	world_sql(sql);
	snprintf(sql, sizeof(sql),
	         "INSERT INTO user_count SELECT project_id, status, 0, count(*) FROM users GROUP BY 1, 2; SELECT 1");
	world_sql(sql);
	for (size_t i = 0; i < 4; i++) {
		check_walk(sorts[i], NULL, 0, 60);
		check_walk(sorts[i], NULL, USER_DISABLED, 20);
		check_walk(sorts[i], "U1", 0, 11);  /* u1, u10..u19 */
		check_walk(sorts[i], "%_1", 0, 11); /* wildcards are plain characters */
		check_walk(sorts[i], "nothing", 0, 0);
		check_walk(sorts[i], "x.com", USER_ACTIVE, 20);
	}
	snprintf(sql, sizeof(sql), "UPDATE user_count SET n = n + 5000; SELECT 1"); /* a project too large to walk */
	world_sql(sql);
	check_walk("-created_at", "@x.com", 0, 60);
	check_walk("email", "u19@x", 0, 1);
	world_sql("UPDATE user_count SET n = n - 5000");
	Identity__ListUsersRequest request = IDENTITY__LIST_USERS_REQUEST__INIT;
	Identity__ListUsersReply *reply;
	request.has_page = request.has_limit = true;
	request.page = 4;
	request.limit = 18;
	cr_assert_eq(world_call(M_IDENTITY_LIST_USERS, &request, &reply), ST_OK);
	cr_assert(reply->n_data == 6 && reply->total == 60 && !reply->next);
	request.page = 5;
	cr_assert_eq(world_call(M_IDENTITY_LIST_USERS, &request, &reply), ST_OK);
	cr_assert(reply->n_data == 0 && reply->total == 60 && !reply->next);
	request.page = 0;
	cr_assert_str_eq(world_outcome(world_call(M_IDENTITY_LIST_USERS, &request, &reply)), "invalid_argument page");
	request.has_page = false;
	request.limit = 1001;
	cr_assert_str_eq(world_outcome(world_call(M_IDENTITY_LIST_USERS, &request, &reply)), "invalid_argument limit");
	request.limit = 10;
	request.after = (char *)"AAAA";
	cr_assert_str_eq(world_outcome(world_call(M_IDENTITY_LIST_USERS, &request, &reply)), "invalid_argument after");
	request.after = NULL;
	request.sort = (char *)"name";
	cr_assert_str_eq(world_outcome(world_call(M_IDENTITY_LIST_USERS, &request, &reply)), "invalid_argument sort");
}

/* Deep pages come from the other end of the list: the same rows as from the front. */
Test(identity_users, deep_pages)
{
	char sql[1600], project[64], hex[33];
	Identity__ListUsersRequest request = IDENTITY__LIST_USERS_REQUEST__INIT;
	Identity__ListUsersReply *reply;
	hex_encode(world.project.bytes, 16, hex);
	snprintf(project, sizeof(project), "'%s'::uuid", hex);
	request.has_page = request.has_limit = true;
	snprintf(
	    sql, sizeof(sql),
	    "INSERT INTO users SELECT %s, gen_random_uuid(), 2, 'p' || i || '@y.com', false, NULL, false, NULL, NULL, "
	    "NULL, NULL, NULL, '{}', NULL, NULL, 1, 0, 5000 + i, 1, 'p' || i || '@y.com', '' FROM generate_series(1, "
	    "3000) i",
	    project);
	world_sql(sql);
	world_sql("INSERT INTO user_count SELECT project_id, status, 0, count(*) FROM users GROUP BY 1, 2");
	request.limit = 40;
	for (uint32_t deep = 40; deep <= 76; deep += 35) {
		static char first[64], deep_first[64];
		request.page = deep; /* 40: first half of 75 pages but for one; 75: the last; */
		request.sort = (char *)"created_at";
		cr_assert_eq(world_call(M_IDENTITY_LIST_USERS, &request, &reply), ST_OK);
		cr_assert(reply->total == 3000 && reply->n_data == 40 && !reply->next == (deep == 75), "page %u", deep);
		snprintf(deep_first, sizeof(deep_first), "%s", reply->data[0]->id);
		snprintf(sql, sizeof(sql),
		         "SELECT translate(user_id::text, '-', '') FROM users ORDER BY created_at_us, user_id "
		         "OFFSET %u LIMIT 1",
		         (deep - 1) * 40);
		struct id expected;
		cr_assert(hex_decode(world_sql(sql), 32, expected.bytes));
		id_format("usr", &expected, first);
		cr_assert_str_eq(first, deep_first);
	}
	request.page = 76;
	cr_assert_eq(world_call(M_IDENTITY_LIST_USERS, &request, &reply), ST_OK);
	cr_assert(reply->total == 3000 && reply->n_data == 0 && !reply->next);
}

Test(identity_users, lookup)
{
	Identity__User *a = create_user("a@example.com"), *b = create_user("b@example.com");
	char *ids[] = {b->id, "usr_bad"}, *emails[] = {"A@EXAMPLE.com", "none@example.com", "b@example.com"};
	char *externals[] = {"none"};
	Identity__LookupUsersRequest request = IDENTITY__LOOKUP_USERS_REQUEST__INIT;
	Identity__LookupUsersReply *reply;
	request.ids = ids;
	request.n_ids = 2;
	request.emails = emails;
	request.n_emails = 3;
	request.external_ids = externals;
	request.n_external_ids = 1;
	cr_assert_eq(world_call(M_IDENTITY_LOOKUP_USERS, &request, &reply), ST_OK);
	cr_assert_eq(reply->n_data, 2);
	cr_assert_str_eq(reply->data[0]->id, b->id);
	cr_assert_str_eq(reply->data[1]->id, a->id);
	cr_assert_eq(reply->n_not_found, 3);
	cr_assert_str_eq(reply->not_found[1], "none@example.com");
}

static enum status sign_in(const char *login, const char *password, Identity__Authorization **ret_reply)
{
	Identity__VerifyPasswordRequest request = IDENTITY__VERIFY_PASSWORD_REQUEST__INIT;
	request.login_id = (char *)login;
	request.password = (char *)password;
	return world_call(M_IDENTITY_VERIFY_PASSWORD, &request, ret_reply);
}

Test(identity_users, sign_in)
{
	Identity__CreateUserRequest request = IDENTITY__CREATE_USER_REQUEST__INIT;
	Identity__User *user;
	Identity__Authorization *auth;
	char *logins[] = {"Eve"};
	request.email = (char *)"eve@example.com";
	request.login_ids = logins;
	request.n_login_ids = 1;
	request.password = (char *)"correct horse";
	request.has_status = true;
	request.status = USER_INVITED;
	cr_assert_eq(world_call(M_IDENTITY_CREATE_USER, &request, &user), ST_OK);
	cr_assert_eq(sign_in("eve@example.com", "wrong horse", &auth), ST_INVALID_CREDENTIALS);
	cr_assert_eq(sign_in("nobody@example.com", "correct horse", &auth), ST_INVALID_CREDENTIALS);
	cr_assert_eq(sign_in("", "x", &auth), ST_INVALID_ARGUMENT);
	cr_assert_str_eq(world_sql("SELECT status FROM users"), "1");
	/* The first sign-in makes an invited user active; checking the password changes nothing. */
	Identity__ActivateUserRequest activate = IDENTITY__ACTIVATE_USER_REQUEST__INIT;
	Common__Empty *activated;
	cr_assert_eq(sign_in("EVE", "correct horse", &auth), ST_OK);
	cr_assert_eq(auth->status, USER_INVITED);
	cr_assert_str_eq(world_sql("SELECT version FROM users"), "1");
	activate.user_id = auth->user_id;
	cr_assert_eq(world_call(M_IDENTITY_ACTIVATE_USER, &activate, &activated), ST_OK);
	cr_assert_eq(world_call(M_IDENTITY_ACTIVATE_USER, &activate, &activated), ST_OK);
	cr_assert_str_eq(world_sql("SELECT status || ' ' || version || ' ' || epoch FROM users"), "2 2 0");
	world_check_counts();
	/* An imported hash is replaced at the next sign-in, without an event. */
	world_sql("UPDATE users SET password_hash = '$2b$04$abcdefghijklmnopqrstuuyeG8laUfZvsCmc.AE6qIDYSPGM2efmK'");
	cr_assert_eq(sign_in("eve", "not it", &auth), ST_INVALID_CREDENTIALS);
	world_sql(
	    "UPDATE users SET password_hash = "
	    "'$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1'");
	cr_assert_eq(sign_in("eve", "Hello world!", &auth), ST_OK);
	cr_assert_str_eq(world_sql("SELECT substr(password_hash, 1, 24) FROM users"), "$argon2id$v=19$m=8192,t=");
	cr_assert_eq(sign_in("eve", "Hello world!", &auth), ST_OK);
	cr_assert_str_eq(world_sql("SELECT count(*) FROM outbox"), "2");
	/* Disabled is told only to those who know the password. */
	world_sql("UPDATE users SET status = 3");
	cr_assert_eq(world_call(M_IDENTITY_ACTIVATE_USER, &activate, &activated), ST_ACCOUNT_DISABLED);
	cr_assert_eq(sign_in("eve", "wrong", &auth), ST_INVALID_CREDENTIALS);
	cr_assert_eq(sign_in("eve", "Hello world!", &auth), ST_ACCOUNT_DISABLED);
}

static enum status authorization(const char *login, Identity__Authorization **ret_auth)
{
	Identity__GetAuthorizationRequest ask = IDENTITY__GET_AUTHORIZATION_REQUEST__INIT;
	ask.login_id = (char *)login;
	return world_call(M_IDENTITY_GET_AUTHORIZATION, &ask, ret_auth);
}

/* Sign-ins are counted by what stands for the password: another one after each change, none without a password. */
Test(identity_users, authorization_by_login)
{
	Identity__UpdateUserRequest update = IDENTITY__UPDATE_USER_REQUEST__INIT;
	Identity__Authorization *auth, *other;
	Identity__User *user = create_user("c@example.com"), *updated;
	cr_assert_eq(authorization(" nobody@example.com", &auth), ST_NOT_FOUND);
	cr_assert_eq(authorization("nobody@example.com", &auth), ST_NOT_FOUND);
	cr_assert_eq(authorization("C@example.com", &auth), ST_OK);
	cr_assert_str_eq(auth->user_id, user->id);
	cr_assert(!auth->has_credential);
	update.user_id = user->id;
	update.password = (char *)"correct horse";
	cr_assert_eq(world_call(M_IDENTITY_UPDATE_USER, &update, &updated), ST_OK);
	cr_assert_eq(authorization("c@example.com", &auth), ST_OK);
	cr_assert(auth->has_credential && auth->credential.len == 16);
	cr_assert_eq(world_call(M_IDENTITY_UPDATE_USER, &update, &updated), ST_OK);
	cr_assert_eq(authorization("c@example.com", &other), ST_OK);
	cr_assert_neq(memcmp(auth->credential.data, other->credential.data, 16), 0);
}

/* Changes the database while the main thread computes a slow hash. */
static void *change_behind(void *sql)
{
	PGconn *conn = world_connect(world.conninfo);
	usleep(100000);
	PQclear(PQexec(conn, sql));
	PQfinish(conn);
	return NULL;
}

static enum status sign_in_while(const char *sql, Identity__Authorization **ret_auth)
{
	static char slow[PASSWORD_HASH_SIZE];
	const struct password_params params = {65536, 8};
	char update[512];
	pthread_t thread;
	cr_assert_eq(password_hash(&params, "correct horse", strlen("correct horse"), slow), ST_OK);
	snprintf(update, sizeof(update), "UPDATE users SET password_hash = '%s', status = 2", slow);
	world_sql(update);
	pthread_create(&thread, NULL, change_behind, (void *)sql);
	enum status status = sign_in("o@example.com", "correct horse", ret_auth);
	pthread_join(thread, NULL);
	return status;
}

Test(identity_users, sign_in_overtaken)
{
	Identity__Authorization *auth;
	create_user("o@example.com");
	cr_assert_eq(sign_in_while("UPDATE identity.users SET epoch = epoch + 1", &auth), ST_OK);
	cr_assert_eq(auth->epoch, 1, "what was revoked meanwhile was revoked before");
	cr_assert_eq(sign_in_while("UPDATE identity.users SET epoch = epoch + 1, status = 3", &auth),
	             ST_ACCOUNT_DISABLED);
	cr_assert_eq(sign_in_while("UPDATE identity.users SET epoch = epoch + 1, password_hash = "
	                           "'$2b$04$abcdefghijklmnopqrstuuyeG8laUfZvsCmc.AE6qIDYSPGM2efmK'",
	                           &auth),
	             ST_INVALID_CREDENTIALS);
	cr_assert_eq(sign_in_while("UPDATE identity.users SET epoch = epoch + 1, password_hash = NULL", &auth),
	             ST_INVALID_CREDENTIALS);
	cr_assert_eq(sign_in_while("DELETE FROM identity.login_id", &auth), ST_INVALID_CREDENTIALS);
}

Test(identity_users, revoke)
{
	Identity__User *user = create_user("r@example.com");
	Identity__RevokeTokensRequest request = IDENTITY__REVOKE_TOKENS_REQUEST__INIT;
	Identity__RevokeTokensReply *reply;
	Identity__GetAuthorizationRequest ask = IDENTITY__GET_AUTHORIZATION_REQUEST__INIT;
	Identity__Authorization *auth;
	request.user_id = ask.user_id = user->id;
	request.reason = (char *)"stolen";
	cr_assert_eq(world_call(M_IDENTITY_REVOKE_TOKENS, &request, &reply), ST_OK);
	cr_assert_eq(reply->epoch, 1);
	cr_assert_eq(world_call(M_IDENTITY_GET_AUTHORIZATION, &ask, &auth), ST_OK);
	cr_assert(auth->epoch == 1 && auth->status == USER_ACTIVE);
	cr_assert_eq(get_user(user->id, ST_OK)->version, 1);
	request.user_id = (char *)"usr_00000000000000000000000000";
	cr_assert_eq(world_call(M_IDENTITY_REVOKE_TOKENS, &request, &reply), ST_NOT_FOUND);
}
