/* Keys of the failure counters and the door before password hashing. */
#include "throttle.h"

#include "service.h"

#include "base/log.h"

#include <string.h>

/* Addresses of one IPv4 /24 or IPv6 /48 are one network. */
#define NETWORK_V4_BITS 24
#define NETWORK_V6_BITS 48
#define SECRET_MAX_BYTES 32
#define WHO_MAX_BYTES (1 + LOGIN_MAX_BYTES)
#define KEY_KNOWN 4 /* beside the kinds of counters */
/* A place is given back also when the call's own time is over. */
#define GIVE_BACK_WITHIN_US (2 * US_PER_SEC)

struct key_parts {
	const struct id *project;
	struct address network;
	size_t network_len; /* 0 = not told */
	uint8_t who[WHO_MAX_BYTES];
	size_t who_len;
};

/* The user's id and what stands for the password, or the login id; told apart by the first byte. */
static void describe_who(const struct throttle_who *who, bool with_secret, struct key_parts *parts)
{
	size_t len = 0;

	_Static_assert(1 + ID_SIZE + SECRET_MAX_BYTES <= WHO_MAX_BYTES, "fits");
	parts->who[len++] = who->user ? 'u' : 'l';
	if (who->user) {
		memcpy(parts->who + len, who->user->bytes, ID_SIZE);
		len += ID_SIZE;
		size_t secret_len = with_secret && who->secret.len <= SECRET_MAX_BYTES ? who->secret.len : 0;
		if (secret_len > 0)
			memcpy(parts->who + len, who->secret.data, secret_len);
		len += secret_len;
	} else {
		size_t login_len = strnlen(who->login, LOGIN_MAX_BYTES);
		memcpy(parts->who + len, who->login, login_len);
		len += login_len;
	}
	parts->who_len = len;
}

/* kind | project | length of the network | network | who */
static void make_key(const uint8_t key[SHA256_SIZE], uint8_t kind, const struct key_parts *parts,
                     uint8_t ret_key[THROTTLE_KEY_SIZE])
{
	uint8_t data[1 + ID_SIZE + 1 + sizeof(struct address) + WHO_MAX_BYTES];
	uint8_t mac[SHA256_SIZE];
	size_t len = 0;
	bool by_network = kind == THROTTLE_PAIR || kind == THROTTLE_NETWORK;
	size_t network_len = by_network ? parts->network_len : 0;
	size_t who_len = kind == THROTTLE_NETWORK ? 0 : parts->who_len;

	data[len++] = kind;
	memcpy(data + len, parts->project->bytes, ID_SIZE);
	len += ID_SIZE;
	data[len++] = (uint8_t)network_len;
	memcpy(data + len, parts->network.bytes, network_len);
	len += network_len;
	memcpy(data + len, parts->who, who_len);
	len += who_len;
	secret_hmac_sha256(key, SHA256_SIZE, data, len, mac);
	memcpy(ret_key, mac, THROTTLE_KEY_SIZE);
}

void throttle_make_keys(const uint8_t key[SHA256_SIZE], const struct id *project, const struct throttle_who *who,
                        const struct address *address, struct throttle_keys *ret_keys)
{
	struct key_parts parts = {.project = project};

	if (address) {
		parts.network = *address;
		parts.network_len = sizeof(parts.network);
		address_mask(&parts.network, NETWORK_V4_BITS, NETWORK_V6_BITS);
	}
	describe_who(who, true, &parts);
	make_key(key, THROTTLE_PAIR, &parts, ret_keys->pair);
	make_key(key, THROTTLE_USER, &parts, ret_keys->user);
	make_key(key, THROTTLE_NETWORK, &parts, ret_keys->network);
	describe_who(who, false, &parts);
	make_key(key, KEY_KNOWN, &parts, ret_keys->known);
	ret_keys->has_address = address;
}

static enum status refuse(struct call *call, int64_t until_us, int64_t now_us)
{
	struct session_state *state = call->run->state;

	metric_add(state->throttled, 1);
	call->retry_after_ms = rules_retry_after_ms(until_us, now_us);
	return call_fail(call, ST_THROTTLED, "", "Too many failed attempts; try again in %u seconds",
	                 call->retry_after_ms / 1000);
}

static enum status ask(struct call *call, const struct throttle_keys *keys, struct sql_throttle_take_row *ret_answer)
{
	const struct session_state *state = call->run->state;
	int64_t waits[RULES_WAITS];

	for (int i = 0; i < RULES_WAITS; i++)
		waits[i] = rules_backoff_us(i + 1, RULES_BACKOFF_MAX_US);
	const struct sql_throttle_take params = {
	    .pair = BLOB(keys->pair),
	    .user = BLOB(keys->user),
	    .network = BLOB(keys->network),
	    .known = BLOB(keys->known),
	    .has_address = keys->has_address,
	    .waits = {waits, RULES_WAITS},
	    .gentle_us = RULES_BACKOFF_GENTLE_US,
	    .free = RULES_FREE_FAILURES,
	    .short_us = RULES_PAIR_SHORT_US,
	    .long_us = RULES_PAIR_LONG_US,
	    .window_us = RULES_LOGIN_WINDOW_US,
	    .clock_us = RULES_CLOCK_US,
	    .known_us = RULES_KNOWN_US,
	    .known_failures = RULES_KNOWN_FAILURES_MAX,
	    .limit = state->limits.login_failures,
	};
	return call_one(call, &sql_throttle_take, &params, ret_answer);
}

enum status throttle_take(struct call *call, const struct throttle_keys *keys, struct throttle_place *ret_place)
{
	struct sql_throttle_take_row answer;
	enum status status = ask(call, keys, &answer);

	if (status != ST_OK)
		return status;
	if (answer.until_us > answer.now_us)
		return refuse(call, answer.until_us, answer.now_us);
	struct throttle_place place = {.keys = *keys, .by_user = answer.by_user};
	if (answer.by_pair && (answer.by_user || answer.known)) {
		*ret_place = place;
		return ST_OK;
	}
	/* Other attempts took the last place meanwhile. */
	if (answer.by_pair)
		throttle_give_back(call, &place, NULL);
	return refuse(call, answer.now_us + US_PER_SEC, answer.now_us);
}

enum status throttle_give_back(struct call *call, const struct throttle_place *place, const struct packed *event)
{
	const struct sql_throttle_give_back params = {
	    .pair = BLOB(place->keys.pair), .user = BLOB(place->keys.user), .by_user = place->by_user};
	int64_t deadline_us = call->deadline_us, enough_us = clock_monotonic_us() + GIVE_BACK_WITHIN_US, rows;

	call->deadline_us = deadline_us < enough_us ? enough_us : deadline_us;
	enum status status = service_write(call, &sql_throttle_give_back, &params, event, &rows);
	call->deadline_us = deadline_us;
	/* Not given back it counts as a failure until it is forgotten. */
	if (status != ST_OK)
		log_event(LOG_WARN, "a place of a sign-in could not be given back", "status", status_name(status),
		          NULL);
	return status;
}

enum status throttle_record_failure(struct call *call, const struct throttle_place *place, const struct packed *event)
{
	const struct session_state *state = call->run->state;
	const struct sql_throttle_record_failure params = {
	    .network = BLOB(place->keys.network),
	    .has_address = place->keys.has_address,
	    .window_us = RULES_NETWORK_WINDOW_US,
	    .limit = state->limits.network_failures,
	    .clock_us = RULES_CLOCK_US,
	};
	int64_t rows;

	return service_write(call, &sql_throttle_record_failure, &params, event, &rows);
}
