/* Structured log: one JSON object a line on stderr, written by one write(2). Never pass a secret.
 * log_event(LOG_INFO, "replica up", "peer", "identity", "port", LOG_NUM(7001), NULL) */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* process: shown as "process"; level: lowest that is written. Call once before threads start. */
void log_init(const char *process, enum log_level level);
enum log_level log_level_parse(const char *text); /* debug, info, warn, error; LOG_INFO otherwise */

/* log_event(level, message, pairs of name and value ..., NULL). Lines are cut at 4096 bytes. Any thread. The values of a line that is
 * not wanted are not computed. */
#define log_event(level, ...) (log_wanted(level) ? log_write(level, __VA_ARGS__) : (void)0)
bool log_wanted(enum log_level level);
void log_write(enum log_level level, const char *message, ...) __attribute__((sentinel));

/* A number as a value of log_event; valid until 16 further uses in the same thread. */
const char *log_num(int64_t value);
#define LOG_NUM(value) log_num((int64_t)(value))

/* Trace id (16 bytes) of what this thread or fiber works on, added to its lines as hex; NULL = none. */
void log_set_trace(const uint8_t trace_id[16]);
/* The one that is set; false = none, ret_trace_id is left alone. */
bool log_trace(uint8_t ret_trace_id[16]);
