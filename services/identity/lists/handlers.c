/* Lists and search of users. */
#include "base/buf.h"
#include "identity_sql.gen.h"
#include "process/page.h"
#include "rules.h"
#include "users/user.h"

#include <string.h>

#define REPLY_MAX_BYTES (3u * 1024 * 1024) /* of users in one reply: one more may begin below it */
#define SMALL_PROJECT_USERS 2000           /* so many rows are read faster than an index that other projects share */
#define DEEP_OFFSET 1000                   /* from here on the nearer end of the list is looked for */
#define INDEXED_RUN 3                      /* letters and digits in a row that a trigram needs */

enum kind { LIST_AFTER, LIST_OFFSET, LIST_SEARCH, LIST_WALK, LIST_KINDS };
/* An order: its name in a request, its statements by kind (all take the same parameters), the order from the other end. */
static const struct order {
	const char *sort, *list;
	bool by_email;
	unsigned opposite;
	const struct db_stmt *stmts[LIST_KINDS];
} orders[] = {
    {"-created_at",
     "users:-created_at",
     false,
     1,
     {&sql_list_created_desc_after, &sql_list_created_desc_offset, &sql_list_created_desc_search,
      &sql_list_created_desc_walk}},
    {"created_at",
     "users:created_at",
     false,
     0,
     {&sql_list_created_asc_after, &sql_list_created_asc_offset, &sql_list_created_asc_search,
      &sql_list_created_asc_walk}},
    {"email",
     "users:email",
     true,
     3,
     {&sql_list_email_asc_after, &sql_list_email_asc_offset, &sql_list_email_asc_search, &sql_list_email_asc_walk}},
    {"-email",
     "users:-email",
     true,
     2,
     {&sql_list_email_desc_after, &sql_list_email_desc_offset, &sql_list_email_desc_search, &sql_list_email_desc_walk}},
};

struct query {
	const struct order *order;
	struct page page;
	Identity__Rows__UserQuery params;
	enum kind kind;
};

/* ---- the query ---- */

static enum status query_order(struct call *call, const char *sort, struct query *query)
{
	query->order = &orders[0];
	for (size_t i = 0; sort && i < sizeof(orders) / sizeof(orders[0]); i++) {
		if (strcmp(sort, orders[i].sort) == 0) {
			query->order = &orders[i];
			return ST_OK;
		}
	}
	return sort ? call_fail(call, ST_INVALID_ARGUMENT, "sort", "It is -created_at, created_at, email or -email")
	            : ST_OK;
}

static enum status user_show(struct call *call, const ProtobufCMessage *row, ProtobufCMessage *message)
{
	return user_fill(call, (const Identity__Rows__User *)row, (Identity__User *)message);
}

static struct page_key user_place(const ProtobufCMessage *row)
{
	const Identity__Rows__User *user = (const Identity__Rows__User *)row;
	return (struct page_key){id_from_bytes(user->user_id), user->created_at_us, user->email};
}

static enum status query_position(struct call *call, const Identity__ListUsersRequest *request, struct query *query)
{
	Identity__Rows__UserQuery *params = &query->params;
	query->page = (struct page){.list = query->order->list,
	                            .limit_default = 50,
	                            .limit_max = 1000,
	                            .max_bytes = REPLY_MAX_BYTES,
	                            .show = user_show,
	                            .key = user_place};
	if (request->has_page && (request->page < 1 || request->after))
		return call_fail(call, ST_INVALID_ARGUMENT, "page", "It begins with 1 and excludes `after`");
	enum status status = page_open(call, &query->page, &request->base);
	params->limit = query->page.limit + 1; /* one more tells whether this is the last page */
	params->offset = request->has_page ? ((int64_t)request->page - 1) * query->page.limit : 0;
	params->by_key = query->page.has_after;
	params->after_us = query->page.after.number;
	params->after_email = query->page.after.text ? (char *)query->page.after.text : (char *)"";
	params->after_id = (ProtobufCBinaryData){ID_SIZE, query->page.after.id.bytes};
	query->kind = query->page.has_after ? LIST_AFTER : LIST_OFFSET;
	return status;
}

static enum status users_total(struct call *call, int16_t status, int64_t *ret_total)
{
	struct sql_user_count_row row;
	enum status done = call_one(call, &sql_user_count, &(struct sql_user_count){.status = status}, &row);
	if (done == ST_OK)
		*ret_total = row.total;
	return done;
}

/* The pattern, and whether the trigram index or the project's own rows lead to the matches faster. */
static enum status query_search(struct call *call, const char *term, struct query *query)
{
	struct buf pattern = {0};
	size_t run = 0;
	int64_t users;
	if (!term || !term[0])
		return ST_OK;
	rules_reason reason = rules_search_pattern(term, &pattern, &run);
	if (!reason && buf_ok(&pattern))
		query->params.pattern = arena_strndup(call->arena, pattern.data, pattern.len);
	buf_free(&pattern);
	if (reason)
		return call_fail(call, ST_INVALID_ARGUMENT, "search", "%s", reason);
	if (!query->params.pattern)
		return ST_RESOURCE_EXHAUSTED;
	query->kind = LIST_WALK;
	if (run < INDEXED_RUN)
		return ST_OK;
	enum status status = users_total(call, 0, &users);
	if (status == ST_OK && users > SMALL_PROJECT_USERS)
		query->kind = LIST_SEARCH;
	return status;
}

static enum status query_from_request(struct call *call, const Identity__ListUsersRequest *request, struct query *query)
{
	Identity__Rows__UserQuery *params = &query->params;
	identity__rows__user_query__init(params);
	params->has_status = params->has_limit = params->has_offset = params->has_by_key = true;
	params->has_after_us = params->has_after_id = true;
	params->status = request->has_status ? (int32_t)request->status : 0;
	if (params->status < 0 || params->status > USER_DISABLED)
		return call_fail(call, ST_INVALID_ARGUMENT, "status", "It is invited, active or disabled");
	enum status status = query_order(call, request->sort, query);
	if (status == ST_OK)
		status = query_position(call, request, query);
	return status == ST_OK ? query_search(call, request->search, query) : status;
}

/* ---- the page ---- */

/* All statements of lists have the same parameters and columns. */
static enum status query_run(struct call *call, const struct db_stmt *stmt, const Identity__Rows__UserQuery *params,
                             struct page_row **ret_rows, size_t *ret_count)
{
	return call_all(call, stmt, &(struct sql_list_created_desc_after){.query = params}, ret_rows, ret_count);
}

/* A page of the second half of a long list is counted from the list's other end. */
static enum status page_from_end(struct call *call, const struct query *query, int64_t total,
                                 struct page_row **ret_rows, size_t *ret_count)
{
	Identity__Rows__UserQuery back = query->params;
	struct page_row *rows;
	size_t count;
	int64_t left = total - query->params.offset;
	back.limit = left < query->params.limit ? left : query->params.limit;
	back.offset = left - back.limit;
	enum status status = query_run(call, orders[query->order->opposite].stmts[LIST_OFFSET], &back, &rows, &count);
	if (status != ST_OK)
		return status;
	for (size_t i = 0; i < count / 2; i++) {
		struct page_row swap = rows[i];
		rows[i] = rows[count - 1 - i];
		rows[count - 1 - i] = swap;
	}
	*ret_rows = rows;
	*ret_count = count;
	return ST_OK;
}

static enum status page_read(struct call *call, const struct query *query, struct page_row **ret_rows,
                             size_t *ret_count)
{
	int64_t total = 0, offset = query->params.offset;
	enum status status = ST_OK;
	if (offset > DEEP_OFFSET && query->kind == LIST_OFFSET)
		status = users_total(call, (int16_t)query->params.status, &total);
	if (status != ST_OK)
		return status;
	if (offset < total && offset > total / 2)
		return page_from_end(call, query, total, ret_rows, ret_count);
	return query_run(call, query->order->stmts[query->kind], &query->params, ret_rows, ret_count);
}

enum status h_list_users(struct call *call, const Identity__ListUsersRequest *request, Identity__ListUsersReply *reply)
{
	struct query query = {0};
	struct page_row *rows;
	size_t count;
	enum status status = query_from_request(call, request, &query);
	if (status == ST_OK)
		status = page_read(call, &query, &rows, &count);
	if (status == ST_OK)
		status = page_reply(call, &query.page, rows, count, &reply->base);
	/* A cursor goes on behind the last one shown; the next page by number would leave out those that had no room. */
	if (status == ST_OK && request->has_page && reply->next && reply->n_data < (size_t)query.page.limit)
		return call_fail(call, ST_INVALID_ARGUMENT, "limit",
		                 "These users are too large for one page: ask for fewer");
	return status;
}
