/* Environment variables by table: everything is checked once at start, in one place. */
#include "base/cfg.h"

#include "base/secret.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUR_PREFIX "DENIZEN_"
#define FILE_SUFFIX "_FILE"
#define FILE_MAX_BYTES 65536
#define NAME_MAX_BYTES 64

extern char **environ;

struct value {
	const struct cfg_item *item;
	char *text; /* owned, never NULL once loaded */
	int64_t number;
};

struct cfg {
	size_t count;
	struct value values[];
};

static const char *const kind_names[] = {
    [CFG_TEXT] = "text", [CFG_INT] = "number", [CFG_BOOL] = "yes/no", [CFG_SECRET] = "secret"};

static size_t items_count(const struct cfg_item *const *tables)
{
	size_t count = 0;
	for (; *tables; tables++)
		for (const struct cfg_item *item = *tables; item->name; item++)
			count++;
	return count;
}

/* Whether a variable NAME or, for secrets, NAME_FILE belongs to a table. */
static bool is_known(const struct cfg_item *const *tables, const char *name, size_t name_len)
{
	for (; *tables; tables++)
		for (const struct cfg_item *item = *tables; item->name; item++) {
			size_t len = strlen(item->name);
			if (name_len < len || memcmp(item->name, name, len) != 0)
				continue;
			if (name_len == len)
				return true;
			if (item->kind == CFG_SECRET && name_len == len + strlen(FILE_SUFFIX) &&
			    memcmp(name + len, FILE_SUFFIX, strlen(FILE_SUFFIX)) == 0)
				return true;
		}
	return false;
}

static enum status check_unknown(const struct cfg_item *const *tables, char error[CFG_ERROR_SIZE])
{
	for (char **entry = environ; entry && *entry; entry++) {
		size_t name_len = strcspn(*entry, "=");
		if (strncmp(*entry, OUR_PREFIX, strlen(OUR_PREFIX)) != 0 || is_known(tables, *entry, name_len))
			continue;
		snprintf(error, CFG_ERROR_SIZE, "%.*s is not a setting of this program.",
		         name_len > NAME_MAX_BYTES ? NAME_MAX_BYTES : (int)name_len, *entry);
		return ST_INVALID_ARGUMENT;
	}
	return ST_OK;
}

/* Reads a whole small file as text without its last line end; NULL when it cannot be. */
static char *read_secret_file(const char *path)
{
	size_t len = 0;
	ssize_t got = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = fd >= 0 ? malloc(FILE_MAX_BYTES + 1) : NULL;
	bool good = text;
	while (good && len <= FILE_MAX_BYTES && (got = read(fd, text + len, FILE_MAX_BYTES + 1 - len)) > 0)
		len += (size_t)got;
	good = good && got == 0 && len <= FILE_MAX_BYTES && !memchr(text, '\0', len);
	if (fd >= 0)
		close(fd);
	if (!good) {
		if (text)
			secret_wipe(text, FILE_MAX_BYTES + 1);
		free(text);
		return NULL;
	}
	if (len && text[len - 1] == '\n')
		len--;
	if (len && text[len - 1] == '\r')
		len--;
	text[len] = '\0';
	return text;
}

/* The text in force: variable, file, or default. Owned by the caller; NULL after an error. */
static char *read_text(const struct cfg_item *item, char error[CFG_ERROR_SIZE])
{
	char file_name[NAME_MAX_BYTES + sizeof(FILE_SUFFIX)];
	const char *direct = getenv(item->name), *path = NULL;
	if (item->kind == CFG_SECRET) {
		snprintf(file_name, sizeof(file_name), "%s" FILE_SUFFIX, item->name);
		path = getenv(file_name);
	}
	bool has_direct = direct && *direct, has_path = path && *path;
	if (has_direct && has_path) {
		snprintf(error, CFG_ERROR_SIZE, "%s and %s are both set; keep one.", item->name, file_name);
		return NULL;
	}
	char *text = NULL;
	if (has_path) {
		text = read_secret_file(path);
		if (!text)
			snprintf(error, CFG_ERROR_SIZE, "%s: cannot read %.100s as text of at most %d bytes.",
			         file_name, path, FILE_MAX_BYTES);
		else if (*text || item->otherwise)
			return text;
		else
			snprintf(error, CFG_ERROR_SIZE, "%s: %.100s is empty.", file_name, path);
		free(text);
		return NULL;
	}
	if (!has_direct && !item->otherwise) {
		snprintf(error, CFG_ERROR_SIZE, "%s must be set.", item->name);
		return NULL;
	}
	text = strdup(has_direct ? direct : item->otherwise);
	if (!text)
		snprintf(error, CFG_ERROR_SIZE, "Out of memory.");
	return text;
}

static bool parse_int(const char *text, int64_t *ret_number)
{
	char *end;
	if ((*text < '0' || *text > '9') && *text != '-')
		return false;
	errno = 0;
	long long number = strtoll(text, &end, 10);
	if (errno || *end || end == text)
		return false;
	*ret_number = number;
	return true;
}

static bool parse_bool(const char *text, int64_t *ret_number)
{
	static const char *const words[] = {"false", "true", "0", "1", "no", "yes", "off", "on"};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(text, words[i]) == 0) {
			*ret_number = i % 2;
			return true;
		}
	return false;
}

static enum status load_value(struct value *value, char error[CFG_ERROR_SIZE])
{
	const struct cfg_item *item = value->item;
	assert(strlen(item->name) <= NAME_MAX_BYTES);
	value->text = read_text(item, error);
	if (!value->text)
		return ST_INVALID_ARGUMENT;
	if (item->kind == CFG_INT && *value->text &&
	    (!parse_int(value->text, &value->number) || value->number < item->min || value->number > item->max)) {
		snprintf(error, CFG_ERROR_SIZE, "%s must be a whole number from %lld to %lld.", item->name,
		         (long long)item->min, (long long)item->max);
		return ST_INVALID_ARGUMENT;
	}
	if (item->kind == CFG_BOOL && *value->text && !parse_bool(value->text, &value->number)) {
		snprintf(error, CFG_ERROR_SIZE, "%s must be one of true, false, yes, no, on, off, 1, 0.", item->name);
		return ST_INVALID_ARGUMENT;
	}
	return ST_OK;
}

enum status cfg_load(const struct cfg_item *const *tables, struct cfg **ret_cfg, char ret_error[CFG_ERROR_SIZE])
{
	size_t count = items_count(tables);
	enum status status = check_unknown(tables, ret_error);
	if (status != ST_OK)
		return status;
	struct cfg *cfg = calloc(1, sizeof(*cfg) + count * sizeof(cfg->values[0]));
	if (!cfg) {
		snprintf(ret_error, CFG_ERROR_SIZE, "Out of memory.");
		return ST_INTERNAL;
	}
	for (; *tables; tables++)
		for (const struct cfg_item *item = *tables; item->name && status == ST_OK; item++) {
			cfg->values[cfg->count].item = item;
			status = load_value(&cfg->values[cfg->count++], ret_error);
		}
	if (status == ST_OK)
		*ret_cfg = cfg;
	else
		cfg_free(&cfg);
	return status;
}

void cfg_free(struct cfg **cfg)
{
	if (!cfg || !*cfg)
		return;
	for (size_t i = 0; i < (*cfg)->count; i++) {
		struct value *value = &(*cfg)->values[i];
		if (value->text)
			secret_wipe(value->text, strlen(value->text));
		free(value->text);
	}
	free(*cfg);
	*cfg = NULL;
}

static const struct value *find_value(const struct cfg *cfg, const char *name)
{
	for (size_t i = 0; i < cfg->count; i++)
		if (strcmp(cfg->values[i].item->name, name) == 0)
			return &cfg->values[i];
	assert(!"setting is in no table");
	abort();
}

const char *cfg_text(const struct cfg *cfg, const char *name)
{
	return find_value(cfg, name)->text;
}

int64_t cfg_int(const struct cfg *cfg, const char *name)
{
	return find_value(cfg, name)->number;
}

bool cfg_bool(const struct cfg *cfg, const char *name)
{
	return find_value(cfg, name)->number != 0;
}

void cfg_print(const struct cfg *cfg, struct buf *out)
{
	for (size_t i = 0; i < cfg->count; i++) {
		const struct value *value = &cfg->values[i];
		buf_printf(out, "%s=", value->item->name);
		if (value->item->kind == CFG_SECRET)
			buf_add_str(out, *value->text ? "(set)" : "");
		else /* one line each, whatever the value holds */
			for (const char *c = value->text; *c; c++)
				buf_add_char(out, (unsigned char)*c < ' ' ? '?' : *c);
		buf_add_char(out, '\n');
	}
}

/* A cell of a Markdown table: the bar would end it. */
static void add_cell(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '|')
			buf_add_char(out, '\\');
		buf_add_char(out, *text);
	}
}

void cfg_print_reference(const struct cfg_item *const *tables, struct buf *out)
{
	for (; *tables; tables++)
		for (const struct cfg_item *item = *tables; item->name; item++) {
			buf_printf(out, "| `%s` | %s", item->name, kind_names[item->kind]);
			if (item->kind == CFG_INT)
				buf_printf(out, " %lld to %lld", (long long)item->min, (long long)item->max);
			if (item->kind == CFG_SECRET)
				buf_printf(out, " (or `%s" FILE_SUFFIX "`)", item->name);
			buf_add_str(out, " | ");
			if (!item->otherwise) {
				buf_add_str(out, "required");
			} else if (*item->otherwise) {
				buf_add_char(out, '`');
				add_cell(out, item->otherwise);
				buf_add_char(out, '`');
			}
			buf_add_str(out, " | ");
			add_cell(out, item->help ? item->help : "");
			buf_add_str(out, " |\n");
		}
}
