/* Lists, search and look-ups of users.
 *
 * A page is chosen over an index alone (project, status, sort key, id), one scan per status merged in order, and then joined to
 * the rows. Totals come from the kept counters, or with a search term from the same pass that finds the matches. */
#include "store.h"
#include "store_row.h"

#include <string.h>

/* One status' share of the keys, at most `most`. The test of $2 is made once: it decides whether the scan runs at all. */
#define SQL_KEYS_OF(number, key, direction, condition, most)                                                           \
	"(SELECT " key " AS k, user_id FROM users WHERE project_id = $1 AND status = " number " AND $2 IN (0, " number \
	") AND " condition " ORDER BY " key " " direction ", user_id " direction " LIMIT " most ")"
#define SQL_KEYS(key, direction, condition, most)                                                                      \
	SQL_KEYS_OF("1", key, direction, condition, most)                                                              \
	" UNION ALL " SQL_KEYS_OF("2", key, direction, condition, most) " UNION ALL " SQL_KEYS_OF("3", key, direction, \
	                                                                                          condition, most)

/* $1 project, $2 status or 0, $3 limit, $4 key, $5 id; a row of nothing but the total when the page is empty. */
#define SQL_PAGE(key, direction, condition, most, skip)                                                                \
	"WITH t AS (SELECT coalesce(sum(n), 0)::int8 AS n FROM user_count WHERE project_id = $1 AND $2 IN (0, "        \
	"status)), "                                                                                                   \
	"s AS MATERIALIZED (SELECT k, user_id FROM (" SQL_KEYS(                                                        \
	    key, direction, condition,                                                                                 \
	    most) ") keys "                                                                                            \
	          "ORDER BY k " direction ", user_id " direction " LIMIT $3" skip ") "                                 \
	          "SELECT t.n, " USER_SHOWN(                                                                           \
	              "u") " FROM t LEFT JOIN (s JOIN users u ON u.project_id = $1 AND u.user_id = s.user_id) "        \
	                   "ON true ORDER BY s.k " direction ", s.user_id " direction
#define SQL_AFTER(key, direction, comparison)                                                                          \
	SQL_PAGE(key, direction, "(" key ", user_id) " comparison " ($4, $5)", "$3", "")
#define SQL_OFFSET(key, direction) SQL_PAGE(key, direction, "true", "$3 + $4", " OFFSET $4")

/* As above over the matches of $4; `text` is the searched expression: the bare column lets the trigram index find them. */
#define SQL_MATCHES(key, direction, text, condition)                                                                   \
	"WITH m AS MATERIALIZED (SELECT " key " AS k, user_id FROM users WHERE project_id = $1 AND $2 IN (0, status) " \
	"AND " text " LIKE $4), "                                                                                      \
	"t AS (SELECT count(*)::int8 AS n FROM m), "                                                                   \
	"s AS MATERIALIZED (SELECT k, user_id FROM m WHERE " condition " ORDER BY k " direction ", user_id " direction \
	" LIMIT $3 OFFSET $5) "                                                                                        \
	"SELECT t.n, " USER_SHOWN(                                                                                     \
	    "u") " FROM t LEFT JOIN (s JOIN users u ON u.project_id = $1 AND u.user_id = s.user_id) "                  \
	         "ON true ORDER BY s.k " direction ", s.user_id " direction
#define SQL_SEARCH(key, direction, comparison, text)                                                                   \
	SQL_MATCHES(key, direction, text, "(NOT $6 OR (k, user_id) " comparison " ($7, $8))")
#define INDEXED "search_text"
#define WALKED "(search_text || '')"

enum { LIST_AFTER, LIST_OFFSET, LIST_SEARCH, LIST_WALK, LIST_KINDS };

/* By order, then by kind. */
static const struct db_stmt list_stmts[][LIST_KINDS] = {
    [ORDER_CREATED_DESC] = {{"list_created_desc_after", SQL_AFTER("created_at_us", "DESC", "<"), DB_READ},
                            {"list_created_desc_offset", SQL_OFFSET("created_at_us", "DESC"), DB_READ},
                            {"list_created_desc_search", SQL_SEARCH("created_at_us", "DESC", "<", INDEXED), DB_READ},
                            {"list_created_desc_walk", SQL_SEARCH("created_at_us", "DESC", "<", WALKED), DB_READ}},
    [ORDER_CREATED_ASC] = {{"list_created_asc_after", SQL_AFTER("created_at_us", "ASC", ">"), DB_READ},
                           {"list_created_asc_offset", SQL_OFFSET("created_at_us", "ASC"), DB_READ},
                           {"list_created_asc_search", SQL_SEARCH("created_at_us", "ASC", ">", INDEXED), DB_READ},
                           {"list_created_asc_walk", SQL_SEARCH("created_at_us", "ASC", ">", WALKED), DB_READ}},
    [ORDER_EMAIL_DESC] = {{"list_email_desc_after", SQL_AFTER("email_key", "DESC", "<"), DB_READ},
                          {"list_email_desc_offset", SQL_OFFSET("email_key", "DESC"), DB_READ},
                          {"list_email_desc_search", SQL_SEARCH("email_key", "DESC", "<", INDEXED), DB_READ},
                          {"list_email_desc_walk", SQL_SEARCH("email_key", "DESC", "<", WALKED), DB_READ}},
    [ORDER_EMAIL_ASC] = {{"list_email_asc_after", SQL_AFTER("email_key", "ASC", ">"), DB_READ},
                         {"list_email_asc_offset", SQL_OFFSET("email_key", "ASC"), DB_READ},
                         {"list_email_asc_search", SQL_SEARCH("email_key", "ASC", ">", INDEXED), DB_READ},
                         {"list_email_asc_walk", SQL_SEARCH("email_key", "ASC", ">", WALKED), DB_READ}},
};

/* Rows (total, user columns) to a page; a null user id is the row of an empty page. */
static enum status page_from_rows(struct store *store, const struct db_rows *rows, struct user_page *ret_page)
{
	struct user_page page = {0};
	page.users = arena_alloc(store->arena, (size_t)(rows->count + 1) * sizeof(*page.users));
	enum status status = page.users ? ST_OK : ST_RESOURCE_EXHAUSTED;
	for (int row = 0; row < rows->count && status == ST_OK; row++) {
		page.total = db_int(rows, row, 0);
		if (!db_null(rows, row, 1))
			status = store_row_user(rows, row, 1, store->arena, &page.users[page.count++]);
	}
	if (status == ST_OK)
		*ret_page = page;
	return status;
}

static void args_add_key(struct db_args *args, const struct user_query *query)
{
	if (query->order == ORDER_EMAIL_ASC || query->order == ORDER_EMAIL_DESC)
		db_arg_text(args, query->after_email ? query->after_email : "");
	else
		db_arg_int8(args, query->after_created_us);
	db_arg_id(args, &query->after_id);
}

enum status store_user_list(struct store *store, const struct user_query *query, struct user_page *ret_page)
{
	struct db_args args = {0};
	struct db_rows rows = {0};
	int kind = query->by_key ? LIST_AFTER : LIST_OFFSET;
	db_arg_id(&args, &store->project);
	db_arg_int2(&args, query->status);
	db_arg_int8(&args, query->limit);
	if (query->pattern) {
		kind = query->walk ? LIST_WALK : LIST_SEARCH;
		db_arg_text(&args, query->pattern);
		db_arg_int8(&args, query->by_key ? 0 : query->offset);
		db_arg_bool(&args, query->by_key);
		args_add_key(&args, query);
	} else if (query->by_key) {
		args_add_key(&args, query);
	} else {
		db_arg_int8(&args, query->offset);
	}
	enum status status = store_run(store, &list_stmts[query->order][kind], &args, &rows);
	return status == ST_OK ? page_from_rows(store, &rows, ret_page) : status;
}

enum status store_user_count(struct store *store, int16_t user_status, int64_t *ret_total)
{
	static const struct db_stmt stmt = {
	    "user_count",
	    "SELECT coalesce(sum(n), 0)::int8 FROM user_count WHERE project_id = $1 AND $2 IN (0, status)", DB_READ};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	db_arg_int2(&args, user_status);
	enum status status = store_run(store, &stmt, &args, &rows);
	if (status == ST_OK)
		*ret_total = db_int(&rows, 0, 0);
	return status;
}

enum status store_user_lookup(struct store *store, const struct user_lookup *lookup, struct user_page *ret_page)
{
	static const struct db_stmt stmt = {
	    "user_lookup",
	    "WITH f AS MATERIALIZED (SELECT user_id FROM unnest($2) user_id "
	    "UNION SELECT m.user_id FROM unnest($3) v, " SQL_LOGIN_OWNER(
	        "v") " "
	             "UNION SELECT m.user_id FROM unnest($4) e, " SQL_EXTERNAL_OWNER(
	                 "e") ") "
	                      "SELECT 0::int8, " USER_SHOWN(
	                          "u") " FROM f, LATERAL "
	                               "(SELECT * FROM users WHERE project_id = $1 AND user_id = f.user_id LIMIT 1) u",
	    DB_READ};
	struct db_args args = {0};
	struct db_rows rows = {0};
	db_arg_id(&args, &store->project);
	db_arg_ids(&args, store->arena, lookup->ids, lookup->id_count);
	db_arg_texts(&args, store->arena, lookup->logins, lookup->login_count);
	db_arg_texts(&args, store->arena, lookup->external_ids, lookup->external_id_count);
	enum status status = store_run(store, &stmt, &args, &rows);
	return status == ST_OK ? page_from_rows(store, &rows, ret_page) : status;
}
