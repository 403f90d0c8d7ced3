/* Pages: every place where a value may stand, what attackers put there, and every place where none may. */
#include "http/html.h"

#include <criterion/criterion.h>
#include <string.h>

static struct arena *arena;

static void set_up(void)
{
	arena = arena_new(1 << 20);
}

static void tear_down(void)
{
	arena_free(&arena);
}

TestSuite(gateway_html, .init = set_up, .fini = tear_down);

/* The template with {x} = x; NULL when the page is refused. */
static const char *rendered(const char *template, const char *x)
{
	const struct html_value values[] = {{.name = "x", .text = x}, {0}};
	struct html page = {0};
	const char *text = NULL;
	html_add(&page, template, values);
	if (html_ok(&page))
		text = arena_strndup(arena, page.out.len ? page.out.data : "", page.out.len);
	html_free(&page);
	return text;
}

static void assert_rendered(const char *template, const char *x, const char *expected)
{
	const char *text = rendered(template, x);
	cr_assert(text && strcmp(text, expected) == 0, "%s with %s gave %s", template, x, text ? text : "nothing");
}

Test(gateway_html, values_are_escaped_for_their_place)
{
	static const char evil[] = "</p>\"'><script>alert(1)</script>&";
	static const char escaped[] = "&lt;/p&gt;&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;";
	static const char percent[] = "%3C%2Fp%3E%22%27%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E%26";
	static const char *const frames[][2] = {
	    {"<p>", "</p>"},
	    {"<!doctype html><title>", "</title>"},
	    {"<textarea name=t>", "</textarea>"},
	    {"<input value=\"", "\">"},
	    {"<input value='", "'>"},
	    {"<INPUT Type=text VALUE = \"a ", " b\" required/>"},
	    {"<b aria-label=\"", "\" data-x='y'></b>"},
	};
	static const char *const addresses[][2] = {
	    {"<a href=\"/users/", "?a=b\">x</a>"},
	    {"<a href='/find?q=", "'>x</a>"},
	    {"<form method=post action=\"https://example.com/", "\"></form>"},
	    {"<img alt=\"\" src=\"/p?", "\">"},
	};

	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++)
		assert_rendered(arena_printf(arena, "%s{x}%s", frames[i][0], frames[i][1]), evil,
		                arena_printf(arena, "%s%s%s", frames[i][0], escaped, frames[i][1]));
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
		assert_rendered(arena_printf(arena, "%s{x}%s", addresses[i][0], addresses[i][1]), evil,
		                arena_printf(arena, "%s%s%s", addresses[i][0], percent, addresses[i][1]));
	assert_rendered("<p>{x}</p>", "\xc3\xa9 a b", "<p>\xc3\xa9 a b</p>");
	assert_rendered("<p>{x}</p>", NULL, "<p></p>");
}

Test(gateway_html, addresses_run_nothing)
{
	static const char *const good[] = {"/a/b?c=d#e",
	                                   "https://example.com/",
	                                   "HTTP://example.com",
	                                   "mailto:a@example.com",
	                                   "a/b:c",
	                                   "?a=b:c",
	                                   "#a:b",
	                                   "",
	                                   "//example.com/a",
	                                   "%6aavascript:"};
	static const char *const bad[] = {"javascript:alert(1)",
	                                  "JaVaScRiPt:alert(1)",
	                                  " javascript:alert(1)",
	                                  "\tjavascript:alert(1)",
	                                  "java\nscript:alert(1)",
	                                  "\x01javascript:x",
	                                  "data:text/html,x",
	                                  "vbscript:x",
	                                  "blob:x",
	                                  "file:///etc/passwd",
	                                  "https :x",
	                                  "\\\\example.com",
	                                  "x:y",
	                                  "a b",
	                                  ":"};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]) - 1; i++)
		assert_rendered("<a href=\"{x}\">x</a>", good[i], arena_printf(arena, "<a href=\"%s\">x</a>", good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_rendered("<a href=\"{x}\">x</a>", bad[i], "<a href=\"#\">x</a>");
	/* two values, or a value behind the template's own text, make no scheme together */
	assert_rendered("<a href=\"java{x}\">x</a>", "script:alert(1)", "<a href=\"javascript%3Aalert%281%29\">x</a>");
	assert_rendered("<a href=\"{x}{x}\">x</a>", "javascript&colon;",
	                "<a href=\"javascript&amp;colon;javascript%26colon%3B\">x</a>");
	assert_rendered("<a href=\"{x}?next={x}\">x</a>", "https://a/?b&c",
	                "<a href=\"https://a/?b&amp;c?next=https%3A%2F%2Fa%2F%3Fb%26c\">x</a>");
}

Test(gateway_html, elsewhere_a_value_refuses_the_page)
{
	static const char *const templates[] = {
	    "<{x}>",
	    "</{x}>",
	    "<p {x}>",
	    "<p a{x}=\"b\">",
	    "<p class={x}>",
	    "<p class=a{x}>",
	    "<p class=\"a\"{x}>",
	    "<p onclick=\"{x}\">",
	    "<p ONCLICK=\"f('{x}')\">",
	    "<p style=\"color: {x}\">",
	    "<iframe srcdoc=\"{x}\"></iframe>",
	    "<iframe src=\"{x}\"></iframe>",
	    "<script src=\"{x}\"></script>",
	    "<script src=\"/js/{x}\"></script>",
	    "<link href=\"{x}\">",
	    "<base href=\"{x}\">",
	    "<object data=\"{x}\"></object>",
	    "<img srcset=\"{x}\">",
	    "<a ping=\"{x}\">",
	    "<meta content=\"0;url={x}\">",
	    "<svg><use href=\"{x}\"></use></svg>",
	    "<a xlink:href=\"{x}\">",
	    "<input type=\"{x}\">",
	    "<a target=\"{x}\">",
	    "<script>{x}</script>",
	    "<script>var a = \"{x}\";</script>",
	    "<style>{x}</style>",
	    "<!-- {x} -->",
	    "<!doctype {x}>",
	    "<title></script>{x",
	};

	for (size_t i = 0; i < sizeof(templates) / sizeof(templates[0]); i++)
		cr_assert_null(rendered(templates[i], "a"), "%s", templates[i]);
}

Test(gateway_html, templates_that_do_not_end_or_mean_two_things_are_refused)
{
	static const char *const templates[] = {
	    "<p",         "<p class",   "<p class=", "<p class=\"a",
	    "<title>a",   "<p>{y}</p>", "<p>{",      "<p>{x",
	    "<p>{}</p>",  "<script>",   "<1>",       "<p \"a\">",
	    "<p =a>",     "<p a=b\"c>", "<p a==>",   "<p a=>",
	    "<!-- a -->", "<![CDATA[",  "<?php",     "<p aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=\"b\">"};
	for (size_t i = 0; i < sizeof(templates) / sizeof(templates[0]); i++)
		cr_assert_null(rendered(templates[i], "a"), "%s", templates[i]);
	assert_rendered("<p>{{}x}</p>", "a", "<p>{x}</p>");
	assert_rendered("<script>if (a < b) {{} f('</p>'); }</script><p>{x}</p>", "<",
	                "<script>if (a < b) { f('</p>'); }</script><p>&lt;</p>");
	assert_rendered("<title>a <b> {x}</title>{x}", "<", "<title>a <b> &lt;</title>&lt;");
	assert_rendered("<br/><hr><p hidden>{x}</p>", "a", "<br/><hr><p hidden>a</p>");
}

Test(gateway_html, a_page_is_written_in_pieces_and_holds_others)
{
	struct html row = {0}, page = {0}, half = {0};
	const struct html_value name[] = {{.name = "name", .text = "<Ada>"}, {0}};
	html_add(&row, "<li>{name}</li>", name);
	html_add(&row, "<li>{name}</li>", name);
	const struct html_value rows[] = {{.name = "rows", .markup = &row}, {.name = "class", .text = "a\"b"}, {0}};

	html_add(&page, "<ul class=\"", NULL);
	html_add(&page, "{class}\">{rows}</ul>", rows);
	cr_assert(html_ok(&page));
	cr_assert_str_eq(arena_strndup(arena, page.out.data, page.out.len),
	                 "<ul class=\"a&quot;b\"><li>&lt;Ada&gt;</li><li>&lt;Ada&gt;</li></ul>");
	html_free(&page);
	html_add(&page, "<p title=\"{rows}\"></p>", rows);
	cr_assert(!html_ok(&page), "HTML in an attribute");
	html_free(&page);
	html_add(&half, "<b", NULL);
	html_add(&page, "<p>{half}</p>", (const struct html_value[]){{.name = "half", .markup = &half}, {0}});
	cr_assert(!html_ok(&page), "a page that is not whole");
	html_free(&page);
	html_free(&half);
	html_free(&row);
	cr_assert(html_ok(&page), "an empty page");
}

Test(gateway_html, the_policy_allows_nothing_that_is_not_asked_for)
{
	static const struct html_policy strict,
	    wide = {.form_origin = "https://app.example:8443", .scripts = true, .framed = true};
	static const char *const no_origins[] = {
	    "",          "app.example",  "https://",       "https://a; script-src *", "https://a b",
	    "https://*", "javascript:x", "https://a/path", "https://a\nX: y"};

	cr_assert_str_eq(html_policy_text(&strict, arena),
	                 "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; script-src 'none'; "
	                 "connect-src 'none'; "
	                 "form-action 'self'; frame-ancestors 'none'; base-uri 'none'");
	cr_assert_str_eq(html_policy_text(&wide, arena),
	                 "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; script-src 'self'; "
	                 "connect-src 'self'; "
	                 "form-action 'self' https://app.example:8443; frame-ancestors 'self'; base-uri 'none'");
	for (size_t i = 0; i < sizeof(no_origins) / sizeof(no_origins[0]); i++) {
		const struct html_policy policy = {.form_origin = no_origins[i]};
		cr_assert_null(html_policy_text(&policy, arena), "%s", no_origins[i]);
	}
}

Test(gateway_html, an_answer_carries_page_and_policy)
{
	struct exchange exchange = {.arena = arena};
	struct html page = {0};
	struct buf head = {0};

	html_add(&page, "<p>{x}</p>", (const struct html_value[]){{.name = "x", .text = "&"}, {0}});
	cr_assert_eq(html_answer(&exchange, 403, &page, NULL), ST_OK);
	cr_assert_eq(exchange.response.status, 403);
	cr_assert_str_eq(exchange.response.content_type, "text/html; charset=utf-8");
	cr_assert_eq(memcmp(exchange.response.body.data, "<p>&amp;</p>", 12), 0);
	http_print_head(&exchange, (int64_t)exchange.response.body.len, &head);
	const char *text = arena_strndup(arena, head.data, head.len);
	cr_assert_not_null(strstr(text, "\r\nContent-Security-Policy: default-src 'none'; "), "%s", text);
	cr_assert_not_null(strstr(text, "\r\nReferrer-Policy: same-origin\r\n"), "%s", text);
	buf_free(&head);
	html_add(&page, "<p {x}>", NULL);
	cr_assert_eq(html_answer(&exchange, 200, &page, NULL), ST_INTERNAL);
	cr_assert_eq(exchange.failure.status, ST_INTERNAL);
	buf_free(&exchange.response.body);
}
