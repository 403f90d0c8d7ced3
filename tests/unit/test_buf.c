/* Buffer: growth, sticky failure at its maximum, numbers, JSON strings. */
#include "base/buf.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

static void expect(const struct buf *buf, const char *text)
{
	cr_assert(buf_ok(buf));
	cr_assert_eq(buf->len, strlen(text), "%.*s", (int)buf->len, buf->data);
	cr_assert_eq(memcmp(buf->data, text, buf->len), 0, "%.*s", (int)buf->len, buf->data);
}

Test(buf, appends)
{
	struct buf buf = {0};
	cr_assert(buf_ok(&buf));
	buf_add_str(&buf, "a");
	buf_add_char(&buf, 'b');
	buf_add(&buf, "cd", 2);
	buf_add(&buf, NULL, 0);
	buf_add_int(&buf, 0);
	buf_add_int(&buf, -7);
	buf_add_int(&buf, INT64_MAX);
	buf_add_int(&buf, INT64_MIN);
	buf_printf(&buf, "<%s%%>", "x");
	expect(&buf, "abcd0-79223372036854775807-9223372036854775808<x%>");
	buf_reset(&buf);
	for (int i = 0; i < 2000; i++)
		buf_printf(&buf, "%04d", i);
	cr_assert_eq(buf.len, 8000);
	cr_assert_eq(memcmp(buf.data + 7996, "1999", 4), 0);
	buf_free(&buf);
	cr_assert_null(buf.data);
	cr_assert_eq(buf.len, 0);
}

Test(buf, failure_stays_until_reset)
{
	struct buf buf = {.max = 10};
	buf_add_str(&buf, "0123456789");
	expect(&buf, "0123456789");
	buf_add_char(&buf, 'x');
	cr_assert_not(buf_ok(&buf));
	buf_add(&buf, "", 0);
	buf_printf(&buf, "%s", "");
	buf_add_json_string(&buf, "q", 1);
	cr_assert_not(buf_ok(&buf));
	cr_assert_null(buf_reserve(&buf, 1));
	cr_assert_eq(buf.len, 10);
	buf_reset(&buf);
	buf_printf(&buf, "%s", "0123456789");
	expect(&buf, "0123456789");
	buf_printf(&buf, "%s", "0");
	cr_assert_not(buf_ok(&buf));
	buf_reset(&buf);
	cr_assert_null(buf_reserve(&buf, SIZE_MAX));
	buf_free(&buf);
}

Test(buf, reserve_then_add)
{
	struct buf buf = {0};
	for (int i = 0; i < 100; i++) {
		char *to = buf_reserve(&buf, 100);
		memset(to, 'a' + i % 26, 100);
		buf.len += 100;
	}
	cr_assert_eq(buf.len, 10000);
	cr_assert_eq(buf.data[9999], 'a' + 99 % 26);
	cr_assert_not_null(buf_reserve(&buf, 0));
	buf_free(&buf);
}

Test(buf, json_string_reads_back)
{
	struct buf buf = {0};
	char text[300];
	size_t len = 0;
	for (int c = 1; c < 128; c++)
		text[len++] = (char)c;
	memcpy(text + len, "ä€😀", strlen("ä€😀"));
	len += strlen("ä€😀");
	buf_add_json_string(&buf, text, len);
	json_t *value = json_loadb(buf.data, buf.len, JSON_DECODE_ANY, NULL);
	cr_assert_not_null(value);
	cr_assert_eq(json_string_length(value), len);
	cr_assert_eq(memcmp(json_string_value(value), text, len), 0);
	json_decref(value);
	buf_reset(&buf);
	buf_add_json_string(&buf, "a\"\\\b\f\n\r\t\x01\x1f/\0", 12);
	expect(&buf, "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f/\\u0000\"");
	buf_reset(&buf);
	buf_add_json_string(&buf, NULL, 0);
	expect(&buf, "\"\"");
	buf_free(&buf);
}
