/* Credentials as clients present them: found by the dialect, told apart by their form, verified by front/authenticate.c. Nothing here looks
 * anything up, and nothing is logged. */
#pragma once

#include "http/request.h"

enum credential_kind {
	CREDENTIAL_NONE,
	CREDENTIAL_KEY,     /* dmk_..., dak_...: secret of a management or API key */
	CREDENTIAL_CLIENT,  /* dcs_...: secret of a client */
	CREDENTIAL_ACCESS,  /* an access token (JWT) */
	CREDENTIAL_REFRESH, /* drt_...: a refresh token */
	CREDENTIAL_KINDS
};

/* Texts are borrowed from the request or lie in the exchange's arena. */
struct credential {
	enum credential_kind kind;
	const char *text;
	const char *name;    /* of the client that it must belong to, as it was presented; NULL = none was named */
	const char *project; /* that it must belong to: prj_...; NULL = none was named */
};

/* What a text is by its form; secrets of keys have a checksum, so a typing error costs no look-up. CREDENTIAL_NONE = nothing of ours. */
enum credential_kind credential_classify(const char *text);

/* The text after "Bearer" in Authorization; NULL when there is none. */
const char *credential_bearer(const struct exchange *exchange);

/* "<project>:<text>" as some products' clients write it, with or without more behind a second colon, which is left out. False when there is
 * no colon; then a text is not told from a project. */
bool credential_split(struct exchange *exchange, const char *bearer, struct credential *ret_credential);

/* The text of the cookie, the query's parameter, or the member of the body (JSON or a form, by its Content-Type) that has this name; NULL when there
 * is none, or more than one. A body has one only on a route with credential_in_body. */
const char *credential_cookie(struct exchange *exchange, const char *name);
const char *credential_query(struct exchange *exchange, const char *name);
const char *credential_body(struct exchange *exchange, const char *name);

/* Name and password of HTTP Basic. False when there are none, or one is empty. */
bool credential_basic(struct exchange *exchange, const char **ret_name, const char **ret_password);
