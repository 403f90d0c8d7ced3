/* Login ids: the one form in which they are stored, looked up and counted, whichever way they were typed (README.md says why it
 * is here). Pure functions: no allocation kept, any thread. All texts that come in are valid UTF-8 without NUL. */
#pragma once

#include "base/status.h"

#define LOGIN_MAX_BYTES 320
#define LOGIN_SIZE (LOGIN_MAX_BYTES + 1)

/* Why a text was refused: one static sentence, or NULL when it is acceptable. The output is untouched when it is refused. */
typedef const char *login_reason;

/* Canonical form of an e-mail address: a local part of ASCII in lower case, another one in NFC and otherwise unchanged (no
 * Unicode folding); the domain as A-labels in lower case. Equal mailboxes give equal texts. */
MUST_USE login_reason login_email(const char *email, char ret_email[LOGIN_SIZE]);

/* Canonical form of a login id: that of the e-mail address when it is one, else NFKC with case folding. Refuses control, format
 * and unassigned characters, and spaces at either end. The form of a form is the form itself. */
MUST_USE login_reason login_canonical(const char *login_id, char ret_login[LOGIN_SIZE]);

/* As login_canonical for what somebody typed to sign in: white space around it says nothing and is left out. */
MUST_USE login_reason login_typed(const char *typed, char ret_login[LOGIN_SIZE]);
