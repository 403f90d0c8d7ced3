/* A user between request, row, reply and event. Fields go from one to the other by name (json/message.h); what is checked or brought into a canonical
 * form is here. */
#pragma once

#include "attributes/attributes.h"
#include "identity/rows.pb-c.h"
#include "process/change.h"
#include "service.h"

enum user_status { USER_INVITED = 1, USER_ACTIVE = 2, USER_DISABLED = 3 };

/* Finds the user that a request names: by its id (usr_...), by anything it signs in with (login_id:ada@example.com) or by its external id
 * (external_id:42). ST_NOT_FOUND when there is none. *ret_user with its password's hash. */
MUST_USE enum status user_find(struct call *call, const char *reference, Identity__Rows__User **ret_user);
/* The same for what is only shown: without the hash. */
MUST_USE enum status user_find_shown(struct call *call, const char *reference, Identity__Rows__User **ret_user);

/* Begins the row of a new user: a fresh id, active, created now; version 0 until user_apply. */
MUST_USE enum status user_begin(struct call *call, int64_t now_us, Identity__Rows__User *ret_user);

/* Applies a create, update or import message to the row, in canonical form. Refusals are
 * recorded in the call with the field. ST_ABORTED: a cached schema refuses; try again with a fresh one. *user is untouched on failure. */
MUST_USE enum status user_apply(struct call *call, const ProtobufCMessage *request, const struct attributes *schema,
                                Identity__Rows__User *user);

/* Derives what the row keeps for sorting and searching, which is written and never read. */
MUST_USE enum status user_derive(struct call *call, Identity__Rows__User *user);

/* Sets the roles: sorted, each once. */
MUST_USE enum status user_set_roles(struct call *call, Identity__Rows__User *user, char *const *codes, size_t count);

/* Sets the password's hash; NULL takes it away. */
void user_set_password(Identity__Rows__User *user, char *hash);

/* Fills an initialised message. */
MUST_USE enum status user_fill(struct call *call, const Identity__Rows__User *user, Identity__User *ret_message);

/* All values with which a user signs in: the additional login ids and the e-mail address, sorted, in the arena. list NULL without memory. */
struct logins {
	char **list;
	size_t count;
};
struct logins user_logins(struct arena *arena, const Identity__Rows__User *user);
/* The elements of `from` that `without` does not have. */
struct logins user_logins_minus(struct arena *arena, struct logins from, struct logins without);

/* Fills an event about a user: type, subject, user, version, epoch. */
MUST_USE enum status user_event_begin(struct call *call, Events__EventType type, const Identity__Rows__User *user,
                                      Events__Event *ret_event);
/* States one in a change. NULL when the arena is full. */
Events__Event *user_event(struct change *change, Events__EventType type, const Identity__Rows__User *user);
/* Adds the fields in which the two differ; before may be NULL. Their number, -1 when the arena is full. */
int user_event_fields(struct change *change, Events__Event *event, const Identity__Rows__User *before,
                      const Identity__Rows__User *after);

/* Writes the step from before to after, unless they are the same: the most important change names the event, and what takes access away moves the
 * epoch. Sets version, epoch and times of *after and fills *reply (NULL: none is wanted). ST_ABORTED: the row or the schema moved. */
struct user_step {
	const Identity__Rows__User *before;
	Identity__Rows__User *after;
	struct attributes schema; /* that after fits */
	Identity__User *reply;
};
/* Reads the user whom `reference` names, on the request's If-Match, and the schema; after begins as before. */
MUST_USE enum status user_step_begin(struct change *change, const char *reference, struct user_step *step);
MUST_USE enum status user_write(struct change *change, const struct user_step *step);
/* Says which field a unique value that is taken belongs to: after ST_ALREADY_EXISTS of a write of this user. */
MUST_USE enum status user_conflict(struct change *change, const Identity__Rows__User *user);

/* The shard of the counters that the user is counted in. */
int16_t user_shard(const Identity__Rows__User *user);
