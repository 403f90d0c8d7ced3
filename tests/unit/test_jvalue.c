/* Trees of JSON: reading, comparing, merging, making, printing. */
#include "test_pbjson.h"
#include "json/jvalue.h"

TestSuite(jvalue, .init = set_up, .fini = tear_down);

static const struct jvalue *read_good(const char *text)
{
	struct pbjson_error error = {0};
	const struct jvalue *root = NULL;

	cr_assert(jvalue_read(text, strlen(text), arena, &root, &error) == ST_OK, "%s: %s %s", text, error.field,
	          error.reason);
	return root;
}

static const char *text_of(const struct jvalue *value)
{
	size_t len;
	const char *text = jvalue_text(value, arena, &len);

	cr_assert(text && strlen(text) == len);
	return text;
}

Test(jvalue, numbers_stay_as_they_were_written)
{
	static const char *const numbers[] = {"0",
	                                      "-0",
	                                      "1e3",
	                                      "1E+3",
	                                      "1e-400",
	                                      "-1e-400",
	                                      "1000.0",
	                                      "1.10",
	                                      "0e0",
	                                      "5e-324",
	                                      "1e308",
	                                      "0.1000000000000000055511151231257827",
	                                      "-1.5e2",
	                                      "9223372036854775807",
	                                      "-9223372036854775808",
	                                      "1.7976931348623157e308"};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		const char *text = arena_printf(arena, "{\"n\":[%s]}", numbers[i]);

		assert_text(text_of(read_good(text)), text);
	}
}

Test(jvalue, numbers_that_no_reader_can_hold_are_refused)
{
	static const char *const numbers[] = {
	    "9223372036854775808",
	    "-9223372036854775809",
	    "1e309",
	    "-1e400",
	    "1.8e308",
	    "00",
	    "01",
	    "-",
	    "+1",
	    ".5",
	    "1.",
	    "1e",
	    "1e+",
	    "0x1",
	    "NaN",
	    "Infinity",
	    "1_0",
	    "--1",
	};
	struct pbjson_error error = {0};
	const struct jvalue *root = NULL;
	char *longest = arena_alloc(arena, JVALUE_NUMBER_MAX_BYTES + 2);

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		const char *text = arena_printf(arena, "{\"n\":%s}", numbers[i]);

		cr_assert(jvalue_read(text, strlen(text), arena, &root, &error) == ST_INVALID_ARGUMENT, "%s", text);
		assert_text(error.field, "n");
	}
	memset(longest, '0', JVALUE_NUMBER_MAX_BYTES + 1);
	longest[1] = '.';
	cr_assert(jvalue_read(longest, JVALUE_NUMBER_MAX_BYTES, arena, &root, &error) == ST_OK);
	cr_assert(jvalue_read(longest, JVALUE_NUMBER_MAX_BYTES + 1, arena, &root, &error) == ST_INVALID_ARGUMENT);
}

Test(jvalue, texts_are_decoded_and_printed_in_one_way)
{
	static const char *const cases[][2] = {
	    {" { \"a\" : [ 1 , true ,\tfalse,\r\nnull ] } ", "{\"a\":[1,true,false,null]}"},
	    {"\"\\u0041\\/\\b\\f\\n\\r\\t\\\\\\\"\"", "\"A/\\b\\f\\n\\r\\t\\\\\\\"\""},
	    {"\"\\u00e9\\u20AC\\ud83d\\ude00\"", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
	    {"\"\\uffff\\u007f\\u0080\"", "\"\xef\xbf\xbf\x7f\xc2\x80\""},
	    {"{\"\":{\"\":[]}}", "{\"\":{\"\":[]}}"},
	    {"[[],{},\"\"]", "[[],{},\"\"]"},
	    {"-0", "-0"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_text(text_of(read_good(cases[i][0])), cases[i][1]);
}

Test(jvalue, wrong_texts_are_refused_with_their_path)
{
	static const char *const cases[][2] = {
	    {"", ""},
	    {" ", ""},
	    {"{} {}", ""},
	    {"tru", ""},
	    {"nulll", ""},
	    {"[1,]", "[1]"},
	    {"[1 2]", "[0]"},
	    {"{\"a\":1,}", ""},
	    {"{\"a\" 1}", "a"},
	    {"{a:1}", ""},
	    {"{\"a\":{\"b\":}}", "a.b"},
	    {"{\"a\":[{},{\"b\":1,\"b\":2}]}", "a[1].b"},
	    {"{\"a\":1,\"\\u0061\":2}", "a"},
	    {"[\"\\ud800\"]", "[0]"},
	    {"[\"\\ude00\\ud83d\"]", "[0]"},
	    {"[\"\\ud83d\\u0041\"]", "[0]"},
	    {"[\"\\u0000\"]", "[0]"},
	    {"[\"\\x\"]", "[0]"},
	    {"[\"\\u00g0\"]", "[0]"},
	    {"[\"\\\"]", "[0]"},
	    {"[\"a\nb\"]", "[0]"},
	    {"[\"\xff\"]", "[0]"},
	    {"{\"\xff\":1}", ""},
	    {"{\"a\":\"b", "a"},
	    {"\xef\xbb\xbf{}", ""},
	    {"[1]//", ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pbjson_error error = {0};
		const struct jvalue *root = NULL;
		enum status status = jvalue_read(cases[i][0], strlen(cases[i][0]), arena, &root, &error);

		cr_assert(status == ST_INVALID_ARGUMENT && !root, "%s gave %s", cases[i][0], status_name(status));
		cr_assert(error.reason);
		assert_text(error.field, cases[i][1]);
	}
}

/* {"n0":0,"n1":1,...} */
static const char *many_members(unsigned count, const char *more)
{
	struct buf text = {0};
	const char *copy;

	for (unsigned i = 0; i < count; i++)
		buf_printf(&text, "%c\"n%u\":%u", i ? ',' : '{', i, i);
	buf_printf(&text, "%s}", more);
	copy = arena_strndup(arena, text.data, text.len);
	buf_free(&text);
	return copy;
}

Test(jvalue, members_are_found_among_few_and_among_many)
{
	for (unsigned count = 1; count <= 1000; count = count * 4 + 3) {
		const struct jvalue *object = read_good(many_members(count, ""));
		struct pbjson_error error = {0};
		const struct jvalue *root = NULL;
		const char *twice = many_members(count, arena_printf(arena, ",\"n%u\":0", count / 2));
		int64_t number = -1;

		for (unsigned i = 0; i < count; i++) {
			const struct jvalue *member = jvalue_get(object, arena_printf(arena, "n%u", i));

			cr_assert(member && jvalue_integer(member, &number) && number == i);
		}
		cr_assert(!jvalue_get(object, "n") && !jvalue_get(object, "x"));
		cr_assert(jvalue_read(twice, strlen(twice), arena, &root, &error) == ST_INVALID_ARGUMENT);
		assert_text(error.field, arena_printf(arena, "n%u", count / 2));
	}
	cr_assert(!jvalue_get(NULL, "a") && !jvalue_get(read_good("[1]"), "a"));
}

Test(jvalue, depth_values_and_memory_are_bounded)
{
	struct pbjson_error error = {0};
	const struct jvalue *root = NULL;
	const char *deep = nested(PBJSON_DEPTH_MAX + 1);
	char *elements = arena_alloc(arena, (size_t)2 * (PBJSON_VALUES_MAX + 1));
	struct arena *small = arena_new(4096);

	(void)read_good(nested(PBJSON_DEPTH_MAX));
	cr_assert(jvalue_read(deep, strlen(deep), arena, &root, &error) == ST_INVALID_ARGUMENT);
	elements[0] = '[';
	for (size_t i = 0; i < PBJSON_VALUES_MAX + 1; i++)
		memcpy(elements + 1 + 2 * i, "1,", 2);
	elements[2 * PBJSON_VALUES_MAX] = ']';
	cr_assert(jvalue_read(elements, (size_t)2 * PBJSON_VALUES_MAX + 1, small, &root, &error) ==
	          ST_RESOURCE_EXHAUSTED);
	cr_assert(jvalue_read(elements, (size_t)2 * PBJSON_VALUES_MAX + 1, arena, &root, &error) == ST_OK);
	cr_assert(root->count == PBJSON_VALUES_MAX);
	elements[2 * PBJSON_VALUES_MAX] = ',';
	cr_assert(jvalue_read(elements, (size_t)2 * PBJSON_VALUES_MAX + 1, arena, &root, &error) ==
	          ST_INVALID_ARGUMENT);
	arena_free(&small);
}

Test(jvalue, an_object_in_a_field_is_named_below_it)
{
	static const char *const cases[][2] = {{"[]", "claims"},
	                                       {"", "claims"},
	                                       {"{\"a\":{\"b\":}}", "claims.a.b"},
	                                       {"[!]", "claims[0]"},
	                                       {"1", "claims"}};
	struct pbjson_error error = {0};
	const struct jvalue *object = NULL;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_assert(jvalue_read_object(cases[i][0], "claims", arena, &object, &error) == ST_INVALID_ARGUMENT);
		assert_text(error.field, cases[i][1]);
	}
	cr_assert(!object && jvalue_read_object("{\"a\":1}", "claims", arena, &object, &error) == ST_OK);
	assert_text(text_of(object), "{\"a\":1}");
}

Test(jvalue, equal_means_the_same_members_and_the_same_digits)
{
	static const struct {
		const char *a, *b;
		bool equal;
	} cases[] = {
	    {"{\"a\":1,\"b\":[true,null]}", "{ \"b\":[true,null],\"a\":1}", true},
	    {"{\"a\":1}", "{\"a\":1,\"b\":2}", false},
	    {"{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":2}", false},
	    {"[1,2]", "[2,1]", false},
	    {"1e3", "1000", false},
	    {"-0", "0", false},
	    {"\"\\u0041\"", "\"A\"", true},
	    {"\"1\"", "1", false},
	    {"true", "false", false},
	    {"{}", "[]", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct jvalue *a = read_good(cases[i].a), *b = read_good(cases[i].b);

		cr_assert(jvalue_equal(a, b) == cases[i].equal && jvalue_equal(b, a) == cases[i].equal, "%s %s",
		          cases[i].a, cases[i].b);
	}
	cr_assert(jvalue_equal(NULL, NULL) && !jvalue_equal(NULL, read_good("{}")));
	cr_assert(jvalue_equal(read_good(many_members(700, "")), read_good(many_members(700, ""))));
	cr_assert(!jvalue_equal(read_good(many_members(700, "")), read_good(many_members(699, ",\"x\":1"))));
}

Test(jvalue, merge_follows_rfc_7396)
{
	/* the cases of RFC 7396 appendix A whose two sides are objects, and ours */
	static const char *const cases[][3] = {
	    {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
	    {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
	    {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
	    {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
	    {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
	    {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
	    {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
	    {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
	    {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
	    {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
	    {"{}", "{}", "{}"},
	    {"{\"a\":1}", "{\"a\":{\"b\":[null,{\"c\":null}]}}", "{\"a\":{\"b\":[null,{\"c\":null}]}}"},
	    {"{\"a\":1e3,\"b\":1.0}", "{\"b\":-0}", "{\"a\":1e3,\"b\":-0}"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_text(text_of(jvalue_merge(read_good(cases[i][0]), read_good(cases[i][1]), arena)), cases[i][2]);
	assert_text(text_of(jvalue_merge(NULL, read_good("{\"a\":{\"b\":null,\"c\":1}}"), arena)), "{\"a\":{\"c\":1}}");
	cr_assert(jvalue_get(jvalue_merge(read_good(many_members(20, "")), read_good("{\"x\":1}"), arena), "x"));
}

Test(jvalue, objects_are_made_member_by_member)
{
	struct jvalue *object = jvalue_new_object(arena);
	struct arena *small = arena_new(64);

	cr_assert(jvalue_add_text(object, "text", "\"\n", arena));
	cr_assert(jvalue_add_integer(object, "low", INT64_MIN, arena));
	cr_assert(jvalue_add_bool(object, "yes", true, arena) && jvalue_add_bool(object, "no", false, arena));
	cr_assert(jvalue_add(object, "tree", read_good("{\"a\":[1.50]}"), arena));
	assert_text(text_of(object), "{\"text\":\"\\\"\\n\",\"low\":-9223372036854775808,\"yes\":true,\"no\":false,"
	                             "\"tree\":{\"a\":[1.50]}}");
	cr_assert(!jvalue_add_text(object, "text", NULL, arena) && !jvalue_add_text(NULL, "a", "b", arena));
	cr_assert(jvalue_new_object(small) && !jvalue_add_bool(object, "more", true, small));
	arena_free(&small);
}
