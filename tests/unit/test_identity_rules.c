/* Canonical forms and limits of user records. */
#include "../../services/identity/rules.h"

#include <criterion/criterion.h>
#include <string.h>

Test(identity_rules, email)
{
	static const struct {
		const char *email, *canonical; /* NULL = refused */
	} cases[] = {
	    {"Ann@Example.COM", "ann@example.com"},
	    {"a+b.c@x.de", "a+b.c@x.de"},
	    {"o'neil@x.de", "o'neil@x.de"},
	    {"a@b", "a@b"},
	    {"ann@BÜCHER.example", "ann@xn--bcher-kva.example"},
	    {"ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"},
	    {"ann@XN--BCHER-KVA.example", "ann@xn--bcher-kva.example"},
	    {"ann@ｅｘａｍｐｌｅ.com", "ann@example.com"},
	    {"jörg@x.de", "jörg@x.de"},
	    {"jo\xcc\x88rg@x.de", "jörg@x.de"}, /* NFD gives the same mailbox */
	    {"JÖRG@x.de", "JÖRG@x.de"},         /* no Unicode folding */
	    {"\xc4\xb1@x.de", "\xc4\xb1@x.de"}, /* dotless i is not i */
	    {"K@x.de", "k@x.de"},
	    {"\xe2\x84\xaa@x.de", "\xe2\x84\xaa@x.de"}, /* Kelvin sign: NFC makes it K only below */
	    {"", NULL},
	    {"ann", NULL},
	    {"@x.de", NULL},
	    {"ann@", NULL},
	    {"a@b@c.de", NULL},
	    {".a@x.de", NULL},
	    {"a..b@x.de", NULL},
	    {"a.@x.de", NULL},
	    {"a b@x.de", NULL},
	    {"\"a b\"@x.de", NULL},
	    {"a@x.de.", NULL},
	    {"a@.x.de", NULL},
	    {"a@x..de", NULL},
	    {"a@-x.de", NULL},
	    {"a@x-.de", NULL},
	    {"a@x_y.de", NULL},
	    {"a@[1.2.3.4]", NULL},
	    {"a@xn--a", NULL},
	    {"a\xe2\x80\x8b@x.de", NULL}, /* zero width space */
	    {"a\xe2\x80\xae@x.de", NULL}, /* right-to-left override */
	    {"a\xc2\xad@x.de", NULL},     /* soft hyphen */
	    {"a\n@x.de", NULL},
	    {"ann@x\xe2\x80\x8b.de", "ann@x.de"}, /* UTS 46 drops it: the canonical form is what counts */
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char email[RULES_LOGIN_SIZE] = "untouched";
		rules_reason reason = rules_email_canonical(cases[i].email, email);
		if (!cases[i].canonical)
			cr_expect(reason && strcmp(email, "untouched") == 0, "%s gave %s", cases[i].email, email);
		else if (strcmp(cases[i].email, "\xe2\x84\xaa@x.de") == 0)
			cr_expect(!reason && strcmp(email, "K@x.de") == 0, "Kelvin gave %s", email);
		else
			cr_expect(!reason && strcmp(email, cases[i].canonical) == 0, "%s gave %s", cases[i].email,
			          email);
	}
	char long_local[400];
	memset(long_local, 'a', sizeof(long_local));
	memcpy(long_local + 64, "@x.de", 6);
	char email[RULES_LOGIN_SIZE];
	cr_expect_null(rules_email_canonical(long_local, email));
	memcpy(long_local + 64, "a@x.de", 7);
	cr_expect_not_null(rules_email_canonical(long_local, email));
}

Test(identity_rules, login)
{
	static const struct {
		const char *login, *canonical;
	} cases[] = {
	    {"Bob", "bob"},
	    {"ＢＯＢ", "bob"},
	    {"STRASSE", "strasse"},
	    {"Straße", "strasse"},
	    {"Bob@X.DE", "bob@x.de"},
	    {"user name", "user name"},
	    {"\xe2\x84\xaa", "k"},
	    {"ſ", "s"},
	    {"", NULL},
	    {" bob", NULL},
	    {"bob ", NULL},
	    {"b\tb", NULL},
	    {"b\xe2\x80\x8b", NULL},
	    {"\xef\xbb\xbf", NULL},
	    {"+49151123", "+49151123"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char login[RULES_LOGIN_SIZE] = "untouched", again[RULES_LOGIN_SIZE];
		rules_reason reason = rules_login_canonical(cases[i].login, login);
		cr_expect_eq(reason == NULL, cases[i].canonical != NULL, "%s", cases[i].login);
		cr_expect(!cases[i].canonical || strcmp(login, cases[i].canonical) == 0, "%s gave %s", cases[i].login,
		          login);
		if (!reason) /* stable: the form of the form is the form */
			cr_expect(!rules_login_canonical(login, again) && strcmp(login, again) == 0);
	}
	char text[400];
	memset(text, 'x', sizeof(text));
	text[320] = '\0';
	char login[RULES_LOGIN_SIZE];
	cr_expect_null(rules_login_canonical(text, login));
	text[320] = 'x';
	text[321] = '\0';
	cr_expect_not_null(rules_login_canonical(text, login));
}

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
