/* Projects: create, list. Only the platform project may. */
#include "base/clock.h"
#include "keys.h"
#include "rules.h"
#include "service.h"

#include <string.h>

#define NAME_MAX_BYTES 400 /* 100 characters of up to 4 bytes */
#define NAME_MAX_CHARACTERS 100

static enum status require_platform(struct call *call)
{
	struct store store = identity_store(call);
	struct project project;
	enum status status = store_project_get(&store, &project);
	if (status == ST_NOT_FOUND || (status == ST_OK && !project.platform))
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

static void simple_event(Events__EventType type, char *subject, Events__Event *ret_event)
{
	events__event__init(ret_event);
	ret_event->has_type = true;
	ret_event->type = type;
	ret_event->subject = subject;
	ret_event->has_version = true;
	ret_event->version = 1;
}

enum status h_create_project(struct call *call, const Identity__CreateProjectRequest *request,
                             Identity__CreateProjectReply *reply)
{
	struct store store = identity_store(call);
	struct project project = {.id = id_new(), .name = request->name, .created_at_us = clock_wall_us()};
	struct keys_made made;
	Identity__Key key_reply = IDENTITY__KEY__INIT;
	Events__Event created, key_created;
	enum status status = require_platform(call);
	if (status == ST_OK)
		status = project_name(call, request->name);
	if (status == ST_OK)
		status = keys_make_management(call->arena, project.created_at_us, &made);
	if (status == ST_OK)
		status = keys_reply(call, &made.key, made.secret, &key_reply);
	if (status != ST_OK)
		return status;
	secret_wipe(made.secret, sizeof(made.secret));
	reply->id = identity_id_text(call, "prj", &project.id);
	reply->name = request->name;
	reply->has_created_at_us = true;
	reply->created_at_us = project.created_at_us;
	reply->management_key = arena_memdup(call->arena, &key_reply, sizeof(key_reply));
	if (!reply->id || !reply->management_key)
		return ST_RESOURCE_EXHAUSTED;
	simple_event(EVENTS__EVENT_TYPE__EVENT_TYPE_PROJECT_CREATED, reply->id, &created);
	simple_event(EVENTS__EVENT_TYPE__EVENT_TYPE_KEY_CREATED, reply->management_key->id, &key_created);
	struct store_effects effects = keys_effects(call, reply->management_key, &reply->base, &created);
	struct packed key_event = call_event(call, &key_created);
	struct store_new_project row = {&project, &made.key, made.secret_hash, key_event.data, key_event.len};
	status = store_project_create(&store, &row, &effects);
	if (status == ST_OK)
		call_committed(call);
	return status;
}

enum status h_list_projects(struct call *call, const Identity__ListProjectsRequest *request,
                            Identity__ListProjectsReply *reply)
{
	static const uint32_t bounds[] = {50, 200};
	struct store store = identity_store(call);
	struct id after = {0};
	struct project_page page;
	int limit;
	enum status status = require_platform(call);
	if (status == ST_OK && request->after && !id_parse("prj", request->after, &after))
		status = call_fail(call, ST_INVALID_ARGUMENT, "after", "It is not a cursor of this list");
	if (status == ST_OK)
		status = identity_limit(call, request->has_limit, request->limit, bounds, &limit);
	if (status == ST_OK)
		status = store_project_list(&store, &after, limit + 1, &page);
	if (status != ST_OK)
		return status;
	reply->has_total = true;
	reply->total = page.total;
	reply->n_data = page.count > (size_t)limit ? (size_t)limit : page.count;
	reply->data = arena_alloc(call->arena, (reply->n_data + 1) * sizeof(*reply->data));
	Identity__Project *messages = arena_alloc(call->arena, (reply->n_data + 1) * sizeof(*messages));
	if (!reply->data || !messages)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < reply->n_data; i++) {
		identity__project__init(&messages[i]);
		messages[i].id = identity_id_text(call, "prj", &page.projects[i].id);
		messages[i].name = (char *)page.projects[i].name;
		messages[i].has_created_at_us = true;
		messages[i].created_at_us = page.projects[i].created_at_us;
		reply->data[i] = &messages[i];
	}
	if (page.count > (size_t)limit)
		reply->next = messages[limit - 1].id;
	return ST_OK;
}
