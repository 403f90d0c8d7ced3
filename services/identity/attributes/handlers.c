/* The schema of custom attributes: read, replace. */
#include "attributes/attributes.h"
#include "identity_sql.gen.h"
#include "process/change.h"
#include "service.h"

#include <string.h>

static enum status schema_reply(struct call *call, const struct attributes *schema, Identity__AttributeSchema *reply)
{
	reply->has_version = true;
	reply->version = schema->version;
	reply->n_attributes = schema->count;
	reply->attributes = arena_alloc(call->arena, (schema->count + 1) * sizeof(*reply->attributes));
	Identity__AttributeDefinition *messages = arena_alloc(call->arena, (schema->count + 1) * sizeof(*messages));
	if (!reply->attributes || !messages)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < schema->count; i++) {
		identity__attribute_definition__init(&messages[i]);
		messages[i].name = schema->list[i].name;
		messages[i].has_type = true;
		messages[i].type = (Identity__AttributeType)schema->list[i].type;
		messages[i].has_required = true;
		messages[i].required = schema->list[i].required;
		reply->attributes[i] = &messages[i];
	}
	return ST_OK;
}

enum status h_get_attribute_schema(struct call *call, const Common__Empty *request, Identity__AttributeSchema *reply)
{
	struct attributes schema;
	enum status status = identity_schema(call, true, &schema);
	return status == ST_OK ? schema_reply(call, &schema, reply) : status;
}

static enum status definition_fail(struct call *call, size_t index, const char *member, const char *reason)
{
	const char *field = arena_printf(call->arena, "attributes[%zu].%s", index, member);
	return call_fail(call, ST_INVALID_ARGUMENT, field, "%s", reason);
}

static enum status schema_from_request(struct call *call, const Identity__AttributeSchema *request,
                                       struct attributes *ret_schema)
{
	struct attributes schema = {.count = request->n_attributes};
	if (schema.count > ATTRIBUTES_MAX)
		return call_fail(call, ST_INVALID_ARGUMENT, "attributes", "A schema has at most %d attributes",
		                 ATTRIBUTES_MAX);
	schema.list = arena_alloc(call->arena, (schema.count + 1) * sizeof(*schema.list));
	if (!schema.list)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < schema.count; i++) {
		const Identity__AttributeDefinition *definition = request->attributes[i];
		struct attribute *attribute = &schema.list[i];
		if (!definition->name || !attribute_name_valid(definition->name))
			return definition_fail(call, i, "name", "A name is [a-z][a-z0-9_]{0,62}");
		if (!definition->has_type || definition->type < (int)ATTRIBUTE_STRING ||
		    definition->type > (int)ATTRIBUTE_STRINGS)
			return definition_fail(call, i, "type", "It is string, number, boolean or strings");
		memcpy(attribute->name, definition->name, strlen(definition->name) + 1);
		attribute->type = (uint8_t)definition->type;
		attribute->required = definition->has_required && definition->required;
		for (size_t j = 0; j < i; j++)
			if (strcmp(schema.list[j].name, attribute->name) == 0)
				return definition_fail(call, i, "name", "Another attribute has this name");
	}
	*ret_schema = schema;
	return ST_OK;
}

static enum status put_try(struct change *change)
{
	struct call *call = change->call;
	struct attributes before, after = *(const struct attributes *)change->arg;
	Identity__Rows__AttributeSchema row = IDENTITY__ROWS__ATTRIBUTE_SCHEMA__INIT;
	enum status status = identity_schema(call, true, &before);
	if (status != ST_OK)
		return status;
	after.version = before.version + 1;
	status = schema_reply(call, &after, change->reply);
	if (status == ST_OK)
		status = attributes_print(&after, call->arena, &row.definitions);
	if (status != ST_OK)
		return status;
	row.has_version = true;
	row.version = after.version;
	change_event(change, EVENTS__EVENT_TYPE__EVENT_TYPE_ATTRIBUTE_SCHEMA_CHANGED,
	             call_id_text(call, "prj", &call->project), after.version);
	return change_write(change, &sql_schema_put, &(struct sql_schema_put){.schema = &row});
}

enum status h_put_attribute_schema(struct call *call, const Identity__AttributeSchema *request,
                                   Identity__AttributeSchema *reply)
{
	struct attributes wanted;
	enum status status = schema_from_request(call, request, &wanted);
	if (status != ST_OK)
		return status;
	status = change_run(call, request, reply, put_try, &wanted);
	attributes_cache_forget(identity_state(call)->schemas, &call->project);
	return status;
}
