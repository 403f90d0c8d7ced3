/* What the statements of the identity schema have in common. */
#include "store.h"

enum status store_run(struct store *store, const struct db_stmt *stmt, const struct db_args *args,
                      struct db_rows *ret_rows)
{
	enum status status = store->tx ? db_tx_run(store->tx, stmt, args, store->arena, ret_rows)
	                               : db_run(store->db, stmt, args, store->arena, store->deadline_us, ret_rows);
	store->conflict = status == ST_ALREADY_EXISTS ? ret_rows->constraint : NULL;
	return status;
}

void store_arg_effects(struct db_args *args, const struct store_effects *effects)
{
	db_arg_bytes(args, effects->event, effects->event_len);
	db_arg_id(args, effects->operation);
	db_arg_int4(args, (int32_t)effects->method);
	db_arg_bytes(args, effects->request_hash, effects->request_hash ? SHA256_SIZE : 0);
	db_arg_bytes(args, effects->reply, effects->reply_len);
	db_arg_int8(args, effects->at_us);
}
