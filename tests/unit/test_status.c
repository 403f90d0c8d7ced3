/* The status table is complete and agrees with what HTTP says about each code. */
#include "base/status.h"

#include <criterion/criterion.h>
#include <string.h>

Test(status, every_number_has_facts)
{
	for (int status = 0; status < ST_COUNT; status++) {
		const struct status_info *info = status_info(status);

		cr_assert(info->name && *info->name, "status %d", status);
		cr_assert(info->text && *info->text, "status %d", status);
		cr_assert(info->http >= 200 && info->http < 600, "status %d", status);
		cr_assert(status == ST_OK || info->http >= 400, "status %d", status);
		cr_assert(!strcmp(info->name, status_name(status)));
		for (int other = 0; other < status; other++)
			cr_assert(strcmp(info->name, status_name(other)) != 0, "%s is there twice", info->name);
	}
}

Test(status, unknown_numbers_are_internal)
{
	static const int unknown[] = {-1, ST_COUNT, ST_COUNT + 1, 1 << 30, -(1 << 30)};

	for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
		cr_assert(status_info(unknown[i]) == status_info(ST_INTERNAL));
}

Test(status, facts_come_from_errors_txt)
{
	static const struct {
		enum status status;
		const char *name;
		int http;
		bool retryable;
	} cases[] = {
	    {ST_OK, "ok", 200, false},
	    {ST_NOT_FOUND, "not_found", 404, false},
	    {ST_PRECONDITION_FAILED, "precondition_failed", 412, false},
	    {ST_UNAVAILABLE, "unavailable", 503, true},
	    {ST_THROTTLED, "throttled", 429, true},
	    {ST_CLAIMS_TOO_LARGE, "claims_too_large", 413, false},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct status_info *info = status_info(cases[i].status);

		cr_assert(!strcmp(info->name, cases[i].name));
		cr_assert(info->http == cases[i].http, "%s", info->name);
		cr_assert(info->retryable == cases[i].retryable, "%s", info->name);
	}
}
