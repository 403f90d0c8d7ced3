/* Reads the chunked transfer coding (RFC 9112 section 7.1), strictly and in bounded memory. Pure; one per body. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All chunk extensions of a body, and its trailer fields; both are read and forgotten. */
#define CHUNKED_EXTRA_MAX_BYTES 4096

enum chunked_state {
	CHUNKED_SIZE, /* zero: the beginning */
	CHUNKED_BLANK,
	CHUNKED_EXTENSION,
	CHUNKED_SIZE_LF,
	CHUNKED_DATA,
	CHUNKED_DATA_CR,
	CHUNKED_DATA_LF,
	CHUNKED_TRAILER,
	CHUNKED_TRAILER_NAME,
	CHUNKED_TRAILER_VALUE,
	CHUNKED_TRAILER_LF,
	CHUNKED_LAST_LF,
	CHUNKED_END, /* the body is whole; what follows belongs to nobody here */
	CHUNKED_BAD, /* not the chunked coding, or out of bounds */
};

struct chunked {
	enum chunked_state state;
	unsigned digits; /* of the size being read */
	uint64_t left;   /* bytes of the chunk */
	size_t extra;    /* bytes of extensions and trailer fields so far */
};

/* Decodes `len` received bytes in place: the body's bytes stand at the front of data afterwards. Returns their number. Bytes behind the end
 * are ignored, as is everything once the coding is bad. */
size_t chunked_decode(struct chunked *chunked, char *data, size_t len);
