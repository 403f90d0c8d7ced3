/* Limits of user records, and what is searched. */
#include "../../services/identity/rules.h"

#include <criterion/criterion.h>
#include <string.h>

Test(identity_rules, other_fields)
{
	cr_expect_null(rules_phone_check("+4915112345678"));
	cr_expect_not_null(rules_phone_check("+0123456789"));
	cr_expect_not_null(rules_phone_check("4915112345678"));
	cr_expect_not_null(rules_phone_check("+123456"));
	cr_expect_not_null(rules_phone_check("+1234567890123456"));
	cr_expect_not_null(rules_phone_check("+49 151 1234567"));
	cr_expect_not_null(rules_phone_check(""));
	cr_expect_null(rules_password_check("12345678"));
	cr_expect_not_null(rules_password_check("1234567"));
	cr_expect_null(rules_picture_check("https://x.de/a.png"));
	cr_expect_not_null(rules_picture_check("data:image/png;base64,AA"));
	cr_expect_not_null(rules_text_check("", 10));
	cr_expect_not_null(rules_text_check("a\x7f", 10));
	cr_expect_null(rules_text_check("1234567890", 10));
	cr_expect_not_null(rules_text_check("12345678901", 10));
}

Test(identity_rules, search)
{
	static const struct {
		const char *term, *pattern;
		size_t run;
	} cases[] = {
	    {"Ann", "%ann%", 3},   {"50%_\\", "%50\\%\\_\\\\%", 2}, {"a.b", "%a.b%", 1},
	    {"ÜBER", "%über%", 4}, {"@gmail", "%@gmail%", 5},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = {0};
		size_t run = 0;
		cr_assert_null(rules_search_pattern(cases[i].term, &out, &run));
		buf_add_char(&out, '\0');
		cr_expect_str_eq(out.data, cases[i].pattern);
		cr_expect_eq(run, cases[i].run, "%s: %zu", cases[i].term, run);
		buf_free(&out);
	}
	struct buf out = {0};
	size_t run;
	cr_expect_not_null(rules_search_pattern("", &out, &run));
	cr_expect_not_null(rules_search_pattern("a\nb", &out, &run));
	rules_search_add(&out, "Ann Ü");
	rules_search_add(&out, NULL);
	rules_search_add(&out, "X");
	buf_add_char(&out, '\0');
	cr_expect_str_eq(out.data, "ann ü\nx\n");
	buf_free(&out);
}
