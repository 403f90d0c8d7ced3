/* Rate classes, by a table from who asks to the budget. */
#include "front/limits.h"

#include "base/address.h"
#include "front/limiter.h"

#include <stdlib.h>
#include <string.h>

enum limits_budget { BUDGET_ADDRESS, BUDGET_KEY, BUDGET_ACCOUNT, BUDGETS };

struct limits {
	struct limiter *budgets[BUDGETS];
};

static const enum limits_budget budget_of[] = {
    [CALLER_NOBODY] = BUDGET_ADDRESS, [CALLER_KEY] = BUDGET_KEY,          [CALLER_CLIENT] = BUDGET_KEY,
    [CALLER_USER] = BUDGET_ACCOUNT,   [CALLER_OPERATOR] = BUDGET_ACCOUNT,
};

static const char *const sentences[BUDGETS] = {
    [BUDGET_ADDRESS] = "This address sends more requests than its rate allows",
    [BUDGET_KEY] = "This key sends more requests than its rate allows",
    [BUDGET_ACCOUNT] = "This account sends more requests than its rate allows",
};

struct limits *limits_new(const struct limits_options *options)
{
	const int64_t rates[BUDGETS] = {
	    [BUDGET_ADDRESS] = options->address, [BUDGET_KEY] = options->key, [BUDGET_ACCOUNT] = options->account};
	struct limits *limits = calloc(1, sizeof(*limits));
	for (size_t i = 0; limits && i < BUDGETS; i++) {
		limits->budgets[i] = limiter_new(rates[i], rates[i]);
		if (!limits->budgets[i])
			limits_free(&limits);
	}
	return limits;
}

void limits_free(struct limits **limits)
{
	if (!*limits)
		return;
	for (size_t i = 0; i < BUDGETS; i++)
		limiter_free(&(*limits)->budgets[i]);
	free(*limits);
	*limits = NULL;
}

enum status limits_take(struct limits *limits, struct exchange *exchange)
{
	enum rate_class rate = exchange->route->row.rate;
	const char *id = exchange->caller.id;
	if (rate == RATE_NONE)
		return ST_OK;
	enum limits_budget budget = rate == RATE_ADDRESS ? BUDGET_ADDRESS : budget_of[exchange->caller.kind];
	struct limiter *limiter = limits->budgets[budget];
	uint32_t wait_ms = budget == BUDGET_ADDRESS ? limiter_take_address(limiter, exchange->client, 1)
	                                            : limiter_take(limiter, id, strlen(id), 1);
	if (wait_ms == 0)
		return ST_OK;
	(void)http_fail(exchange, ST_RESOURCE_EXHAUSTED, NULL, sentences[budget]);
	exchange->failure.retry_after_ms = wait_ms;
	return ST_RESOURCE_EXHAUSTED;
}
