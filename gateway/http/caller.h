/* Who asks, whatever credential named it. */
#pragma once

#include "base/secret.h"

#include <stdbool.h>
#include <stdint.h>

enum caller_kind {
	CALLER_NOBODY,   /* nothing was proved: the caller of a public route */
	CALLER_KEY,      /* a management or API key */
	CALLER_CLIENT,   /* an application's client id and secret */
	CALLER_USER,     /* an end user */
	CALLER_OPERATOR, /* a person who administers projects */
};

/* Sets of kinds: what a route accepts. */
#define CALLER_BIT(kind) (1u << (kind))
#define CALLER_KEYS (CALLER_BIT(CALLER_KEY) | CALLER_BIT(CALLER_CLIENT))

struct caller {
	enum caller_kind kind;
	struct id project;
	char id[ID_TEXT_SIZE];           /* key_..., usr_... by kind; "" = nobody */
	struct id session;               /* of a user; else zero */
	uint64_t permissions;            /* bit by authn_permission_bit */
	bool platform;                   /* may administer projects */
	char impersonator[ID_TEXT_SIZE]; /* who acts in the caller's name, and answers for it; "" = nobody */
};

/* Whom a change is written down to. */
static inline const char *caller_actor(const struct caller *caller)
{
	return caller->impersonator[0] != '\0' ? caller->impersonator : caller->id;
}
