/* Which custom claims are accepted. */
#include "../../services/claims/rules.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const struct rules_case {
	const char *document;
	enum status status;
	const char *field;
} cases[] = {
    {"{}", ST_OK, NULL},
    {"{\"plan\":\"pro\",\"limits\":{\"seats\":5},\"tags\":[\"a\",{\"b\":null}]}", ST_OK, NULL},
    {"{\"n\":9007199254740993,\"r\":0.1,\"t\":true,\"u\":\"\xc3\xa9\"}", ST_OK, NULL},
    {"{\"Sub\":\"names are compared exactly\"}", ST_OK, NULL},
    {"{\"nested\":{\"sub\":\"only the top level is reserved\"}}", ST_OK, NULL},
    {"{\"sub\":\"usr_x\"}", ST_INVALID_ARGUMENT, "claims.sub"},
    {"{\"a\":1,\"iss\":null}", ST_INVALID_ARGUMENT, "claims.iss"},
    {"{\"tv\":0}", ST_INVALID_ARGUMENT, "claims.tv"},
    {"{\"aud\":[]}", ST_INVALID_ARGUMENT, "claims.aud"},
    {"{\"exp\":1}", ST_INVALID_ARGUMENT, "claims.exp"},
    {"{\"scope\":\"admin\"}", ST_INVALID_ARGUMENT, "claims.scope"},
    {"{\"act\":{\"sub\":\"x\"}}", ST_INVALID_ARGUMENT, "claims.act"},
    {"{\"email\":\"a@b\"}", ST_INVALID_ARGUMENT, "claims.email"},
    {"{\"__proto__\":{}}", ST_INVALID_ARGUMENT, "claims.__proto__"},
    {"{\"\":1}", ST_INVALID_ARGUMENT, "claims"},
    {"{\"a\":[[{\"\":1}]]}", ST_INVALID_ARGUMENT, "claims"},
};

static enum status check(struct arena *arena, const char *document, struct claims_fault *ret_fault)
{
	struct pbjson_error error;
	const struct jvalue *claims;
	cr_assert_eq(jvalue_read_object(document, "claims", arena, &claims, &error), ST_OK, "%s", document);
	return rules_check_claims(claims, strlen(document), ret_fault);
}

Test(claims_rules, accepts_and_refuses)
{
	struct arena *arena = arena_new(1 << 20);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct claims_fault fault = {NULL, NULL};
		enum status status = check(arena, cases[i].document, &fault);
		cr_assert_eq(status, cases[i].status, "%s: %s", cases[i].document, status_name((int)status));
		if (cases[i].field == NULL) {
			cr_assert_null(fault.field, "%s", cases[i].document);
			continue;
		}
		cr_assert_str_eq(fault.field, cases[i].field, "%s", cases[i].document);
		cr_assert_not_null(fault.reason);
	}
	arena_free(&arena);
}

/* {"a":"xxx"} of exactly so many bytes. */
static char *document_of(size_t len_bytes)
{
	char *document = malloc(len_bytes + 1);
	cr_assert_not_null(document);
	memset(document, 'x', len_bytes);
	memcpy(document, "{\"a\":\"", 6);
	memcpy(document + len_bytes - 2, "\"}", 3);
	return document;
}

Test(claims_rules, counts_bytes)
{
	struct arena *arena = arena_new(1 << 20);
	struct claims_fault fault;
	char *fits = document_of(CLAIMS_MAX_BYTES), *too_long = document_of(CLAIMS_MAX_BYTES + 1);
	cr_assert_eq(strlen(fits), 4096);
	cr_assert_eq(check(arena, fits, &fault), ST_OK);
	cr_assert_eq(check(arena, too_long, &fault), ST_CLAIMS_TOO_LARGE);
	cr_assert_str_eq(fault.field, "claims");
	free(fits);
	free(too_long);
	arena_free(&arena);
}
