/* The generated method and process tables: order, look-up, and what every row must have. */
#include "bus/method.h"

#include <criterion/criterion.h>
#include <string.h>

Test(method, ids_ascend_and_are_found)
{
	cr_assert(method_count > 0);
	for (unsigned i = 0; i < method_count; i++) {
		const struct method *method = &method_table[i];

		cr_assert(i == 0 || method_table[i - 1].id < method->id);
		cr_assert(method_find(method->id) == method);
		cr_assert(method->request && method->reply, "%s", method->name);
		cr_assert(method->timeout_ms > 0, "%s", method->name);
		cr_assert(method->callers || method->local, "%s", method->name);
	}
}

Test(method, unknown_ids_are_not_found)
{
	static const uint32_t unknown[] = {0, 4, 999, 1000, 1003, 5999, 1000000, UINT32_MAX};

	for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
		cr_assert(method_find(unknown[i]) == NULL, "%u", unknown[i]);
}

Test(method, rows_say_what_the_contract_says)
{
	const struct method *method = method_find(M_IDENTITY_GET_USER);

	cr_assert(method);
	cr_assert(!strcmp(method->service, "identity") && !strcmp(method->name, "GetUser"));
	cr_assert(!method->write && !method->local && !method->stream);
	cr_assert(method->callers == 1u << PROCESS_GATEWAY);
	cr_assert(!strcmp(method->http_verb, "GET") && !strcmp(method->http_path, "/v1/users/{user_id}"));
	cr_assert(method->http_success == 200 && !strcmp(method->permission, "users:read"));
	cr_assert(!strcmp(method->request->name, "identity.GetUserRequest"));

	method = method_find(M_IDENTITY_CREATE_USER);
	cr_assert(method->write && method->http_success == 201);
	method = method_find(M_IDENTITY_DELETE_USER);
	cr_assert(method->write && method->http_success == 204);
	method = method_find(M_CLAIMS_GET_JWKS);
	cr_assert(!strcmp(method->permission, "none"));
	method = method_find(M_GATEWAY_IMPORT_USERS);
	cr_assert(method->local && method->stream && method->write);
	method = method_find(M_AUDIT_READ_EVENTS);
	cr_assert(method->callers == (1u << PROCESS_GATEWAY | 1u << PROCESS_SUBSCRIBER));
	method = method_find(M_CLAIMS_MINT);
	cr_assert(!method->http_verb && !method->http_path && !method->permission);
	method = method_find(M_COMMON_ECHO);
	cr_assert(!strcmp(method->service, "common"));
}

Test(method, processes_form_a_dag)
{
	uint32_t done = 0;

	cr_assert(process_count == PROCESS_COUNT);
	for (unsigned round = 0; round < process_count; round++)
		for (unsigned i = 0; i < process_count; i++)
			if ((process_table[i].peers & ~done) == 0)
				done |= 1u << i;
	cr_assert(done == (1u << process_count) - 1, "a cycle");
}

Test(method, processes_are_found_by_name)
{
	for (unsigned i = 0; i < process_count; i++) {
		cr_assert(process_table[i].number == i);
		cr_assert(process_find(process_table[i].name) == &process_table[i]);
	}
	cr_assert(process_find("identity")->port == 7001 && process_find("identity")->service == 1);
	cr_assert(!strcmp(process_find("session")->role, "session"));
	cr_assert(process_find("gateway")->role == NULL && process_find("gateway")->port == 0);
	cr_assert(process_find("nobody") == NULL && process_find("") == NULL && process_find(NULL) == NULL);
}
