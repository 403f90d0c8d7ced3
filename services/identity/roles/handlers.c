/* Roles, and which of them a user has. */
#include "identity_sql.gen.h"
#include "process/noun.h"
#include "rules.h"
#include "users/user.h"

static enum status role_may_delete(struct call *call, const ProtobufCMessage *row)
{
	struct sql_role_user_row user;
	const Identity__Rows__Role *role = (const Identity__Rows__Role *)row;
	enum status status = call_one(call, &sql_role_user, &(struct sql_role_user){.code = role->code}, &user);
	if (status == ST_OK)
		return call_fail(call, ST_CONFLICT, "code", "Users have this role, %s for one",
		                 call_id_text(call, "usr", &user.user_id));
	return status == ST_NOT_FOUND ? ST_OK : status;
}

static const struct noun_check role_checks[] = {
    {"code", rules_code_check}, {"name", rules_name_check}, {"description", rules_description_check}, {0}};
static const struct noun roles = {"role",
                                  "code",
                                  &identity__rows__role__descriptor,
                                  role_checks,
                                  &sql_role_get,
                                  &sql_role_list,
                                  &sql_role_create,
                                  &sql_role_update,
                                  &sql_role_delete,
                                  EVENTS__EVENT_TYPE__EVENT_TYPE_ROLE_CREATED,
                                  EVENTS__EVENT_TYPE__EVENT_TYPE_ROLE_UPDATED,
                                  EVENTS__EVENT_TYPE__EVENT_TYPE_ROLE_DELETED,
                                  role_may_delete};

enum status h_create_role(struct call *call, const Identity__CreateRoleRequest *request, Identity__Role *reply)
{
	return noun_create(call, &roles, request, reply);
}
enum status h_get_role(struct call *call, const Identity__GetRoleRequest *request, Identity__Role *reply)
{
	return noun_get(call, &roles, request, reply);
}
enum status h_list_roles(struct call *call, const Identity__ListRolesRequest *request, Identity__ListRolesReply *reply)
{
	return noun_list(call, &roles, request, reply);
}
enum status h_update_role(struct call *call, const Identity__UpdateRoleRequest *request, Identity__Role *reply)
{
	return noun_update(call, &roles, request, reply);
}
enum status h_delete_role(struct call *call, const Identity__DeleteRoleRequest *request, Common__Empty *reply)
{
	return noun_delete(call, &roles, request, reply);
}

static enum status put_try(struct change *change)
{
	const Identity__PutUserRolesRequest *request = change->request;
	struct sql_role_unknown codes = {.codes = {(const char *const *)request->roles, request->n_roles}};
	struct sql_role_unknown_row unknown;
	struct user_step step = {.reply = change->reply};
	enum status status = user_step_begin(change, request->user_id, &step);
	if (status != ST_OK)
		return status;
	status = call_one(change->call, &sql_role_unknown, &codes, &unknown);
	if (status == ST_OK)
		return call_fail(change->call, ST_INVALID_ARGUMENT, "roles", "There is no role %s", unknown.code);
	if (status != ST_NOT_FOUND)
		return status;
	status = user_set_roles(change->call, step.after, request->roles, request->n_roles);
	return status == ST_OK ? user_write(change, &step) : status;
}

enum status h_put_user_roles(struct call *call, const Identity__PutUserRolesRequest *request, Identity__User *reply)
{
	if (request->n_roles > RULES_ROLES_MAX)
		return call_fail(call, ST_INVALID_ARGUMENT, "roles", "A user has at most %d roles", RULES_ROLES_MAX);
	return change_run(call, request, reply, put_try, NULL);
}
