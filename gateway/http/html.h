/* HTML pages from templates: what is put in is escaped for the place where it goes, without anybody having to think of it.
 *
 * A template is HTML with {names} in it. html_add follows its tags and knows at each {name} where it stands:
 *   in text, <title> and <textarea>       <p>{name}</p>
 *   in a quoted attribute of text         <input value="{name}">; which ones these are stands in html.c
 *   a whole address                       <a href="{url}">, src, action, formaction: relative, http, https or mailto; else "#"
 *   within one, behind other text of it   <a href="/users/{id}?next={url}">: percent-encoded
 * Everywhere else a value is refused, and the page with it: names, unquoted attributes, attributes that may hold script, style, HTML or
 * anything that is not known, comments, <script>, <style>. A brace that begins no name is written {{}. Templates are ours: one that
 * is refused is our own mistake, seen by the first test that renders it. */
#pragma once

#include "http/request.h"

/* One value. markup is a finished page whose HTML goes in as it is, in text only: there is no other way to put HTML in. */
struct html;
struct html_value {
	const char *name;
	const char *text;          /* valid UTF-8; NULL = nothing */
	const struct html *markup; /* instead of text */
};

#define HTML_NAME_MAX_BYTES 32

/* A page that is being written. Zeroed, it is empty. Released with html_free. */
struct html {
	struct buf out;
	bool refused;  /* a template was wrong; stays so */
	uint8_t place; /* where in the HTML we are: enum of html.c */
	char quote;
	bool closing;                  /* in the tag, the name or the end of </x> */
	bool address, address_begun;   /* in an attribute that holds a URL; something of it stands already */
	char tag[HTML_NAME_MAX_BYTES]; /* name of the tag that we are in, lower case */
	char attribute[HTML_NAME_MAX_BYTES];
	char element
	    [HTML_NAME_MAX_BYTES]; /* whose text only its end tag ends (title, textarea, script, style); "" = none */
};

/* Releases and zeroes; for any page. */
void html_free(struct html *page);

/* Adds a template with its values, which are NULL or end with a row without name. A template may be a part of a page: the next one
 * goes on where it ended. */
void html_add(struct html *page, const char *template, const struct html_value *values);

/* Whether the page is whole: nothing was refused, memory was there, every tag and raw element is closed. */
bool html_ok(const struct html *page);

/* ---- answers ---- */

/* What a page may do; zero is: nothing but show itself, with style and pictures from here, and send forms here. */
struct html_policy {
	const char *
	    form_origin; /* another origin to which the answer to a form may lead, "https://app.example"; NULL = none */
	bool scripts;    /* from here, never inline */
	bool framed;     /* pages of ours may show it in a frame */
};

/* The Content-Security-Policy for it, in the arena; NULL when the arena is full or form_origin is no origin. */
const char *html_policy_text(const struct html_policy *policy, struct arena *arena);

/* Answers with the page: status, text/html, the policy and the headers that go with it. policy may be NULL. A page that is not
 * html_ok, or no memory, becomes ST_INTERNAL by http_fail. The page is emptied. */
MUST_USE enum status html_answer(struct exchange *exchange, int http_status, struct html *page,
                                 const struct html_policy *policy);
