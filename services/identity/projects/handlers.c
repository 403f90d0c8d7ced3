/* Projects: create, list. Only the platform project may. */
#include "base/clock.h"
#include "identity_sql.gen.h"
#include "keys/keys.h"
#include "process/change.h"
#include "process/page.h"
#include "rules.h"
#include "json/message.h"

#define NAME_MAX_BYTES 400 /* 100 characters of up to 4 bytes */
#define NAME_MAX_CHARACTERS 100

static enum status require_platform(struct call *call)
{
	struct sql_project_get_row found;
	enum status status = call_one(call, &sql_project_get, NULL, &found);
	if (status == ST_NOT_FOUND || (status == ST_OK && !found.project->platform))
		return call_fail(call, ST_PERMISSION_DENIED, "",
		                 "Only keys of the first project may administer projects");
	return status;
}

static enum status project_name(struct call *call, const char *name)
{
	rules_reason reason = rules_text_check(name ? name : "", NAME_MAX_BYTES);
	size_t characters = 0;
	for (const char *at = name; at && *at; at++)
		characters += ((unsigned char)*at & 0xc0) != 0x80;
	if (reason || characters > NAME_MAX_CHARACTERS)
		return call_fail(call, ST_INVALID_ARGUMENT, "name", "A project's name has 1 to 100 characters");
	return ST_OK;
}

/* ---- create ---- */

static enum status create_reply(struct call *call, const Identity__Rows__Project *row, const struct keys_made *made,
                                Identity__CreateProjectReply *reply)
{
	message_copy(&row->base, &reply->base);
	reply->id = call_bytes_id_text(call, "prj", row->project_id);
	reply->management_key = arena_alloc(call->arena, sizeof(*reply->management_key));
	if (!reply->id || !reply->management_key)
		return ST_RESOURCE_EXHAUSTED;
	identity__key__init(reply->management_key);
	return keys_show(call, &made->row, made->secret, reply->management_key);
}

static enum status create_write(struct change *change, const Identity__Rows__Project *row, const struct keys_made *made)
{
	struct call *call = change->call;
	Identity__CreateProjectReply *reply = change->reply;
	Identity__CreateProjectReply *recorded = arena_memdup(call->arena, reply, sizeof(*reply));
	if (!recorded || !(recorded->management_key = keys_without_secret(call, reply->management_key)))
		return ST_RESOURCE_EXHAUSTED;
	change_event(change, EVENTS__EVENT_TYPE__EVENT_TYPE_PROJECT_CREATED, reply->id, 1);
	change_event(change, EVENTS__EVENT_TYPE__EVENT_TYPE_KEY_CREATED, reply->management_key->id, 1);
	change_record(change, &recorded->base);
	struct sql_project_create params = {
	    .created = row, .key = &made->row, .secret_hash = {made->secret_hash, SHA256_SIZE}};
	return change_write(change, &sql_project_create, &params);
}

static enum status create_try(struct change *change)
{
	const Identity__CreateProjectRequest *request = change->request;
	struct call *call = change->call;
	struct id id = id_new();
	struct keys_made made;
	Identity__Rows__Project row = IDENTITY__ROWS__PROJECT__INIT;
	row.has_project_id = row.has_platform = row.has_created_at_us = true;
	row.project_id = (ProtobufCBinaryData){ID_SIZE, id.bytes};
	row.name = request->name;
	row.created_at_us = clock_wall_us();
	enum status status = keys_make_management(call->arena, row.created_at_us, &made);
	if (status != ST_OK)
		return status;
	status = create_reply(call, &row, &made, change->reply);
	secret_wipe(made.secret, sizeof(made.secret));
	return status == ST_OK ? create_write(change, &row, &made) : status;
}

enum status h_create_project(struct call *call, const Identity__CreateProjectRequest *request,
                             Identity__CreateProjectReply *reply)
{
	enum status status = require_platform(call);
	if (status == ST_OK)
		status = project_name(call, request->name);
	return status == ST_OK ? change_run(call, request, reply, create_try, NULL) : status;
}

/* ---- list ---- */

static enum status project_show(struct call *call, const ProtobufCMessage *row, ProtobufCMessage *message)
{
	Identity__Project *project = (Identity__Project *)message;
	message_copy(row, message);
	project->id = call_bytes_id_text(call, "prj", ((const Identity__Rows__Project *)row)->project_id);
	return project->id ? ST_OK : ST_RESOURCE_EXHAUSTED;
}

static struct page_key project_place(const ProtobufCMessage *row)
{
	return (struct page_key){.id = id_from_bytes(((const Identity__Rows__Project *)row)->project_id)};
}

enum status h_list_projects(struct call *call, const Identity__ListProjectsRequest *request,
                            Identity__ListProjectsReply *reply)
{
	struct page page = {
	    .list = "projects:id", .limit_default = 50, .limit_max = 200, .show = project_show, .key = project_place};
	struct page_row *rows;
	size_t count;
	enum status status = require_platform(call);
	if (status == ST_OK)
		status = page_open(call, &page, &request->base);
	if (status != ST_OK)
		return status;
	struct sql_project_list params = {.after = &page.after.id, .limit = page.limit + 1};
	status = call_all(call, &sql_project_list, &params, &rows, &count);
	return status == ST_OK ? page_reply(call, &page, rows, count, &reply->base) : status;
}
