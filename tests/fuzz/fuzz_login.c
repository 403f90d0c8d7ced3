/* Canonical forms of login ids: never longer than their buffer, and the form of a form is the form itself. */
#include "base/login.h"
#include "base/utf8.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[4096], form[LOGIN_SIZE], again[LOGIN_SIZE];
	size_t len = size < sizeof(text) ? size : sizeof(text) - 1;

	len = utf8_valid_prefix((const char *)data, len);
	memcpy(text, data, len);
	text[len] = '\0';
	if (!login_typed(text, form) && (login_canonical(form, again) || strcmp(form, again) != 0))
		abort();
	if (!login_canonical(text, form) && (login_typed(text, again) || strcmp(form, again) != 0))
		abort();
	if (!login_email(text, form) && (login_canonical(text, again) || strcmp(form, again) != 0))
		abort();
	return 0;
}
