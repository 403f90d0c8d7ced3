/* Configuration from environment variables, one table per process. Secrets may come from a file: NAME_FILE. */
#pragma once

#include "base/buf.h"
#include "base/status.h"

#include <stdint.h>

enum cfg_kind { CFG_TEXT, CFG_INT, CFG_BOOL, CFG_SECRET };

struct cfg_item {
	const char *name; /* environment variable, DENIZEN_... */
	enum cfg_kind kind;
	const char *otherwise; /* default as text; NULL = must be set */
	int64_t min, max;      /* CFG_INT only */
	const char *help;      /* one sentence with the unit */
};

struct cfg;

/* Reads the environment by the table (ended by an item without name; several tables may be given, NULL-ended list).
 * Refuses: a required item that is missing, a number out of bounds, NAME and NAME_FILE together, an unreadable file,
 * an unknown variable that begins with DENIZEN_ (a typing error), with one sentence on ret_error (arena-free, static
 * size). Returns ST_OK and a config to be freed with cfg_free. */
#define CFG_ERROR_SIZE 256
MUST_USE enum status cfg_load(const struct cfg_item *const *tables, struct cfg **ret_cfg,
                              char ret_error[CFG_ERROR_SIZE]);
void cfg_free(struct cfg **cfg); /* wipes secrets */

/* The name must be in the table (assert). Returned text is borrowed until cfg_free. An empty text means "not set". */
const char *cfg_text(const struct cfg *cfg, const char *name);
int64_t cfg_int(const struct cfg *cfg, const char *name);
bool cfg_bool(const struct cfg *cfg, const char *name);

/* Effective configuration, one NAME=value a line, secrets shown as "(set)". */
void cfg_print(const struct cfg *cfg, struct buf *out);
/* The table as rows of a Markdown reference. */
void cfg_print_reference(const struct cfg_item *const *tables, struct buf *out);
