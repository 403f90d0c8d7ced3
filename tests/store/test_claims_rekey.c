/* rekey: every signing key under another key-encryption key, or none. */
#include "../../services/claims/service.h"
#include "store.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern const struct migration claims_migrations[];

#define PROJECTS 260 /* more keys than a batch has */

static const uint8_t keks[3][SEAL_KEY_SIZE] = {{1}, {2}, {3}};

struct fixture {
	struct store store;
	struct db *db;
	struct arena *arena;
	struct keyring *rings[3];
	char files[3][32];
};

static void fixture_open(struct fixture *f)
{
	store_open(&f->store, "claims", claims_migrations);
	f->arena = arena_new(16 << 20);
	struct db_options options = {
	    .conninfo = f->store.service, .schema = "claims", .read_lanes = 1, .write_lanes = 1};
	f->db = db_new(&options);
	for (int i = 0; i < 3; i++) {
		char hex[2 * SEAL_KEY_SIZE + 1];
		f->rings[i] = keyring_new(keks[i]);
		hex_encode(keks[i], SEAL_KEY_SIZE, hex);
		snprintf(f->files[i], sizeof(f->files[i]), "/tmp/denizen-kek-XXXXXX");
		FILE *file = fdopen(mkstemp(f->files[i]), "w");
		fprintf(file, "%s\n", hex);
		fclose(file);
	}
}

static void fixture_close(struct fixture *f)
{
	for (int i = 0; i < 3; i++) {
		keyring_free(&f->rings[i]);
		unlink(f->files[i]);
	}
	db_free(&f->db);
	arena_free(&f->arena);
	store_close(&f->store);
}

/* A project whose keys are sealed under one of the key-encryption keys. */
static void project_new(struct fixture *f, int ring)
{
	struct id project = id_new();
	struct sql_scope scope = {.db = f->db, .arena = f->arena, .project = &project};
	struct claims_state state = {.keyring = f->rings[ring]};
	cr_assert_eq(claims_ensure_keys(&state, &scope), ST_OK);
}

/* How many keys open under each. */
static void count_keys(struct fixture *f, int ret_counts[3])
{
	struct id none = {0};
	struct sql_scope scope = {.db = f->db, .arena = f->arena};
	struct sql_signing_key_sealed_row *rows;
	size_t count;
	memset(ret_counts, 0, 3 * sizeof(*ret_counts));
	cr_assert_eq(
	    sql_all(&scope, &sql_signing_key_sealed, &(struct sql_signing_key_sealed){&none, "", 10000}, &rows, &count),
	    ST_OK);
	for (size_t i = 0; i < count; i++) {
		struct sealed_key key;
		memcpy(key.kid, rows[i].kid, strlen(rows[i].kid) + 1);
		for (int ring = 0; ring < 3; ring++) {
			memcpy(key.sealed, rows[i].sealed_private.data, sizeof(key.sealed));
			ret_counts[ring] += keyring_reseal(f->rings[ring], f->rings[ring], &rows[i].project_id, &key) ==
			                    ST_ALREADY_EXISTS;
		}
	}
}

static void check_counts(struct fixture *f, int first, int second, int third)
{
	int counts[3];
	count_keys(f, counts);
	cr_assert(counts[0] == first && counts[1] == second && counts[2] == third, "%d %d %d", counts[0], counts[1],
	          counts[2]);
}

Test(claims_rekey, all_keys_or_none)
{
	struct fixture f;
	fixture_open(&f);
	for (int i = 0; i < PROJECTS; i++)
		project_new(&f, 0);
	check_counts(&f, 2 * PROJECTS, 0, 0);
	cr_assert_eq(claims_rekey_run(f.store.service, f.files[1], f.files[2]), 1, "they open under neither");
	check_counts(&f, 2 * PROJECTS, 0, 0);
	cr_assert_eq(claims_rekey_run(f.store.service, f.files[0], f.files[1]), 0);
	check_counts(&f, 0, 2 * PROJECTS, 0);
	cr_assert_eq(claims_rekey_run(f.store.service, f.files[0], f.files[1]), 0, "again");

	project_new(&f, 0); /* by a replica that had the old one */
	cr_assert_eq(claims_rekey_run(f.store.service, f.files[0], f.files[1]), 0);
	check_counts(&f, 0, 2 * PROJECTS + 2, 0);

	project_new(&f, 0);
	for (int i = 0; i < PROJECTS; i++)
		project_new(&f, 2); /* the last ones in order of id */
	cr_assert_eq(claims_rekey_run(f.store.service, f.files[1], f.files[0]), 1,
	             "behind the first batch are keys of neither");
	check_counts(&f, 2, 2 * PROJECTS + 2, 2 * PROJECTS);
	fixture_close(&f);
}

Test(claims_rekey, files_that_hold_no_key)
{
	struct fixture f;
	fixture_open(&f);
	project_new(&f, 0);
	cr_assert_eq(claims_rekey_run(f.store.service, "/tmp/denizen-no-such-file", f.files[1]), 1);
	cr_assert_eq(claims_rekey_run(f.store.service, f.files[0], "/dev/null"), 1);
	check_counts(&f, 2, 0, 0);
	fixture_close(&f);
}
