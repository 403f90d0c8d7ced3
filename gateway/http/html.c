/* Templates whose values are escaped for their place: a small tokenizer of HTML decides. */
#include "http/html.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Where in the HTML we are. */
enum place {
	IN_TEXT,
	IN_RAW, /* text that only the end tag of page->element ends */
	AT_TAG, /* behind < */
	IN_TAG_NAME,
	IN_TAG,       /* between attributes */
	IN_NAME,      /* of an attribute */
	BEHIND_NAME,  /* of an attribute, before = or the next one */
	BEFORE_VALUE, /* behind = */
	IN_VALUE,     /* in quotes */
	IN_BARE_VALUE /* without quotes */
};

/* Elements whose content is no HTML. In those of the first kind values may stand. */
static const char *const text_elements[] = {"title", "textarea", NULL};
static const char *const code_elements[] = {"script", "style", NULL};
/* Where an address may stand: these attributes of these elements, which load or run nothing but a picture. */
static const char *const address_attributes[] = {"href", "src", "action", "formaction", NULL};
static const char *const address_elements[] = {"a", "area", "img", "form", "button", "input", NULL};
/* Attributes that are text to a browser, beside aria-... and data-...; what is not here may hold script, style, HTML or addresses. */
static const char *const text_attributes[] = {
    "value",   "title",    "alt",   "placeholder", "name",   "id",           "class",     "for",     "lang", "dir",
    "label",   "datetime", "min",   "max",         "step",   "minlength",    "maxlength", "pattern", "rows", "cols",
    "colspan", "rowspan",  "scope", "width",       "height", "autocomplete", "inputmode", NULL};

static bool listed(const char *const *list, const char *name)
{
	for (; *list; list++)
		if (strcmp(*list, name) == 0)
			return true;
	return false;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

/* ---- following the template ---- */

/* Appends to a name, lower case; a name too long for us is refused. */
static void name_add(struct html *page, char name[HTML_NAME_MAX_BYTES], char c)
{
	size_t len = strlen(name);
	if (len + 1 >= HTML_NAME_MAX_BYTES) {
		page->refused = true;
		return;
	}
	name[len] = (char)tolower((unsigned char)c);
	name[len + 1] = '\0';
}

/* Behind > : into text, or into an element whose content is no HTML. */
static void end_tag(struct html *page)
{
	bool raw = listed(text_elements, page->tag) || listed(code_elements, page->tag);
	page->element[0] = '\0';
	if (raw && !page->closing)
		memcpy(page->element, page->tag, sizeof(page->element));
	page->place = page->element[0] ? IN_RAW : IN_TEXT;
}

static void begin_tag(struct html *page, char c)
{
	page->closing = c == '/';
	page->tag[0] = '\0';
	page->place = IN_TAG_NAME;
	if (isalpha((unsigned char)c))
		name_add(page, page->tag, c);
	else if (c == '!') /* <!doctype html>; comments are not written for users */
		name_add(page, page->tag, c);
	else if (c != '/')
		page->refused = true;
}

static void follow_tag_name(struct html *page, char c)
{
	if (c == '>')
		end_tag(page);
	else if (is_blank(c) || c == '/')
		page->place = IN_TAG;
	else if (isalnum((unsigned char)c) || (c == '-' && page->tag[0] != '!'))
		name_add(page, page->tag, c);
	else
		page->refused = true;
}

static void follow_tag(struct html *page, char c)
{
	if (c == '>') {
		end_tag(page);
	} else if (isalpha((unsigned char)c)) {
		page->place = IN_NAME;
		page->attribute[0] = '\0';
		name_add(page, page->attribute, c);
	} else if (!is_blank(c) && c != '/') {
		page->refused = true;
	}
}

static void follow_name(struct html *page, char c)
{
	if (c == '=')
		page->place = BEFORE_VALUE;
	else if (c == '>')
		end_tag(page);
	else if (is_blank(c) || c == '/')
		page->place = BEHIND_NAME;
	else if (isalnum((unsigned char)c) || c == '-' || c == '_' || c == ':')
		name_add(page, page->attribute, c);
	else
		page->refused = true;
}

static void follow_behind_name(struct html *page, char c)
{
	if (c == '=')
		page->place = BEFORE_VALUE;
	else if (!is_blank(c))
		follow_tag(page, c);
}

static void begin_value(struct html *page, char c)
{
	if (is_blank(c))
		return;
	page->address = listed(address_attributes, page->attribute) && listed(address_elements, page->tag);
	page->address_begun = false;
	page->quote = c;
	page->place = c == '"' || c == '\'' ? IN_VALUE : IN_BARE_VALUE;
	if (c == '>' || c == '<' || c == '=' || c == '`')
		page->refused = true;
}

static void follow_value(struct html *page, char c)
{
	if (c == page->quote)
		page->place = IN_TAG;
	else
		page->address_begun = true;
}

static void follow_bare_value(struct html *page, char c)
{
	if (c == '>')
		end_tag(page);
	else if (is_blank(c))
		page->place = IN_TAG;
	else if (strchr("\"'<=`", c))
		page->refused = true;
}

/* In an element whose content is no HTML: only its own end tag is one. The template is looked at from here. */
static void follow_raw(struct html *page, const char *at)
{
	size_t len = strlen(page->element);
	if (at[0] == '<' && at[1] == '/' && strncasecmp(at + 2, page->element, len) == 0 &&
	    (at[2 + len] == '>' || is_blank(at[2 + len])))
		page->place = AT_TAG;
}

static void follow(struct html *page, const char *at)
{
	switch ((enum place)page->place) {
	case IN_TEXT:
		page->place = *at == '<' ? AT_TAG : IN_TEXT;
		break;
	case IN_RAW:
		follow_raw(page, at);
		break;
	case AT_TAG:
		begin_tag(page, *at);
		break;
	case IN_TAG_NAME:
		follow_tag_name(page, *at);
		break;
	case IN_TAG:
		follow_tag(page, *at);
		break;
	case IN_NAME:
		follow_name(page, *at);
		break;
	case BEHIND_NAME:
		follow_behind_name(page, *at);
		break;
	case BEFORE_VALUE:
		begin_value(page, *at);
		break;
	case IN_VALUE:
		follow_value(page, *at);
		break;
	case IN_BARE_VALUE:
		follow_bare_value(page, *at);
		break;
	}
}

/* ---- putting values in ---- */

/* Text for text and quoted attributes alike. */
static void put_escaped(struct buf *out, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			buf_add_str(out, "&amp;");
			break;
		case '<':
			buf_add_str(out, "&lt;");
			break;
		case '>':
			buf_add_str(out, "&gt;");
			break;
		case '"':
			buf_add_str(out, "&quot;");
			break;
		case '\'':
			buf_add_str(out, "&#39;");
			break;
		default:
			buf_add_char(out, *text);
		}
	}
}

/* All but unreserved characters (RFC 3986 section 2.3), so that nothing ends the part it stands in. */
static void put_percent(struct buf *out, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		if (isalnum(c) || strchr("-._~", c))
			buf_add_char(out, *text);
		else
			buf_printf(out, "%%%02X", c);
	}
}

/* Whether an address is harmless to follow. Browsers skip blanks and control characters in a scheme: none may stand in it. A colon behind the
 * first / ? or # belongs to no scheme. */
static bool address_allowed(const char *text)
{
	static const char *const schemes[] = {"http:", "https:", "mailto:"};
	for (const char *at = text; *at; at++)
		if ((unsigned char)*at <= 0x20 || *at == 0x7f || *at == '\\')
			return false;
	if (text[strcspn(text, ":/?#")] != ':')
		return true;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (strncasecmp(text, schemes[i], strlen(schemes[i])) == 0)
			return true;
	return false;
}

static bool is_text_attribute(const char *name)
{
	return listed(text_attributes, name) || strncmp(name, "aria-", 5) == 0 || strncmp(name, "data-", 5) == 0;
}

static void put_in_value(struct html *page, const char *text)
{
	if (is_text_attribute(page->attribute))
		put_escaped(&page->out, text);
	else if (!page->address)
		page->refused = true;
	else if (page->address_begun)
		put_percent(&page->out, text);
	else
		put_escaped(&page->out, address_allowed(text) ? text : "#");
	page->address_begun = true;
}

static void put(struct html *page, const struct html_value *value)
{
	const char *text = value->text ? value->text : "";
	if (value->markup) {
		page->refused = page->refused || page->place != IN_TEXT || !html_ok(value->markup);
		if (!page->refused)
			buf_add(&page->out, value->markup->out.data, value->markup->out.len);
	} else if (page->place == IN_TEXT || (page->place == IN_RAW && listed(text_elements, page->element))) {
		put_escaped(&page->out, text);
	} else if (page->place == IN_VALUE) {
		put_in_value(page, text);
	} else {
		page->refused = true;
	}
}

/* The value that {name} at `at` stands for. *ret_len: characters of {name}. NULL when there is none. */
static const struct html_value *find_value(const char *at, const struct html_value *values, size_t *ret_len)
{
	size_t len = strcspn(at + 1, "{}");
	if (at[1 + len] != '}')
		return NULL;
	*ret_len = len + 2;
	for (; values && values->name; values++)
		if (strlen(values->name) == len && memcmp(values->name, at + 1, len) == 0)
			return values;
	return NULL;
}

void html_add(struct html *page, const char *template, const struct html_value *values)
{
	const char *at = template;
	while (*at && !page->refused) {
		size_t len = 1;
		const struct html_value *value = NULL;
		if (*at == '{' && strncmp(at, "{{}", 3) != 0) {
			value = find_value(at, values, &len);
			page->refused = !value;
		}
		if (value) {
			put(page, value);
		} else if (!page->refused) {
			buf_add_char(&page->out, *at);
			follow(page, at);
			len = *at == '{' ? 3 : 1;
		}
		at += len;
	}
}

bool html_ok(const struct html *page)
{
	return !page->refused && page->place == IN_TEXT && buf_ok(&page->out);
}

void html_free(struct html *page)
{
	buf_free(&page->out);
	*page = (struct html){0};
}

/* ---- answers ---- */

/* scheme://host or scheme://host:port of http or https, in characters that mean nothing in a policy. */
static bool is_origin(const char *text)
{
	size_t scheme = strncmp(text, "https://", 8) == 0 ? 8 : strncmp(text, "http://", 7) == 0 ? 7 : 0;
	const char *host = text + scheme;
	return scheme && *host &&
	       strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.:[]") == strlen(host);
}

const char *html_policy_text(const struct html_policy *policy, struct arena *arena)
{
	const char *origin = policy->form_origin ? policy->form_origin : "";
	if (policy->form_origin && !is_origin(origin))
		return NULL;
	return arena_printf(
	    arena,
	    "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; script-src %s; connect-src %s; "
	    "form-action 'self'%s%s; frame-ancestors %s; base-uri 'none'",
	    policy->scripts ? "'self'" : "'none'", policy->scripts ? "'self'" : "'none'", *origin ? " " : "", origin,
	    policy->framed ? "'self'" : "'none'");
}

enum status html_answer(struct exchange *exchange, int http_status, struct html *page, const struct html_policy *policy)
{
	static const struct html_policy strict;
	struct http_response *response = &exchange->response;
	const char *text = html_policy_text(policy ? policy : &strict, exchange->arena);
	if (!html_ok(page) || !text) {
		html_free(page);
		return http_fail(exchange, ST_INTERNAL, NULL, "The page could not be made");
	}
	response->status = http_status;
	response->content_type = "text/html; charset=utf-8";
	http_header_add(exchange, "Content-Security-Policy", text);
	/* Not no-referrer: forms of the page would come with "Origin: null". */
	http_header_add(exchange, "Referrer-Policy", "same-origin");
	buf_free(&response->body);
	response->body = page->out;
	*page = (struct html){0};
	return ST_OK;
}
