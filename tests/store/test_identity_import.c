/* Import: good, bad, existing and doubled rows in one batch; plain passwords; repeats. */
#include "test_identity_world.h"

TestSuite(identity_import, .init = world_start, .fini = world_stop);

#define ROW(...)                                                                                                       \
	(Identity__ImportRow)                                                                                          \
	{                                                                                                              \
		.base = PROTOBUF_C_MESSAGE_INIT(&identity__import_row__descriptor), __VA_ARGS__                        \
	}
#define BCRYPT "$2b$04$abcdefghijklmnopqrstuuyeG8laUfZvsCmc.AE6qIDYSPGM2efmK"

static enum status import_rows(Identity__ImportRow *rows, size_t count, Identity__ImportUsersReply **ret_reply)
{
	Identity__ImportRow *list[600];
	Identity__ImportUsersRequest request = IDENTITY__IMPORT_USERS_REQUEST__INIT;
	for (size_t i = 0; i < count; i++)
		list[i] = &rows[i];
	request.rows = list;
	request.n_rows = count;
	request.has_first_line = true;
	request.first_line = 101;
	return world_call(M_IDENTITY_IMPORT_USERS, &request, ret_reply);
}

Test(identity_import, mixed)
{
	char *logins[] = {"b1", "b2"};
	Identity__ImportRow rows[] = {
	    ROW(.email = (char *)"A@x.com", .password_hash = (char *)BCRYPT, .has_created_at_us = true,
	        .created_at_us = 5),
	    ROW(.email = (char *)"not an address"),
	    ROW(.external_id = (char *)"e1", .password = (char *)"long enough", .login_ids = logins, .n_login_ids = 2),
	    ROW(.email = (char *)"a@X.com", .name = (char *)"same as the first"),
	    ROW(.email = (char *)"c@x.com", .password_hash = (char *)"$1$abc$.FiamM1s4pFo0QKAk4pqS."),
	    ROW(.email = (char *)"d@x.com", .external_id = (char *)"e1"),
	    ROW(.has_status = true, .status = USER_INVITED, .phone = (char *)"+4915112345678"),
	    ROW(.email = (char *)"f@x.com", .attributes_json = (char *)"{\"a\":[1,2]}"),
	};
	static const char *const expected[] = {"created", "error", "created", "exists",
	                                       "error",   "error", "created", "created"};
	Identity__ImportUsersReply *reply;
	cr_assert_eq(import_rows(rows, 8, &reply), ST_OK, "%s", world.call.reason);
	cr_assert_eq(reply->n_results, 8);
	for (size_t i = 0; i < 8; i++) {
		cr_expect_str_eq(reply->results[i]->status, expected[i], "row %zu", i);
		cr_expect_eq(reply->results[i]->line, 101 + i);
	}
	cr_expect_str_eq(reply->results[1]->field, "email");
	cr_expect_str_eq(reply->results[4]->field, "password_hash");
	cr_expect_str_eq(reply->results[3]->id, reply->results[0]->id);
	cr_expect_str_eq(reply->results[5]->code, "already_exists");
	cr_expect_str_eq(reply->results[5]->field, "external_id");
	cr_expect(strstr(reply->results[5]->detail, reply->results[2]->id), "%s", reply->results[5]->detail);
	cr_expect_str_eq(world_sql("SELECT count(*) FROM users"), "4");
	cr_expect_str_eq(world_sql("SELECT count(*) FROM outbox"), "4");
	cr_expect_str_eq(world_sql("SELECT created_at_us FROM users WHERE email = 'a@x.com'"), "5");
	cr_expect_str_eq(world_sql("SELECT login_ids FROM users WHERE external_id = 'e1'"), "{b1,b2}");
	cr_expect_str_eq(world_sql("SELECT substr(password_hash, 1, 9) FROM users WHERE external_id = 'e1'"),
	                 "$argon2id");
	world_check_counts();
	/* The same again, as a resumed import does: nothing is written. */
	cr_assert_eq(import_rows(rows, 8, &reply), ST_OK);
	for (size_t i = 0; i < 8; i++)
		cr_expect_str_eq(reply->results[i]->status, i == 6                         ? "created"
		                                            : strcmp(expected[i], "error") ? "exists"
		                                                                           : "error");
	cr_expect_str_eq(world_sql("SELECT count(*) FROM users"), "5"); /* only a phone: nothing tells them apart */
	world_check_counts();
}

Test(identity_import, repeated_operation)
{
	Identity__ImportRow rows[] = {ROW(.email = (char *)"a@x.com")};
	Identity__ImportUsersReply *reply;
	struct id operation = id_new();
	world.operation = operation;
	cr_assert_eq(import_rows(rows, 1, &reply), ST_OK);
	cr_assert_str_eq(reply->results[0]->status, "created");
	world.operation = operation;
	cr_assert_eq(import_rows(rows, 1, &reply), ST_ALREADY_EXISTS); /* the dispatcher answers from the record */
	cr_assert_str_eq(world_sql("SELECT count(*) FROM users"), "1");
	cr_assert_eq(import_rows(rows, 0, &reply), ST_OK);
	static Identity__ImportRow many[501];
	for (size_t i = 0; i < 501; i++)
		many[i] = rows[0];
	cr_assert_eq(import_rows(many, 501, &reply), ST_INVALID_ARGUMENT);
}

Test(identity_import, full_batches)
{
	static Identity__ImportRow rows[500];
	static char emails[500][64], names[500][64], externals[500][32];
	const char *wanted = getenv("DENIZEN_TEST_IMPORT_BATCHES");
	int batches = wanted ? (int)strtol(wanted, NULL, 10) : 4;
	int64_t start_us = clock_monotonic_us();
	for (int batch = 0; batch < batches; batch++) {
		Identity__ImportUsersReply *reply;
		for (int i = 0; i < 500; i++) {
			int n = batch * 500 + i;
			snprintf(emails[i], sizeof(emails[i]), "user.%08x@example%d.com", (unsigned)n * 2654435761u,
			         n % 500);
			snprintf(names[i], sizeof(names[i]), "User %x %x", (unsigned)n * 40503u,
			         (unsigned)n * 2246822519u);
			snprintf(externals[i], sizeof(externals[i]), "ext-%d", n);
			rows[i] = ROW(.email = emails[i], .name = names[i], .external_id = externals[i],
			              .password_hash = (char *)BCRYPT);
		}
		cr_assert_eq(import_rows(rows, 500, &reply), ST_OK);
		for (int i = 0; i < 500; i++)
			cr_assert_str_eq(reply->results[i]->status, "created");
		if (batch == 0)
			cr_log_info("arena: %zu bytes", arena_used(world.arena));
		world_forget();
	}
	cr_log_info("%.0f rows/s", batches * 500 / ((double)(clock_monotonic_us() - start_us) / 1e6));
	world_check_counts();
}
