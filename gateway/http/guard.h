/* Strict check of a parsed HTTP request. The HTTP server lets through what RFC 9112 forbids; nothing passes here that two
 * parsers could read differently. Pure functions, any thread. */
#pragma once

#include "http/request.h"

struct guard_verdict {
	enum status status; /* ST_OK, or why the request is refused; the connection then ends */
	const char *reason; /* static sentence; NULL with ST_OK */
	/* With ST_OK and ST_METHOD_NOT_ALLOWED, before which all else was in order: */
	int64_t content_length; /* HTTP_LENGTH_CHUNKED: the chunked coding tells */
	bool
	    empty_segment; /* the path has a segment without characters; whether that is acceptable is for the mount to say */
};

/* Checks target, header names and values, Host, Content-Length, Transfer-Encoding, repeated headers, and the verb last. */
struct guard_verdict guard_check(const struct http_request *request);

/* Only for a request whose strings still lie in the buffer they were received in, as server.c has them: finds bare line feeds,
 * folded lines, blanks before the colon, doubled blanks in the request line and lines that the server's parser stopped at,
 * by the distances between the strings. version is the text after "HTTP/". Returns the first byte behind the head; NULL = refuse. */
const char *guard_layout(const struct http_request *request, const char *version);

/* The target may be the URL of this server (RFC 9112 section 3.2.2), when its authority is what Host says: then request->path becomes the path in
 * it. False = it names something else. To be asked after guard_layout. */
bool guard_absolute(struct http_request *request);

/* Whether a token (RFC 9110 section 5.6.2) may have this character. */
bool guard_token_char(unsigned char c);

/* Said of a path that is refused. */
#define GUARD_PATH_REASON "The path is not acceptable"

/* All verbs that are served, as a value of the Allow header. */
#define GUARD_ALLOW "GET, HEAD, POST, PUT, PATCH, DELETE"
