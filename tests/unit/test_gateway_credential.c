/* Credentials by their form and place: what is taken for which kind, and what for nothing. */
#include "dialects/dialect.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct exchange exchange;

/* An exchange with this Authorization; NULL = none. */
static struct exchange *with(const char *authorization)
{
	struct arena *arena = exchange.arena ? exchange.arena : arena_new(1 << 20);
	arena_reset(arena);
	memset(&exchange, 0, sizeof(exchange));
	exchange.arena = arena;
	exchange.request.headers[0] = (struct http_header){"authorization", authorization};
	exchange.request.header_count = authorization ? 1 : 0;
	return &exchange;
}

static void secret_of(const char *prefix, char ret_text[SECRET_TEXT_SIZE])
{
	secret_init();
	secret_new_text(prefix, ret_text);
}

Test(gateway_credential, kinds_by_form)
{
	static const struct {
		const char *prefix;
		enum credential_kind kind;
	} secrets[] = {
	    {"dmk", CREDENTIAL_KEY}, {"dak", CREDENTIAL_KEY}, {"dcs", CREDENTIAL_CLIENT}, {"xyz", CREDENTIAL_NONE}};
	char text[SECRET_TEXT_SIZE], longer[200];
	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
		secret_of(secrets[i].prefix, text);
		cr_expect_eq(credential_classify(text), secrets[i].kind, "%s", text);
		text[strlen(text) - 1] ^= 1;
		cr_expect_eq(credential_classify(text), CREDENTIAL_NONE, "the checksum is wrong");
	}
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	memcpy(longer, "dmk_", 4);
	cr_expect_eq(credential_classify(longer), CREDENTIAL_NONE);
	cr_expect_eq(credential_classify(""), CREDENTIAL_NONE);
	cr_expect_eq(credential_classify("eyJhbGciOi.x.y"), CREDENTIAL_ACCESS);
	cr_expect_eq(credential_classify("drt_abc"), CREDENTIAL_REFRESH);
}

Test(gateway_credential, native)
{
	struct credential credential = {0};
	char secret[SECRET_TEXT_SIZE], header[256];
	secret_of("dmk", secret);
	snprintf(header, sizeof(header), "Bearer %s", secret);
	cr_assert(native_dialect.credential(with(header), &credential));
	cr_assert_str_eq(credential.text, secret);
	cr_assert_null(credential.name);
	cr_assert_null(credential.project);
	snprintf(header, sizeof(header), "bearer   %s", secret);
	cr_assert(native_dialect.credential(with(header), &credential));
	header[strlen(header) - 1] ^= 1;
	cr_assert_not(native_dialect.credential(with(header), &credential));
	secret_of("dcs", secret);
	snprintf(header, sizeof(header), "Bearer %s", secret);
	cr_assert_not(native_dialect.credential(with(header), &credential), "a client says who it is");
	static const char *const bad[] = {"",           "Bearer",     "Bearer ",        "Bearer x",    "Basic",
	                                  "Basic ",     "Basic =",    "Basic ====",     "Basic YTpi",  "Digest x",
	                                  "Basic YTo=", "Basic AAAA", "Bearer eyJ.a.b", "Bearer drt_x"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_not(native_dialect.credential(with(bad[i]), &credential), "%s", bad[i]);
	cr_assert_not(native_dialect.credential(with(NULL), &credential));
}

Test(gateway_credential, basic)
{
	const char *name = NULL, *password = NULL;
	cr_assert(credential_basic(with("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), &name, &password));
	cr_assert_str_eq(name, "Aladdin");
	cr_assert_str_eq(password, "open sesame");
	cr_assert(credential_basic(with("basic YTpiOmM="), &name, &password));
	cr_assert_str_eq(password, "b:c", "only the first colon separates");
	cr_assert_not(credential_basic(with("Basic YQBiOmM="), &name, &password), "NUL");
	cr_assert_not(credential_basic(with("Basic OmI="), &name, &password), "no name");
	cr_assert_not(credential_basic(with("Basic YTo="), &name, &password), "no password");
}

Test(gateway_credential, project_and_text)
{
	struct credential credential = {0};
	secret_init();
	cr_assert(credential_split(with(NULL), "prj_1:eyJa.b.c", &credential));
	cr_assert_str_eq(credential.project, "prj_1");
	cr_assert_str_eq(credential.text, "eyJa.b.c");
	cr_assert_eq(credential.kind, CREDENTIAL_ACCESS);
	cr_assert(credential_split(with(NULL), "prj_1:drt_x:dmk_y", &credential));
	cr_assert_str_eq(credential.text, "drt_x");
	cr_assert_eq(credential.kind, CREDENTIAL_REFRESH);
	cr_assert_not(credential_split(with(NULL), "prj_1", &credential));
}

static void with_body(const char *type, const char *text)
{
	exchange.request.headers[exchange.request.header_count++] = (struct http_header){"Content-Type", type};
	buf_add_str(&exchange.body, text);
}

Test(gateway_credential, places)
{
	with(NULL);
	exchange.request.query = "client_id=proj_1&client_secret=a%2Bb+c&twice=1&twice=2";
	cr_assert_str_eq(credential_query(&exchange, "client_secret"), "a+b c");
	cr_assert_null(credential_query(&exchange, "none"));
	cr_assert_null(credential_query(&exchange, "twice"), "which of them is meant?");
	exchange.request.headers[exchange.request.header_count++] =
	    (struct http_header){"Cookie", "other=1; DSR=eyJa.b.c"};
	cr_assert_str_eq(credential_cookie(&exchange, "DSR"), "eyJa.b.c");
	cr_assert_null(credential_cookie(&exchange, "DS"));
	cr_assert_null(credential_body(&exchange, "client_secret"));
	with_body("application/json", "{\"client_secret\":\"s\",\"n\":1}");
	cr_assert_str_eq(credential_body(&exchange, "client_secret"), "s");
	cr_assert_null(credential_body(&exchange, "n"));
	cr_assert_null(credential_body(&exchange, "none"));
	buf_free(&exchange.body);
	with(NULL);
	with_body("application/x-www-form-urlencoded", "client_secret=s%20t");
	cr_assert_str_eq(credential_body(&exchange, "client_secret"), "s t");
	buf_free(&exchange.body);
	with(NULL);
	with_body("application/json", "{nonsense");
	cr_assert_null(credential_body(&exchange, "client_secret"));
	buf_free(&exchange.body);
}
