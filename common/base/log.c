/* Structured log: a line is built on the stack and written by one write(2), so that lines never mix. */
#include "base/log.h"

#include "base/clock.h"
#include "base/secret.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 4096
#define END_BYTES 16 /* always left for the value's closing quote, ,"cut":true} and newline */
#define TRACE_BYTES 16
#define NUMBERS 16
#define NUMBER_SIZE 24

struct line {
	char data[LINE_BYTES];
	size_t len;
	bool cut;
};

static const char *process_name = "";
static enum log_level lowest = LOG_INFO;

static _Thread_local uint8_t trace[TRACE_BYTES];
static _Thread_local bool traced;
static _Thread_local char numbers[NUMBERS][NUMBER_SIZE];
static _Thread_local unsigned next_number;

void log_init(const char *process, enum log_level level)
{
	process_name = process;
	lowest = level;
}

static const char *const level_names[] = {"debug", "info", "warn", "error"};

enum log_level log_level_parse(const char *text)
{
	for (int i = LOG_DEBUG; text && i <= LOG_ERROR; i++)
		if (strcmp(text, level_names[i]) == 0)
			return (enum log_level)i;
	return LOG_INFO;
}

void log_set_trace(const uint8_t trace_id[16])
{
	traced = trace_id;
	if (traced)
		memcpy(trace, trace_id, TRACE_BYTES);
}

bool log_trace(uint8_t ret_trace_id[16])
{
	if (traced)
		memcpy(ret_trace_id, trace, TRACE_BYTES);
	return traced;
}

const char *log_num(int64_t value)
{
	char *text = numbers[next_number++ % NUMBERS];
	snprintf(text, NUMBER_SIZE, "%lld", (long long)value);
	return text;
}

/* Whether text came from log_num of this thread: then it is printed as a number. */
static bool is_number(const char *text)
{
	uintptr_t at = (uintptr_t)text, first = (uintptr_t)numbers;
	return at >= first && at < first + sizeof(numbers);
}

/* Adds all or nothing; after something did not fit nothing more is added. */
static void line_add(struct line *line, const char *data, size_t len_bytes)
{
	if (line->cut || line->len + len_bytes > LINE_BYTES - END_BYTES) {
		line->cut = true;
		return;
	}
	memcpy(line->data + line->len, data, len_bytes);
	line->len += len_bytes;
}

/* Length of the valid UTF-8 character at text, 0 when there is none. */
static size_t character_length(const char *text)
{
	unsigned char lead = (unsigned char)*text;
	size_t len = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	return strnlen(text, len) == len && utf8_valid(text, len) ? len : 0;
}

/* Adds text with JSON escapes; bytes that are no UTF-8 become the replacement character. */
static void line_add_escaped(struct line *line, const char *text)
{
	char unit[8];
	while (*text && !line->cut) {
		size_t len = character_length(text);
		if (len == 0) {
			line_add(line, "\\ufffd", 6);
		} else if (*text == '"' || *text == '\\') {
			unit[0] = '\\';
			unit[1] = *text;
			line_add(line, unit, 2);
		} else if (len == 1 && (unsigned char)*text < 0x20) {
			snprintf(unit, sizeof(unit), "\\u%04x", (unsigned char)*text);
			line_add(line, unit, 6);
		} else {
			line_add(line, text, len);
		}
		text += len ? len : 1;
	}
}

/* Adds ,"name":"value" . A pair of which not even the name fits is left out whole. */
static void line_add_pair(struct line *line, const char *name, const char *value)
{
	size_t before = line->len;
	if (line->len > 1)
		line_add(line, ",", 1);
	line_add(line, "\"", 1);
	line_add_escaped(line, name);
	bool number = value && is_number(value);
	if (number)
		line_add(line, "\":", 2);
	else
		line_add(line, value ? "\":\"" : "\":null", value ? 3 : 6);
	if (number)
		line_add(line, value, strlen(value));
	if (line->cut) {
		line->len = before;
		return;
	}
	if (!value || number)
		return;
	line_add_escaped(line, value);
	line->data[line->len++] = '"'; /* END_BYTES leaves room */
}

static void line_add_head(struct line *line, enum log_level level, const char *message)
{
	char time[CLOCK_RFC3339_SIZE], hex[2 * TRACE_BYTES + 1];
	clock_format_rfc3339(clock_wall_us(), time);
	line_add(line, "{", 1);
	line_add_pair(line, "time", time);
	line_add_pair(line, "level", level_names[level]);
	line_add_pair(line, "process", process_name);
	if (traced) {
		hex_encode(trace, TRACE_BYTES, hex);
		line_add_pair(line, "trace", hex);
	}
	line_add_pair(line, "message", message);
}

bool log_wanted(enum log_level level)
{
	return level >= lowest && level <= LOG_ERROR;
}

void log_write(enum log_level level, const char *message, ...)
{
	struct line line;
	line.len = 0;
	line.cut = false;
	line_add_head(&line, level, message);
	va_list args;
	va_start(args, message);
	for (const char *name; !line.cut && (name = va_arg(args, const char *));)
		line_add_pair(&line, name, va_arg(args, const char *));
	va_end(args);
	const char *end = line.cut ? ",\"cut\":true}\n" : "}\n";
	size_t end_len = strlen(end);
	memcpy(line.data + line.len, end, end_len);
	line.len += end_len;
	/* A full disk or closed pipe must not stop the process: the line is lost. */
	if (write(STDERR_FILENO, line.data, line.len) < 0)
		return;
}
