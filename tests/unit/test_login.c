/* Login ids: every way to write one gives one form, and the form of the form is the form. */
#include "base/login.h"

#include "base/utf8.h"

#include <criterion/criterion.h>
#include <string.h>

Test(login, email)
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
		char email[LOGIN_SIZE] = "untouched";
		login_reason reason = login_email(cases[i].email, email);
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
	char email[LOGIN_SIZE];
	cr_expect_null(login_email(long_local, email));
	memcpy(long_local + 64, "a@x.de", 7);
	cr_expect_not_null(login_email(long_local, email));
}

Test(login, canonical)
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
	    {"\xe1\x9a\x80"
	     "bob",
	     NULL},                                              /* ogham space mark: no form of the ASCII space */
	    {"Ann\uff20X.de", "ann@x.de"},                       /* wide letters spell an address, too ... */
	    {"ann\uff20b\u00fccher.de", "ann@xn--bcher-kva.de"}, /* ... of any domain */
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char login[LOGIN_SIZE] = "untouched", again[LOGIN_SIZE];
		login_reason reason = login_canonical(cases[i].login, login);
		cr_expect_eq(reason == NULL, cases[i].canonical != NULL, "%s", cases[i].login);
		cr_expect(!cases[i].canonical || strcmp(login, cases[i].canonical) == 0, "%s gave %s", cases[i].login,
		          login);
		if (!reason) /* stable: the form of the form is the form */
			cr_expect(!login_canonical(login, again) && strcmp(login, again) == 0);
	}
	char text[400];
	memset(text, 'x', sizeof(text));
	text[320] = '\0';
	char login[LOGIN_SIZE];
	cr_expect_null(login_canonical(text, login));
	text[320] = 'x';
	text[321] = '\0';
	cr_expect_not_null(login_canonical(text, login));
}

Test(login, typed)
{
	static const struct {
		const char *typed, *canonical;
	} cases[] = {
	    {" Ann@Example.com\t", "ann@example.com"},
	    {"\r\nann@example.com\n", "ann@example.com"},
	    {"\u00a0bob\u3000", "bob"},
	    {"\u2028bob\xc2\x85", "bob"},
	    {"user name ", "user name"},
	    {"\uff21nn@example.com", "\uff21nn@example.com"}, /* another mailbox than ann's: no Unicode folding */
	    {"ann@ex\u00adample\u3002com", "ann@example.com"},
	    {"ann@EXAMPLE\uff0ecom", "ann@example.com"},
	    {"", NULL},
	    {" \t ", NULL},
	    {"an\u200bn@example.com", NULL},
	    {"b\tb", NULL},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char login[LOGIN_SIZE] = "untouched";
		login_reason reason = login_typed(cases[i].typed, login);
		cr_expect_eq(reason == NULL, cases[i].canonical != NULL, "case %zu", i);
		cr_expect_str_eq(login, cases[i].canonical ? cases[i].canonical : "untouched", "case %zu", i);
	}
	char text[1000], login[LOGIN_SIZE];
	memset(text, ' ', sizeof(text));
	memset(text + 300, 'x', LOGIN_MAX_BYTES);
	text[999] = '\0';
	cr_expect_null(login_typed(text, login), "white space does not count");
	text[300 + LOGIN_MAX_BYTES] = 'x';
	cr_expect_not_null(login_typed(text, login));
}

/* identity keeps a domain as A-labels, whichever way it came. */
Test(login, spellings_of_a_domain_are_one)
{
	const char *spellings[] = {"ann@b\u00fccher.fa\u00df.example", "ann@xn--bcher-kva.xn--fa-hia.example",
	                           "Ann@XN--BCHER-KVA.fa\u00df.Example", "ann@B\u00dcCHER.xn--fa-hia.example",
	                           "ann\uff20xn--bcher-kva.fa\u00df.example"};
	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		char login[LOGIN_SIZE];
		cr_assert_null(login_canonical(spellings[i], login), "spelling %zu", i);
		cr_expect_str_eq(login, "ann@xn--bcher-kva.xn--fa-hia.example", "spelling %zu", i);
	}
}
