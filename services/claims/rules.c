/* What custom claims may look like: size, reserved names, no empty names. */
#include "rules.h"

#include <string.h>

#define RESERVED(name) name, "claims." name

/* Names that tokens use for what the suite itself states, or that verifiers give a meaning of security to. */
static const struct reserved {
	const char *name;
	const char *field;
} reserved_names[] = {
    /* RFC 7519, RFC 9068 and our own */
    {RESERVED("iss")},
    {RESERVED("sub")},
    {RESERVED("aud")},
    {RESERVED("exp")},
    {RESERVED("nbf")},
    {RESERVED("iat")},
    {RESERVED("jti")},
    {RESERVED("typ")},
    {RESERVED("sid")},
    {RESERVED("tv")},
    /* who asked and for what: RFC 9068, RFC 8693, RFC 7800, RFC 8417 */
    {RESERVED("azp")},
    {RESERVED("client_id")},
    {RESERVED("scope")},
    {RESERVED("act")},
    {RESERVED("may_act")},
    {RESERVED("cnf")},
    {RESERVED("events")},
    /* how the user signed in and who it is: OpenID Connect Core */
    {RESERVED("auth_time")},
    {RESERVED("acr")},
    {RESERVED("amr")},
    {RESERVED("nonce")},
    {RESERVED("at_hash")},
    {RESERVED("c_hash")},
    {RESERVED("email")},
    {RESERVED("email_verified")},
    {RESERVED("name")},
    /* changes the object itself when a JavaScript client copies it */
    {RESERVED("__proto__")},
};

static const char *reserved_field(const char *name)
{
	for (size_t i = 0; i < sizeof(reserved_names) / sizeof(reserved_names[0]); i++)
		if (strcmp(name, reserved_names[i].name) == 0)
			return reserved_names[i].field;
	return NULL;
}

/* Depth is bounded by the reader. */
static bool has_empty_name(const struct jvalue *value)
{
	if (value->kind != JVALUE_OBJECT && value->kind != JVALUE_ARRAY)
		return false;
	for (const struct jvalue *item = value->first; item; item = item->next) {
		if ((item->name && item->name[0] == '\0') || has_empty_name(item))
			return true;
	}
	return false;
}

static const char *first_reserved(const struct jvalue *claims)
{
	for (const struct jvalue *member = claims->first; member; member = member->next) {
		const char *field = reserved_field(member->name);
		if (field)
			return field;
	}
	return NULL;
}

enum status rules_check_claims(const struct jvalue *claims, size_t len_bytes, struct claims_fault *ret_fault)
{
	if (len_bytes > CLAIMS_MAX_BYTES) {
		*ret_fault = (struct claims_fault){"claims", "The custom claims may hold 4096 bytes in total."};
		return ST_CLAIMS_TOO_LARGE;
	}
	const char *field = first_reserved(claims);
	if (field) {
		*ret_fault = (struct claims_fault){field, "This name is reserved; the suite sets it itself."};
		return ST_INVALID_ARGUMENT;
	}
	if (has_empty_name(claims)) {
		*ret_fault = (struct claims_fault){"claims", "A claim's name must not be empty."};
		return ST_INVALID_ARGUMENT;
	}
	return ST_OK;
}
