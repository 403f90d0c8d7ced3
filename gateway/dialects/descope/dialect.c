/* The Descope dialect as data. */
#include "dialects/descope/descope.h"

static bool descope_credential(struct exchange *exchange, struct credential *ret_credential)
{
	const char *bearer = credential_bearer(exchange);
	return bearer && credential_split(exchange, bearer, ret_credential);
}

/* Always JSON, and always a code: its clients parse nothing else. */
static void descope_print_failure(struct exchange *exchange)
{
	const struct failure *failure = &exchange->failure;
	const struct dialect_error *error = dialect_error_find(descope_errors, exchange);
	Descope__Error document = DESCOPE__ERROR__INIT;
	document.error_code = (char *)error->code;
	document.error_description = (char *)error->text;
	document.error_message = (char *)(failure->reason ? failure->reason : error->text);
	problem_headers(exchange, error->http);
	document_print(exchange, error->http, &document.base, &descope_style);
}

static const char *const roots[] = {"/v1/mgmt", "/v2/mgmt", "/v1/auth", NULL};

const struct dialect descope_dialect = {
    .name = "descope",
    .roots = roots,
    .lenient_slashes = true,
    .routes = descope_routes,
    .cors = {.headers =
                 "Authorization, Content-Type, x-descope-project-id, x-descope-sdk-name, x-descope-sdk-session-id, "
                 "x-descope-sdk-version",
             .exposed = "Retry-After, X-Request-Id",
             .credentials = true,
             .max_age_sec = 600},
    .credential = descope_credential,
    .print_failure = descope_print_failure,
};
