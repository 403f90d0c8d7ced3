/* A user record between the messages and the store: input to a checked row, row to reply, difference to event. */
#pragma once

#include "service.h"

/* The fields that the create, update and import messages have in common; pointers are borrowed from the request. */
struct record_input {
	bool has_status;
	int16_t status;
	bool has_email_verified, email_verified;
	bool has_phone_verified, phone_verified;
	const char *email, *phone, *name, *given_name, *family_name, *picture, *external_id, *attributes;
	char **login_ids;
	size_t login_id_count;
	char **null_fields; /* JSON names of what is to be removed */
	size_t null_field_count;
};

/* From any message that has the fields. */
#define RECORD_INPUT(message)                                                                                          \
	(struct record_input)                                                                                          \
	{                                                                                                              \
		.has_status = (message)->has_status, .status = (int16_t)(message)->status,                             \
		.has_email_verified = (message)->has_email_verified, .email_verified = (message)->email_verified,      \
		.has_phone_verified = (message)->has_phone_verified, .phone_verified = (message)->phone_verified,      \
		.email = (message)->email, .phone = (message)->phone, .name = (message)->name,                         \
		.given_name = (message)->given_name, .family_name = (message)->family_name,                            \
		.picture = (message)->picture, .external_id = (message)->external_id,                                  \
		.attributes = (message)->attributes_json, .login_ids = (message)->login_ids,                           \
		.login_id_count = (message)->n_login_ids,                                                              \
	}

/* Applies input to *user (zeroed but for id and status when it is new) in canonical form. Refusals are recorded in the call
 * with the field. ST_ABORTED: a cached schema refuses; try again with a fresh one. Everything is in the call's arena. */
MUST_USE enum status record_apply(struct call *call, const struct record_input *input, const struct attributes *schema,
                                  struct user *user);

/* Sorted login values. */
struct logins {
	const char **list; /* NULL without memory */
	size_t count;
};
/* All login values of a user: the additional ids and the e-mail address. */
struct logins record_logins(struct arena *arena, const struct user *user);
/* The elements of `from` that `without` does not have. */
struct logins record_logins_minus(struct arena *arena, struct logins from, struct logins without);

/* What substring search looks at, in the arena; NULL without memory. */
const char *record_search_text(struct arena *arena, const struct user *user);

/* Fills an initialised message. */
MUST_USE enum status record_reply(struct call *call, const struct user *user, Identity__User *ret_reply);

/* Fills an event about the change from before to after (either may be NULL), without the changed fields. */
MUST_USE enum status record_event(struct call *call, Events__EventType type, const struct user *before,
                                  const struct user *after, Events__Event *ret_event);
/* Adds the fields in which the two differ, with values before and after; before may be NULL. */
MUST_USE enum status record_event_changes(struct call *call, const struct user *before, const struct user *after,
                                          Events__Event *event);
