/* Keys of the failure counters and the door before password hashing. */
#include "throttle.h"

#include "service.h"
#include "store.h"

#include <string.h>

/* Addresses of one IPv4 /24 or IPv6 /48 are one network. */
#define NETWORK_V4_BITS 24
#define NETWORK_V6_BITS 48

struct key_parts {
	const struct id *project;
	struct address network;
	size_t network_len; /* 0 = not told */
	const char *login;
	size_t login_len;
};

/* kind | project | length of the network | network | login id */
static void make_key(const uint8_t key[SHA256_SIZE], enum throttle_kind kind, const struct key_parts *parts,
                     uint8_t ret_key[THROTTLE_KEY_SIZE])
{
	uint8_t data[1 + ID_SIZE + 1 + sizeof(struct address) + LOGIN_MAX_BYTES];
	uint8_t mac[SHA256_SIZE];
	size_t len = 0;

	data[len++] = (uint8_t)kind;
	memcpy(data + len, parts->project->bytes, ID_SIZE);
	len += ID_SIZE;
	size_t network_len = kind == THROTTLE_LOGIN ? 0 : parts->network_len;
	data[len++] = (uint8_t)network_len;
	memcpy(data + len, parts->network.bytes, network_len);
	len += network_len;
	size_t login_len = kind == THROTTLE_NETWORK ? 0 : parts->login_len;
	memcpy(data + len, parts->login, login_len);
	len += login_len;
	secret_hmac_sha256(key, SHA256_SIZE, data, len, mac);
	memcpy(ret_key, mac, THROTTLE_KEY_SIZE);
}

void throttle_make_keys(const uint8_t key[SHA256_SIZE], const struct id *project, const char *login,
                        const struct address *address, struct throttle_keys *ret_keys)
{
	struct key_parts parts = {.project = project, .login = login, .login_len = strnlen(login, LOGIN_MAX_BYTES)};

	if (address) {
		parts.network = *address;
		parts.network_len = sizeof(parts.network);
		address_mask(&parts.network, NETWORK_V4_BITS, NETWORK_V6_BITS);
	}
	make_key(key, THROTTLE_PAIR, &parts, ret_keys->pair);
	make_key(key, THROTTLE_LOGIN, &parts, ret_keys->login);
	make_key(key, THROTTLE_NETWORK, &parts, ret_keys->network);
	ret_keys->has_address = address;
}

/* Guesses that may be under way for one login id from one network: 64 with a clean record, 1 soon after. */
static uint32_t flights_allowed(int64_t failures)
{
	return failures >= 6 ? 1 : THROTTLE_PAIR_FLIGHTS_MAX >> failures;
}

/* Takes a slot for the pair. False when the pair or the table is full. */
static bool take_slot(struct throttle_flights *flights, const uint8_t pair[THROTTLE_KEY_SIZE], size_t *ret_slot)
{
	size_t slot = THROTTLE_FLIGHTS_MAX;

	for (size_t i = 0; i < THROTTLE_FLIGHTS_MAX; i++) {
		if (flights->slots[i].count == 0) {
			slot = slot == THROTTLE_FLIGHTS_MAX ? i : slot;
		} else if (memcmp(flights->slots[i].pair, pair, THROTTLE_KEY_SIZE) == 0) {
			slot = i;
			break;
		}
	}
	if (slot == THROTTLE_FLIGHTS_MAX || flights->slots[slot].count >= THROTTLE_PAIR_FLIGHTS_MAX)
		return false;
	memcpy(flights->slots[slot].pair, pair, THROTTLE_KEY_SIZE);
	flights->slots[slot].count++;
	*ret_slot = slot;
	return true;
}

void throttle_leave(struct throttle_flights *flights, size_t slot)
{
	flights->slots[slot].count--;
}

static enum status refuse(struct call *call, int64_t until_us, int64_t now_us)
{
	struct session_state *state = call->run->state;

	metric_add(state->throttled, 1);
	call->retry_after_ms = rules_retry_after_ms(until_us, now_us);
	return call_fail(call, ST_THROTTLED, "", "Too many failed attempts; try again in %u seconds",
	                 call->retry_after_ms / 1000);
}

enum status throttle_enter(struct call *call, const struct store *store, const struct throttle_keys *keys,
                           size_t *ret_slot)
{
	struct session_state *state = call->run->state;
	struct rules_attempt attempt = {.has_address = keys->has_address};
	int64_t now_us = clock_wall_us();
	size_t slot;

	/* The slot comes before the read: whoever reads a clean record is already counted among those under way. */
	if (!take_slot(&state->flights, keys->pair, &slot))
		return refuse(call, now_us + US_PER_SEC, now_us);
	enum status status = store_read_attempt(store, keys, now_us, &attempt);
	if (status == ST_OK) {
		int64_t until_us = rules_throttled_until_us(&attempt, &state->limits, now_us);
		if (until_us == 0 && state->flights.slots[slot].count > flights_allowed(attempt.pair.failures))
			until_us = now_us + US_PER_SEC;
		if (until_us != 0)
			status = refuse(call, until_us, now_us);
	}
	if (status == ST_OK)
		*ret_slot = slot;
	else
		throttle_leave(&state->flights, slot);
	return status;
}
