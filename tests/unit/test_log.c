/* Log: what reaches stderr is one valid JSON object a line, whatever the values hold. */
#include "base/log.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

static char captured[65536];
static int capture_fd = -1;

/* stderr goes to an unlinked file until captured_take. */
static void capture_start(void)
{
	char path[] = "/tmp/test-log-XXXXXX";
	capture_fd = mkstemp(path);
	unlink(path);
	dup2(capture_fd, STDERR_FILENO);
}

static size_t capture_take(void)
{
	ssize_t len = pread(capture_fd, captured, sizeof(captured) - 1, 0);
	cr_assert_geq(len, 0);
	captured[len] = '\0';
	cr_assert_eq(ftruncate(capture_fd, 0), 0);
	lseek(capture_fd, 0, SEEK_SET);
	return (size_t)len;
}

/* The only line written since; checks its end and that it is an object. */
static json_t *line_take(void)
{
	size_t len = capture_take();
	cr_assert_gt(len, 0);
	cr_assert_leq(len, 4096);
	cr_assert_eq(captured[len - 1], '\n');
	cr_assert_eq(strchr(captured, '\n'), captured + len - 1);
	json_error_t error;
	json_t *line = json_loads(captured, JSON_REJECT_DUPLICATES, &error);
	cr_assert_not_null(line, "%s in %s", error.text, captured);
	return line;
}

static const char *text_of(const json_t *line, const char *name)
{
	const char *text = json_string_value(json_object_get(line, name));
	return text ? text : "(absent)";
}

Test(log, one_object_a_line)
{
	const uint8_t trace[16] = {0xab, [15] = 0x01};
	capture_start();
	log_init("identity", LOG_INFO);
	log_event(LOG_DEBUG, "silent", NULL);
	cr_assert_eq(capture_take(), 0);
	log_set_trace(trace);
	log_event(LOG_WARN, "replica \"up\"\n", "peer", "a\\b\t\x01", "port", LOG_NUM(-7001), "none", NULL, NULL);
	json_t *line = line_take();
	cr_assert_str_eq(text_of(line, "level"), "warn");
	cr_assert_str_eq(text_of(line, "process"), "identity");
	cr_assert_str_eq(text_of(line, "message"), "replica \"up\"\n");
	cr_assert_str_eq(text_of(line, "peer"), "a\\b\t\x01");
	cr_assert_str_eq(text_of(line, "trace"), "ab000000000000000000000000000001");
	cr_assert_eq(strlen(text_of(line, "time")), 24);
	cr_assert_eq(json_integer_value(json_object_get(line, "port")), -7001);
	cr_assert(json_is_null(json_object_get(line, "none")));
	json_decref(line);
	log_set_trace(NULL);
	log_event(LOG_ERROR, "bad \xff\xc0\xafutf8 \xed\xa0\x80 ä😀 \xf0\x9f", NULL);
	line = line_take();
	cr_assert_null(json_object_get(line, "trace"));
	cr_assert_str_eq(text_of(line, "message"), "bad \ufffd\ufffd\ufffdutf8 \ufffd\ufffd\ufffd ä😀 \ufffd\ufffd");
	json_decref(line);
}

/* Every length around the limit, with characters of several widths at the cut. */
Test(log, long_lines_are_cut_and_stay_valid)
{
	static const char *const units[] = {"a", "\"", "\\", "\x01", "ä", "😀", "\xff"};
	static char value[5000];
	capture_start();
	log_init("p", LOG_DEBUG);
	for (size_t unit = 0; unit < sizeof(units) / sizeof(units[0]); unit++)
		for (size_t lead = 3950; lead < 4060; lead++) {
			memset(value, 'x', lead);
			value[lead] = '\0';
			for (int i = 0; i < 20; i++)
				memcpy(value + strlen(value), units[unit], strlen(units[unit]) + 1);
			log_event(LOG_INFO, "m", "value", value, "after", "z", NULL);
			json_t *line = line_take();
			cr_assert_eq(strncmp(text_of(line, "value"), value, 3900), 0);
			cr_assert(json_is_true(json_object_get(line, "cut")) !=
			          (strcmp(text_of(line, "after"), "z") == 0));
			json_decref(line);
		}
	for (size_t lead = 3900; lead < 4060; lead++) {
		memset(value, 'x', lead);
		value[lead] = '\0';
		log_event(LOG_INFO, value, value, "v", "number", LOG_NUM(INT64_MIN), NULL);
		json_decref(line_take());
		log_event(LOG_INFO, "m", "v", value, "number", LOG_NUM(INT64_MIN), "w", "", NULL);
		json_decref(line_take());
	}
}

Test(log, levels)
{
	cr_assert_eq(log_level_parse("debug"), LOG_DEBUG);
	cr_assert_eq(log_level_parse("info"), LOG_INFO);
	cr_assert_eq(log_level_parse("warn"), LOG_WARN);
	cr_assert_eq(log_level_parse("error"), LOG_ERROR);
	cr_assert_eq(log_level_parse("loud"), LOG_INFO);
	cr_assert_eq(log_level_parse(NULL), LOG_INFO);
}
