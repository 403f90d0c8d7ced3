/* Cookies of our own (RFC 6265bis), and the proof that a form came from a page of ours. */
#pragma once

#include "http/request.h"

enum cookie_site { COOKIE_LAX, COOKIE_STRICT, COOKIE_NONE };

/* What a Set-Cookie header says. Zero is the careful choice: this host only, whole site, Secure, HttpOnly, Lax, ends with the browser. */
struct cookie {
	const char *name;     /* begins with __Host- or __Secure-: what these ask for is checked */
	const char *value;    /* NULL = the cookie is to be forgotten */
	const char *path;     /* NULL = "/" */
	const char *domain;   /* NULL = this host only */
	uint32_t max_age_sec; /* 0 = until the browser ends; at most 400 days are asked for */
	enum cookie_site same_site;
	bool insecure; /* without Secure: for plain HTTP on a developer's machine */
	bool scripted; /* without HttpOnly: scripts of the page may read it */
};

/* The value of a Set-Cookie header, in the arena. ST_INVALID_ARGUMENT: a character that may not stand in it, more than 4096 bytes, or
 * attributes that contradict the name or each other, which browsers would drop in silence. ST_RESOURCE_EXHAUSTED. */
MUST_USE enum status cookie_print(const struct cookie *cookie, struct arena *arena, const char **ret_value);

/* Adds Set-Cookie to the answer. Statuses as cookie_print. */
MUST_USE enum status cookie_set(struct exchange *exchange, const struct cookie *cookie);

/* ---- forms that a cookie authenticates ----
 * A page gets a token that is bound to the session by HMAC; it goes out as a cookie and as a hidden field of the form, and both must come
 * back alike. Another site can neither read nor make one; a neighbour of our domain can set a cookie, but makes no token for this session.
 * Before sign-in, `session` is the random value of a cookie that the page has set. */
#define CSRF_TOKEN_SIZE 65 /* base64url of 16 random bytes and the HMAC, NUL */

/* A fresh token for a session; key is the gateway's own, the same at each of them. */
void csrf_token(const uint8_t key[SHA256_SIZE], const char *session, char ret_token[CSRF_TOKEN_SIZE]);

/* What a form brought along. */
struct csrf_proof {
	const char *session; /* NULL = none came */
	const char *cookie;  /* token of the cookie; NULL = none came */
	const char *field;   /* token of the form; NULL = none came */
	const char *origin;  /* our own, "https://sign-in.example.com" */
};

/* Whether a request that changes something came from a page of ours: csrf_same_origin, both tokens there and equal, and made for the
 * session. Compared in constant time. ST_PERMISSION_DENIED. */
MUST_USE enum status csrf_check(const struct http_request *request, const uint8_t key[SHA256_SIZE],
                                const struct csrf_proof *proof);

/* What the browser says of the page that sent the request: Sec-Fetch-Site must be same-origin or none (typed, a bookmark); without it
 * Origin must be ours; a request with neither is not from a browser of this decade and is left to the token. */
bool csrf_same_origin(const struct http_request *request, const char *origin);
