/* Minting, verifying and the key set, through the handlers and a real Postgres; no bus. */
#include "../../services/claims/service.h"
#include "base/clock.h"
#include "base/token.h"
#include "claims.pb-c.h"
#include "common.pb-c.h"
#include "db/migrate.h"

#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

extern const struct migration claims_migrations[];

#define LIFETIME_SEC 300

struct fixture {
	struct claims_state state;
	struct process run;
	struct arena *arena;
	struct id project, user, session;
	char project_text[ID_TEXT_SIZE], user_text[ID_TEXT_SIZE], session_text[ID_TEXT_SIZE];
};

static struct fixture *fixture_new(void)
{
	static const uint8_t kek[SEAL_KEY_SIZE] = {7};
	const char *conninfo = getenv("DENIZEN_TEST_DB");
	struct fixture *f = calloc(1, sizeof(*f));
	cr_assert(f != NULL && conninfo != NULL, "set DENIZEN_TEST_DB");
	secret_init();
	cr_assert_eq(migrate_run(conninfo, "claims", "", claims_migrations), ST_OK);
	struct db_options options = {.conninfo = conninfo, .schema = "claims", .read_lanes = 1, .write_lanes = 1};
	f->state.keyring = keyring_new(kek);
	f->state.issuer = "http://127.0.0.1:8080";
	f->state.lifetime_sec = LIFETIME_SEC;
	f->run.db = db_new(&options);
	f->run.state = &f->state;
	f->arena = arena_new(8 << 20);
	f->project = id_new();
	f->user = id_new();
	f->session = id_new();
	id_format("prj", &f->project, f->project_text);
	id_format("usr", &f->user, f->user_text);
	id_format("ses", &f->session, f->session_text);
	return f;
}

static void fixture_free(struct fixture *f)
{
	keyring_free(&f->state.keyring);
	db_free(&f->run.db);
	arena_free(&f->arena);
	free(f);
}

static struct call call_new(struct fixture *f, uint32_t method)
{
	return (struct call){.run = &f->run,
	                     .method = method_find(method),
	                     .project = f->project,
	                     .actor = "",
	                     .operation = id_new(),
	                     .arena = f->arena};
}

static Claims__MintRequest mint_request(struct fixture *f)
{
	Claims__MintRequest request = CLAIMS__MINT_REQUEST__INIT;
	request.user_id = f->user_text;
	request.session_id = f->session_text;
	request.has_epoch = true;
	request.epoch = 4;
	request.email = (char *)"ada@example.test";
	request.has_email_verified = true;
	request.email_verified = true;
	request.name = (char *)"Ada \"\xc3\xa9\"";
	return request;
}

static Claims__MintReply mint(struct fixture *f, const Claims__MintRequest *request, enum status expected)
{
	Claims__MintReply reply = CLAIMS__MINT_REPLY__INIT;
	struct call call = call_new(f, M_CLAIMS_MINT);
	enum status status = h_mint(&call, request, &reply);
	cr_assert_eq(status, expected, "%s", status_name((int)status));
	return reply;
}

static Claims__VerifyTokenReply verify(struct fixture *f, const char *token)
{
	Claims__VerifyTokenRequest request = CLAIMS__VERIFY_TOKEN_REQUEST__INIT;
	Claims__VerifyTokenReply reply = CLAIMS__VERIFY_TOKEN_REPLY__INIT;
	struct call call = call_new(f, M_CLAIMS_VERIFY_TOKEN);
	request.token = (char *)token;
	cr_assert_eq(h_verify_token(&call, &request, &reply), ST_OK);
	cr_assert(reply.has_active);
	return reply;
}

static enum status get_jwks(struct fixture *f, Claims__Jwks *ret_jwks)
{
	Claims__GetJwksRequest request = CLAIMS__GET_JWKS_REQUEST__INIT;
	struct call call = call_new(f, M_CLAIMS_GET_JWKS);
	call.project = (struct id){0}; /* the route is public */
	request.project_id = f->project_text;
	claims__jwks__init(ret_jwks);
	return h_get_jwks(&call, &request, ret_jwks);
}

/* Runs a write of the project with effects that nobody looks at. */
static void write_row(struct fixture *f, const struct db_stmt *stmt, const void *params)
{
	static const uint8_t hash[SHA256_SIZE];
	struct id operation = id_new();
	struct db_blob event = {hash, 1};
	struct db_effects effects = {
	    .events = {&event, 1}, .operation = &operation, .request_hash = {hash, sizeof(hash)}, .reply = {hash, 1}};
	struct sql_scope scope = {.db = f->run.db, .arena = f->arena, .project = &f->project, .effects = &effects};
	int64_t rows;
	cr_assert_eq(sql_run(&scope, stmt, params, &rows), ST_OK);
	cr_assert_eq(rows, 1);
}

static void rotate(struct fixture *f, int64_t retires_at_us)
{
	struct sql_scope scope = {.db = f->run.db, .arena = f->arena, .project = &f->project};
	struct sql_signing_key_list_row *keys;
	struct sealed_key made;
	size_t count;
	cr_assert_eq(
	    sql_all(&scope, &sql_signing_key_list, &(struct sql_signing_key_list){clock_wall_us()}, &keys, &count),
	    ST_OK);
	cr_assert_geq(count, 2);
	cr_assert_eq(keyring_generate(f->state.keyring, &f->project, &made), ST_OK);
	Claims__Rows__SigningKey key = claims_key_row(&made, "next", clock_wall_us());
	write_row(f, &sql_signing_key_replace,
	          &(struct sql_signing_key_replace){keys[0].key->kid, keys[1].key->kid, retires_at_us, &key});
}

static enum status ask_to_rotate(struct fixture *f, Claims__SigningKey *ret_key, uint32_t *ret_retry_after_ms)
{
	Common__Empty request = COMMON__EMPTY__INIT;
	struct call call = call_new(f, M_CLAIMS_ROTATE_SIGNING_KEY);
	claims__signing_key__init(ret_key);
	enum status status = h_rotate_signing_key(&call, &request, ret_key);
	*ret_retry_after_ms = call.retry_after_ms;
	return status;
}

/* Runs a statement on the keys of the project; $1 is its id. */
static void sql_keys(const struct fixture *f, const char *sql)
{
	PGconn *connection = PQconnectdb(getenv("DENIZEN_TEST_DB"));
	char hex[2 * ID_SIZE + 1];
	const char *values[] = {hex};
	hex_encode(f->project.bytes, ID_SIZE, hex);
	PQclear(PQexec(connection, "SET search_path = claims"));
	PGresult *result = PQexecParams(connection, sql, 1, NULL, values, NULL, NULL, 0);
	cr_assert_eq(PQresultStatus(result), PGRES_COMMAND_OK, "%s", PQerrorMessage(connection));
	cr_assert_str_neq(PQcmdTuples(result), "0");
	PQclear(result);
	PQfinish(connection);
}

static void put_claims(struct fixture *f, const char *document)
{
	Claims__Rows__UserClaims row = CLAIMS__ROWS__USER_CLAIMS__INIT;
	row.has_user_id = row.has_version = row.has_updated_at_us = true;
	row.user_id = (ProtobufCBinaryData){ID_SIZE, f->user.bytes};
	row.document = (char *)document;
	row.version = row.updated_at_us = 1;
	write_row(f, &sql_claims_write, &(struct sql_claims_write){&row});
}

Test(claims_tokens, a_token_carries_the_claims_and_verifies)
{
	struct fixture *f = fixture_new();
	Claims__MintRequest request = mint_request(f);
	/* "sub" cannot get there by the API; if it did, the token's own would still win */
	put_claims(f, "{\"plan\":\"pro\",\"sub\":\"usr_other\",\"rate\":0.1,\"big\":9007199254740993}");
	Claims__MintReply minted = mint(f, &request, ST_OK);
	cr_assert_eq(minted.expires_in, LIFETIME_SEC);
	Claims__VerifyTokenReply verified = verify(f, minted.access_token);
	cr_assert(verified.active);
	cr_assert_not_null(strstr(verified.claims_json, "\"plan\":\"pro\",\"rate\":0.1,\"big\":9007199254740993"));
	cr_assert_not_null(strstr(verified.claims_json, arena_printf(f->arena, "\"sub\":\"%s\"", f->user_text)));
	cr_assert_not_null(strstr(verified.claims_json, arena_printf(f->arena, "\"sid\":\"%s\"", f->session_text)));
	cr_assert_not_null(strstr(verified.claims_json, arena_printf(f->arena, "\"aud\":\"%s\"", f->project_text)));
	cr_assert_not_null(
	    strstr(verified.claims_json, "\"tv\":4,\"email\":\"ada@example.test\",\"email_verified\":true"));
	cr_assert_not_null(strstr(verified.claims_json, "\"name\":\"Ada \\\"\xc3\xa9\\\"\""));
	cr_assert_null(strstr(verified.claims_json, "usr_other"));
	fixture_free(f);
}

Test(claims_tokens, the_largest_claims_fit)
{
	struct fixture *f = fixture_new();
	Claims__MintRequest request = mint_request(f);
	char document[4097], name[1001];
	memset(document, 'x', sizeof(document));
	memcpy(document, "{\"a\":\"", 6);
	memcpy(document + 4094, "\"}", 3);
	put_claims(f, document);
	memset(name, 'n', sizeof(name));
	name[1000] = '\0';
	request.name = name;
	Claims__MintReply minted = mint(f, &request, ST_OK);
	cr_assert_leq(strlen(minted.access_token), TOKEN_MAX_BYTES);
	cr_assert(verify(f, minted.access_token).active);
	char *huge = malloc(9001);
	memset(huge, 'n', 9000);
	huge[9000] = '\0';
	request.name = huge;
	mint(f, &request, ST_CLAIMS_TOO_LARGE);
	free(huge);
	fixture_free(f);
}

Test(claims_tokens, lifetime_is_bounded)
{
	struct fixture *f = fixture_new();
	Claims__MintRequest request = mint_request(f);
	request.has_lifetime_sec = true;
	request.lifetime_sec = 10;
	cr_assert_eq(mint(f, &request, ST_OK).expires_in, 10);
	request.lifetime_sec = 100000;
	cr_assert_eq(mint(f, &request, ST_OK).expires_in, LIFETIME_SEC);
	request.lifetime_sec = 0;
	mint(f, &request, ST_INVALID_ARGUMENT);
	fixture_free(f);
}

Test(claims_tokens, bad_requests_are_refused)
{
	struct fixture *f = fixture_new();
	Claims__MintRequest request = mint_request(f);
	request.user_id = NULL;
	mint(f, &request, ST_INVALID_ARGUMENT);
	request = mint_request(f);
	request.session_id = f->user_text;
	mint(f, &request, ST_INVALID_ARGUMENT);
	request = mint_request(f);
	request.has_epoch = false;
	mint(f, &request, ST_INVALID_ARGUMENT);
	fixture_free(f);
}

Test(claims_tokens, bad_tokens_are_inactive)
{
	struct fixture *f = fixture_new();
	Claims__MintRequest request = mint_request(f);
	Claims__MintReply minted = mint(f, &request, ST_OK);
	char *token = arena_strdup(f->arena, minted.access_token);
	token[strlen(token) - 20] ^= 1;
	cr_assert(!verify(f, token).active);
	cr_assert(!verify(f, "garbage").active);
	cr_assert(!verify(f, "a.b.c").active);
	cr_assert(verify(f, minted.access_token).active);
	f->project = id_new();
	cr_assert(!verify(f, minted.access_token).active, "another project's token");
	fixture_free(f);
}

Test(claims_tokens, rotation_fails_no_verification)
{
	struct fixture *f = fixture_new();
	Claims__MintRequest request = mint_request(f);
	Claims__Jwks jwks;
	struct id project;
	char kid[TOKEN_KID_SIZE];
	cr_assert_eq(get_jwks(f, &jwks), ST_NOT_FOUND, "a project that nobody announced");
	char *old = mint(f, &request, ST_OK).access_token;
	cr_assert_eq(get_jwks(f, &jwks), ST_OK);
	cr_assert_eq(jwks.n_keys, 2, "the one that signs and the next");
	char *next_kid = jwks.keys[1]->kid;
	rotate(f, clock_wall_us() + 60 * US_PER_SEC);
	cr_assert(verify(f, old).active);
	char *new = mint(f, &request, ST_OK).access_token;
	cr_assert(verify(f, new).active);
	cr_assert_eq(token_peek(new, strlen(new), &project, kid), ST_OK);
	cr_assert_str_eq(kid, next_kid, "published before it signed");
	cr_assert_eq(get_jwks(f, &jwks), ST_OK);
	cr_assert_eq(jwks.n_keys, 3);
	for (size_t i = 0; i < jwks.n_keys; i++) {
		cr_assert_str_eq(jwks.keys[i]->kty, "EC");
		cr_assert_str_eq(jwks.keys[i]->alg, "ES256");
		cr_assert_eq(strlen(jwks.keys[i]->x), 43);
	}
	rotate(f, clock_wall_us() - 1); /* the key of `new` is over at once */
	cr_assert(!verify(f, new).active);
	cr_assert(verify(f, old).active);
	fixture_free(f);
}

Test(claims_tokens, a_key_signs_only_when_every_copy_of_the_set_has_it)
{
	struct fixture *f = fixture_new();
	Claims__SigningKey first, second;
	uint32_t wait_ms;
	cr_assert_eq(ask_to_rotate(f, &first, &wait_ms), ST_OK, "made together with the first key, published with it");
	cr_assert_str_eq(first.state, "active");
	cr_assert_eq(ask_to_rotate(f, &second, &wait_ms), ST_CONFLICT);
	cr_assert(wait_ms > 650000 && wait_ms <= 660001, "%u", wait_ms);
	sql_keys(f, "UPDATE signing_key SET created_at_us = created_at_us - 659000000 WHERE project_id = $1::uuid AND "
	            "state = 'next'");
	cr_assert_eq(ask_to_rotate(f, &second, &wait_ms), ST_CONFLICT);
	sql_keys(f, "UPDATE signing_key SET created_at_us = created_at_us - 1000000 WHERE project_id = $1::uuid AND "
	            "state = 'next'");
	cr_assert_eq(ask_to_rotate(f, &second, &wait_ms), ST_OK);
	cr_assert_str_neq(second.kid, first.kid);
	fixture_free(f);
}

/* The previous version made no next key. */
Test(claims_tokens, an_old_project_gets_its_next_key_before_its_set_is_shown)
{
	struct fixture *f = fixture_new();
	Claims__MintRequest request = mint_request(f);
	Claims__Jwks jwks;
	Claims__SigningKey key;
	uint32_t wait_ms;
	char *old = mint(f, &request, ST_OK).access_token;
	sql_keys(f, "DELETE FROM signing_key WHERE project_id = $1::uuid AND state = 'next'");
	sql_keys(f, "UPDATE signing_key SET created_at_us = 1 WHERE project_id = $1::uuid");
	cr_assert_eq(get_jwks(f, &jwks), ST_OK);
	cr_assert_eq(jwks.n_keys, 2);
	cr_assert(verify(f, old).active);
	cr_assert_eq(ask_to_rotate(f, &key, &wait_ms), ST_CONFLICT, "copies of the set may lack it");
	fixture_free(f);
}
