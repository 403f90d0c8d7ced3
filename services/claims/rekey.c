/* The command `rekey`: seals all signing keys under another key-encryption key.
 *
 * One transaction: whoever is interrupted finds all as it was, and runs it again. A key that the new key-encryption key opens already is
 * passed over, so a run after keys were made under the old one finishes the work. */
#include "service.h"

#include "base/clock.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define ARENA_BYTES (4 << 20)
#define BATCH 500
#define WAIT_US (600 * US_PER_SEC)

struct rekey {
	struct keyring *from, *to;
	struct sql_scope scope;
	struct id project; /* the key behind which the next batch begins */
	char kid[TOKEN_KID_SIZE];
	size_t sealed, already;
};

static struct keyring *keyring_read(const char *path)
{
	char text[128] = "";
	uint8_t kek[SEAL_KEY_SIZE];
	struct keyring *keyring = NULL;
	FILE *file = fopen(path, "re");
	if (!file) {
		fprintf(stderr, "rekey: %s: %s\n", path, strerror(errno));
		return NULL;
	}
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	text[strcspn(text, "\r\n")] = '\0';
	if (keyring_parse_kek(text, kek) == ST_OK)
		keyring = keyring_new(kek);
	else
		fprintf(stderr, "rekey: %s must hold 64 hexadecimal digits or 43 characters base64url\n", path);
	secret_wipe(text, sizeof(text));
	secret_wipe(kek, sizeof(kek));
	return keyring;
}

/* What changes of the rows that were read. */
struct resealed {
	struct sealed_key keys[BATCH];
	struct id projects[BATCH];
	const char *kids[BATCH];
	struct db_blob old[BATCH], new[BATCH];
	size_t count;
};

static enum status rekey_one(struct rekey *rekey, const struct sql_signing_key_sealed_row *row, struct resealed *out)
{
	struct sealed_key *key = &out->keys[out->count];
	size_t len = strlen(row->kid);
	enum status status = ST_INTERNAL;
	if (len < sizeof(key->kid) && row->sealed_private.len == sizeof(key->sealed)) {
		memcpy(key->kid, row->kid, len + 1);
		memcpy(key->sealed, row->sealed_private.data, sizeof(key->sealed));
		status = keyring_reseal(rekey->from, rekey->to, &row->project_id, key);
	}
	if (status == ST_ALREADY_EXISTS) {
		rekey->already++;
		return ST_OK;
	}
	if (status != ST_OK) {
		char project[ID_TEXT_SIZE];
		id_format("prj", &row->project_id, project);
		fprintf(stderr, "rekey: key %s of %s opens under neither\n", row->kid, project);
		return status;
	}
	out->projects[out->count] = row->project_id;
	out->kids[out->count] = row->kid;
	out->old[out->count] = row->sealed_private;
	out->new[out->count++] = (struct db_blob){key->sealed, sizeof(key->sealed)};
	return ST_OK;
}

/* The next rows; ST_NOT_FOUND when there are no more. */
static enum status rekey_batch(struct rekey *rekey)
{
	struct sql_signing_key_sealed after = {&rekey->project, rekey->kid, BATCH};
	struct sql_signing_key_sealed_row *rows;
	struct resealed *out = arena_alloc(rekey->scope.arena, sizeof(*out));
	size_t count;
	int64_t changed = 0;
	if (!out)
		return ST_RESOURCE_EXHAUSTED;
	out->count = 0;
	enum status status = sql_all(&rekey->scope, &sql_signing_key_sealed, &after, &rows, &count);
	if (status == ST_OK && count == 0)
		return ST_NOT_FOUND;
	for (size_t i = 0; i < count && status == ST_OK; i++)
		status = rekey_one(rekey, &rows[i], out);
	if (status != ST_OK)
		return status;
	struct sql_signing_key_reseal params = {
	    {out->projects, out->count}, {out->kids, out->count}, {out->old, out->count}, {out->new, out->count}};
	status = sql_run(&rekey->scope, &sql_signing_key_reseal, &params, &changed);
	if (status == ST_OK && changed != (int64_t)out->count)
		status = ST_ABORTED; /* somebody changes keys: stop the service first */
	rekey->sealed += out->count;
	rekey->project = rows[count - 1].project_id;
	memcpy(rekey->kid, rows[count - 1].kid, strlen(rows[count - 1].kid) + 1);
	return status;
}

static enum status rekey_all(struct rekey *rekey)
{
	enum status status = ST_OK;
	while (status == ST_OK) {
		arena_reset(rekey->scope.arena);
		status = rekey_batch(rekey);
	}
	return status == ST_NOT_FOUND ? db_commit(rekey->scope.tx) : status;
}

int claims_rekey_run(const char *conninfo, const char *old_file, const char *new_file)
{
	struct db_options options = {
	    .conninfo = conninfo, .schema = "claims", .read_lanes = 1, .write_lanes = 1, .statement_timeout_ms = 60000};
	struct rekey rekey = {.from = keyring_read(old_file), .to = keyring_read(new_file)};
	enum status status = ST_INVALID_ARGUMENT;
	if (!rekey.from || !rekey.to)
		goto out;
	rekey.scope = (struct sql_scope){
	    .db = db_new(&options), .arena = arena_new(ARENA_BYTES), .deadline_us = clock_monotonic_us() + WAIT_US};
	status = ST_UNAVAILABLE;
	if (rekey.scope.db && rekey.scope.arena)
		status = db_begin(rekey.scope.db, rekey.scope.deadline_us, &rekey.scope.tx);
	if (status == ST_OK)
		status = rekey_all(&rekey);
	if (status == ST_OK)
		fprintf(stderr, "rekey: %zu keys are sealed anew, %zu were already\n", rekey.sealed, rekey.already);
	else
		fprintf(stderr, "rekey: nothing was changed: %s\n", status_name((int)status));
	if (rekey.scope.tx)
		db_end(&rekey.scope.tx);
	db_free(&rekey.scope.db);
	arena_free(&rekey.scope.arena);
out:
	keyring_free(&rekey.from);
	keyring_free(&rekey.to);
	return status == ST_OK ? 0 : 1;
}

int claims_rekey(struct cfg *cfg, int argc, char **argv)
{
	static const struct option options[] = {
	    {"old", required_argument, NULL, 'o'}, {"new", required_argument, NULL, 'n'}, {0}};
	const char *old_file = NULL, *new_file = NULL;
	int option;
	optind = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'o')
			old_file = optarg;
		else if (option == 'n')
			new_file = optarg;
	}
	if (!old_file || !new_file) {
		fprintf(stderr, "usage: rekey --old FILE --new FILE\n");
		return 2;
	}
	return claims_rekey_run(cfg_text(cfg, "DENIZEN_DB"), old_file, new_file);
}
