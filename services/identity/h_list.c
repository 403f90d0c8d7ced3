/* Users: lists, search, look-up of many. */
#include "base/buf.h"
#include "base/login.h"
#include "base/utf8.h"
#include "record.h"
#include "rules.h"
#include "service.h"
#include "json/pbjson.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define LOOKUP_MAX 500
#define REPLY_MAX_BYTES (3u * 1024 * 1024) /* of users in one reply: one more may begin below it */
#define SMALL_PROJECT_USERS 2000           /* so many rows are read faster than an index that other projects share */
#define DEEP_OFFSET 1000                   /* from here on the nearer end of the list is looked for */
#define INDEXED_RUN 3                      /* letters and digits in a row that a trigram needs */

static const char *const order_names[] = {
    [ORDER_CREATED_DESC] = "-created_at",
    [ORDER_CREATED_ASC] = "created_at",
    [ORDER_EMAIL_DESC] = "-email",
    [ORDER_EMAIL_ASC] = "email",
};

/* ---- cursor: order, id, then the sort key, as base64url ---- */

#define CURSOR_HEAD_BYTES (1 + ID_SIZE)
#define CURSOR_MAX_BYTES (CURSOR_HEAD_BYTES + LOGIN_MAX_BYTES)

static bool order_is_email(enum user_order order)
{
	return order == ORDER_EMAIL_DESC || order == ORDER_EMAIL_ASC;
}

static char *cursor_print(struct arena *arena, enum user_order order, const struct user *last)
{
	uint8_t bytes[CURSOR_MAX_BYTES];
	size_t len = CURSOR_HEAD_BYTES;
	bytes[0] = (uint8_t)order;
	memcpy(bytes + 1, last->id.bytes, ID_SIZE);
	if (order_is_email(order)) {
		size_t email_len = last->email ? strlen(last->email) : 0;
		memcpy(bytes + len, last->email ? last->email : "", email_len);
		len += email_len;
	} else {
		uint64_t created = htobe64((uint64_t)last->created_at_us);
		memcpy(bytes + len, &created, sizeof(created));
		len += sizeof(created);
	}
	char *text = arena_alloc(arena, BASE64URL_SIZE(len));
	if (text)
		base64url_encode(bytes, len, text);
	return text;
}

static bool cursor_parse(struct arena *arena, const char *text, struct user_query *query)
{
	uint8_t bytes[CURSOR_MAX_BYTES];
	size_t len = sizeof(bytes);
	if (strlen(text) >= BASE64URL_SIZE(CURSOR_MAX_BYTES) || !base64url_decode(text, strlen(text), bytes, &len) ||
	    len < CURSOR_HEAD_BYTES || bytes[0] != query->order)
		return false;
	memcpy(query->after_id.bytes, bytes + 1, ID_SIZE);
	len -= CURSOR_HEAD_BYTES;
	const char *key = (const char *)bytes + CURSOR_HEAD_BYTES;
	if (order_is_email(query->order)) {
		query->after_email = arena_strndup(arena, key, len);
		return query->after_email && utf8_valid(key, len);
	}
	uint64_t created;
	if (len != sizeof(created))
		return false;
	memcpy(&created, key, sizeof(created));
	query->after_created_us = (int64_t)be64toh(created);
	return true;
}

/* ---- the query ---- */

static enum status query_order(struct call *call, const char *sort, struct user_query *query)
{
	query->order = ORDER_CREATED_DESC;
	if (!sort)
		return ST_OK;
	for (size_t i = 0; i < sizeof(order_names) / sizeof(order_names[0]); i++)
		if (strcmp(sort, order_names[i]) == 0) {
			query->order = (enum user_order)i;
			return ST_OK;
		}
	return call_fail(call, ST_INVALID_ARGUMENT, "sort", "It is -created_at, created_at, email or -email");
}

static enum status query_position(struct call *call, const Identity__ListUsersRequest *request,
                                  struct user_query *query)
{
	if (request->has_page && (request->page < 1 || request->after))
		return call_fail(call, ST_INVALID_ARGUMENT, "page", "It begins with 1 and excludes `after`");
	query->by_key = request->after != NULL;
	query->offset = request->has_page ? ((int64_t)request->page - 1) * query->limit : 0;
	if (request->after && !cursor_parse(call->arena, request->after, query))
		return call_fail(call, ST_INVALID_ARGUMENT, "after", "It is not a cursor of a list in this order");
	return ST_OK;
}

/* The pattern, and whether the trigram index or the project's own rows lead to the matches faster. */
static enum status query_search(struct call *call, const char *term, struct user_query *query)
{
	struct buf pattern = {0};
	struct store store = identity_store(call);
	size_t run = 0;
	int64_t users;
	if (!term || !term[0])
		return ST_OK;
	rules_reason reason = rules_search_pattern(term, &pattern, &run);
	if (!reason && buf_ok(&pattern))
		query->pattern = arena_strndup(call->arena, pattern.data, pattern.len);
	buf_free(&pattern);
	if (reason)
		return call_fail(call, ST_INVALID_ARGUMENT, "search", "%s", reason);
	if (!query->pattern)
		return ST_RESOURCE_EXHAUSTED;
	query->walk = run < INDEXED_RUN;
	if (query->walk)
		return ST_OK;
	enum status status = store_user_count(&store, 0, &users);
	query->walk = status == ST_OK && users <= SMALL_PROJECT_USERS;
	return status;
}

static enum status query_from_request(struct call *call, const Identity__ListUsersRequest *request,
                                      struct user_query *query)
{
	static const uint32_t bounds[] = {50, 1000};
	enum status status = identity_limit(call, request->has_limit, request->limit, bounds, &query->limit);
	if (status == ST_OK && request->has_status)
		query->status = (int16_t)request->status;
	if (status == ST_OK && (query->status < 0 || query->status > USER_DISABLED))
		status = call_fail(call, ST_INVALID_ARGUMENT, "status", "It is invited, active or disabled");
	if (status == ST_OK)
		status = query_order(call, request->sort, query);
	if (status == ST_OK)
		status = query_position(call, request, query);
	if (status == ST_OK)
		status = query_search(call, request->search, query);
	return status;
}

/* ---- the page ---- */

/* A page of the second half of a long list is counted from the list's other end. */
static enum status page_from_end(struct call *call, const struct user_query *query, int64_t total,
                                 struct user_page *ret_page)
{
	static const enum user_order opposite[] = {[ORDER_CREATED_DESC] = ORDER_CREATED_ASC,
	                                           [ORDER_CREATED_ASC] = ORDER_CREATED_DESC,
	                                           [ORDER_EMAIL_DESC] = ORDER_EMAIL_ASC,
	                                           [ORDER_EMAIL_ASC] = ORDER_EMAIL_DESC};
	struct store store = identity_store(call);
	struct user_query back = *query;
	struct user_page page;
	int64_t left = total - query->offset;
	back.order = opposite[query->order];
	back.limit = left < query->limit ? (int)left : query->limit;
	back.offset = left - back.limit;
	enum status status = store_user_list(&store, &back, &page);
	for (size_t i = 0; status == ST_OK && i < page.count / 2; i++) {
		struct user swap = page.users[i];
		page.users[i] = page.users[page.count - 1 - i];
		page.users[page.count - 1 - i] = swap;
	}
	if (status == ST_OK)
		*ret_page = page;
	return status;
}

static enum status page_read(struct call *call, const struct user_query *query, struct user_page *ret_page)
{
	struct store store = identity_store(call);
	int64_t total = 0;
	enum status status = ST_OK;
	if (query->offset > DEEP_OFFSET && !query->pattern)
		status = store_user_count(&store, query->status, &total);
	if (status == ST_OK && query->offset < total && query->offset > total / 2)
		return page_from_end(call, query, total, ret_page);
	if (status == ST_OK && total > 0 && query->offset >= total) {
		ret_page->total = total; /* behind the end */
		return ST_OK;
	}
	return status == ST_OK ? store_user_list(&store, query, ret_page) : status;
}

/* Messages for the first of *count users that have room in one reply; *count becomes their number. */
static enum status users_reply(struct call *call, const struct user *users, size_t *count, Identity__User ***ret_data)
{
	size_t bytes = 0, fit = 0;
	Identity__User *messages = arena_alloc(call->arena, (*count + 1) * sizeof(*messages));
	Identity__User **data = arena_alloc(call->arena, (*count + 1) * sizeof(*data));
	enum status status = messages && data ? ST_OK : ST_RESOURCE_EXHAUSTED;
	for (; fit < *count && bytes < REPLY_MAX_BYTES && status == ST_OK; fit++) {
		identity__user__init(&messages[fit]);
		data[fit] = &messages[fit];
		status = record_reply(call, &users[fit], &messages[fit]);
		bytes += identity__user__get_packed_size(&messages[fit]);
	}
	*count = fit;
	*ret_data = data;
	return status;
}

enum status h_list_users(struct call *call, const Identity__ListUsersRequest *request, Identity__ListUsersReply *reply)
{
	struct user_query query = {0};
	struct user_page page = {0};
	enum status status = query_from_request(call, request, &query);
	if (status != ST_OK)
		return status;
	query.limit++; /* one more tells whether this is the last page */
	status = page_read(call, &query, &page);
	query.limit--;
	if (status != ST_OK)
		return status;
	reply->n_data = page.count > (size_t)query.limit ? (size_t)query.limit : page.count;
	status = users_reply(call, page.users, &reply->n_data, &reply->data);
	if (status != ST_OK)
		return status;
	bool more = page.count > reply->n_data;
	/* A cursor goes on behind the last one shown; the next page by number would leave out those that had no room. */
	if (request->has_page && more && reply->n_data < (size_t)query.limit)
		return call_fail(call, ST_INVALID_ARGUMENT, "limit",
		                 "These users are too large for one page: ask for fewer");
	reply->has_total = true;
	reply->total = page.total;
	if (more)
		reply->next = cursor_print(call->arena, query.order, &page.users[reply->n_data - 1]);
	return more && !reply->next ? ST_RESOURCE_EXHAUSTED : ST_OK;
}

/* ---- look-up ---- */

/* One asked value in its stored form; not valid = cannot exist. */
struct wanted {
	enum { WANTED_ID, WANTED_EMAIL, WANTED_EXTERNAL } kind;
	const char *given;
	const char *value; /* canonical e-mail address or external id */
	struct id id;
	bool valid;
};

struct lookup {
	struct wanted *wanted;
	size_t count;
	struct user_lookup query;
};

static enum status lookup_alloc(struct call *call, size_t count, struct lookup *ret_lookup)
{
	ret_lookup->wanted = arena_alloc(call->arena, (count + 1) * sizeof(*ret_lookup->wanted));
	ret_lookup->query.ids = arena_alloc(call->arena, (count + 1) * sizeof(struct id));
	ret_lookup->query.logins = arena_alloc(call->arena, (count + 1) * sizeof(char *));
	ret_lookup->query.external_ids = arena_alloc(call->arena, (count + 1) * sizeof(char *));
	return ret_lookup->wanted && ret_lookup->query.ids && ret_lookup->query.logins && ret_lookup->query.external_ids
	           ? ST_OK
	           : ST_RESOURCE_EXHAUSTED;
}

static void lookup_add_ids(struct lookup *lookup, char *const *texts, size_t count)
{
	struct id *ids = (struct id *)lookup->query.ids;
	for (size_t i = 0; i < count; i++) {
		struct wanted *wanted = &lookup->wanted[lookup->count++];
		*wanted = (struct wanted){.kind = WANTED_ID, .given = texts[i]};
		wanted->valid = id_parse("usr", texts[i], &wanted->id);
		if (wanted->valid)
			ids[lookup->query.id_count++] = wanted->id;
	}
}

static enum status lookup_add_emails(struct call *call, struct lookup *lookup, char *const *texts, size_t count)
{
	const char **logins = (const char **)lookup->query.logins;
	for (size_t i = 0; i < count; i++) {
		char email[LOGIN_SIZE];
		struct wanted *wanted = &lookup->wanted[lookup->count++];
		*wanted = (struct wanted){.kind = WANTED_EMAIL, .given = texts[i]};
		wanted->valid = !login_email(texts[i], email);
		if (!wanted->valid)
			continue;
		wanted->value = arena_strdup(call->arena, email);
		if (!wanted->value)
			return ST_RESOURCE_EXHAUSTED;
		logins[lookup->query.login_count++] = wanted->value;
	}
	return ST_OK;
}

static void lookup_add_external_ids(struct lookup *lookup, char *const *texts, size_t count)
{
	const char **external_ids = (const char **)lookup->query.external_ids;
	for (size_t i = 0; i < count; i++) {
		lookup->wanted[lookup->count++] =
		    (struct wanted){.kind = WANTED_EXTERNAL, .given = texts[i], .value = texts[i], .valid = true};
		external_ids[lookup->query.external_id_count++] = texts[i];
	}
}

static bool user_has_login(const struct user *user, const char *login)
{
	for (size_t i = 0; i < user->login_id_count; i++)
		if (strcmp(user->login_ids[i], login) == 0)
			return true;
	return user->email && strcmp(user->email, login) == 0;
}

static bool wanted_matches(const struct wanted *wanted, const struct user *user)
{
	switch (wanted->kind) {
	case WANTED_ID:
		return id_equal(&wanted->id, &user->id);
	case WANTED_EMAIL:
		return user_has_login(user, wanted->value);
	default:
		return user->external_id && strcmp(user->external_id, wanted->value) == 0;
	}
}

/* Users in the order in which they were asked for, each once; the values that found none. */
static enum status lookup_reply(struct call *call, const struct lookup *lookup, const struct user_page *page,
                                Identity__LookupUsersReply *reply)
{
	struct user *users = arena_alloc(call->arena, (page->count + 1) * sizeof(*users));
	bool *taken = arena_alloc(call->arena, page->count + 1);
	reply->not_found = arena_alloc(call->arena, (lookup->count + 1) * sizeof(*reply->not_found));
	if (!users || !taken || !reply->not_found)
		return ST_RESOURCE_EXHAUSTED;
	for (size_t i = 0; i < lookup->count; i++) {
		const struct wanted *wanted = &lookup->wanted[i];
		size_t j = 0;
		while (j < page->count && !(wanted->valid && wanted_matches(wanted, &page->users[j])))
			j++;
		if (j == page->count)
			reply->not_found[reply->n_not_found++] = (char *)wanted->given;
		else if (!taken[j])
			users[reply->n_data++] = page->users[j];
		if (j < page->count)
			taken[j] = true;
	}
	size_t found = reply->n_data;
	enum status status = users_reply(call, users, &reply->n_data, &reply->data);
	if (status == ST_OK && reply->n_data < found)
		return call_fail(call, ST_INVALID_ARGUMENT, "",
		                 "These users are too large for one reply: look up fewer");
	return status;
}

enum status h_lookup_users(struct call *call, const Identity__LookupUsersRequest *request,
                           Identity__LookupUsersReply *reply)
{
	struct store store = identity_store(call);
	struct lookup lookup = {0};
	struct user_page page = {0};
	size_t count = request->n_ids + request->n_emails + request->n_external_ids;
	if (count > LOOKUP_MAX)
		return call_fail(call, ST_INVALID_ARGUMENT, "", "At most 500 values may be looked up at once");
	enum status status = lookup_alloc(call, count, &lookup);
	if (status != ST_OK)
		return status;
	lookup_add_ids(&lookup, request->ids, request->n_ids);
	status = lookup_add_emails(call, &lookup, request->emails, request->n_emails);
	lookup_add_external_ids(&lookup, request->external_ids, request->n_external_ids);
	if (status == ST_OK)
		status = store_user_lookup(&store, &lookup.query, &page);
	return status == ST_OK ? lookup_reply(call, &lookup, &page, reply) : status;
}
