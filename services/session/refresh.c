/* Making, reading and deriving refresh tokens. */
#include "refresh.h"

#include <string.h>

#define PREFIX "drt_"
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define BODY_SIZE (ID_SIZE + 4 + REFRESH_SECRET_SIZE)
#define TOKEN_SIZE (BODY_SIZE + REFRESH_MAC_SIZE)

static void derive_key(const char *session_secret, const char *purpose, uint8_t ret_key[SHA256_SIZE])
{
	secret_hmac_sha256(session_secret, strlen(session_secret), purpose, strlen(purpose), ret_key);
}

void refresh_derive_keys(const char *session_secret, struct refresh_keys *ret_keys)
{
	derive_key(session_secret, "denizen session: refresh mac", ret_keys->mac);
	derive_key(session_secret, "denizen session: first refresh token", ret_keys->first);
	derive_key(session_secret, "denizen session: next refresh token", ret_keys->next);
	derive_key(session_secret, "denizen session: sign-in request", ret_keys->request);
	derive_key(session_secret, "denizen session: throttle", ret_keys->throttle);
}

static void put_uint32(uint8_t *ret_bytes, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		ret_bytes[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get_uint32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The mac also covers the project, which the token does not carry. */
static void make_mac(const struct refresh_keys *keys, const struct id *project, const uint8_t body[BODY_SIZE],
                     uint8_t ret_mac[SHA256_SIZE])
{
	uint8_t data[ID_SIZE + BODY_SIZE];
	memcpy(data, project->bytes, ID_SIZE);
	memcpy(data + ID_SIZE, body, BODY_SIZE);
	secret_hmac_sha256(keys->mac, sizeof(keys->mac), data, sizeof(data), ret_mac);
	secret_wipe(data, sizeof(data));
}

void refresh_format(const struct refresh_keys *keys, const struct id *project, const struct refresh_token *token,
                    char ret_text[REFRESH_TEXT_SIZE])
{
	_Static_assert(PREFIX_LEN + BASE64URL_SIZE(TOKEN_SIZE) <= REFRESH_TEXT_SIZE, "text fits");
	uint8_t bytes[TOKEN_SIZE];
	uint8_t mac[SHA256_SIZE];

	memcpy(bytes, token->session.bytes, ID_SIZE);
	put_uint32(bytes + ID_SIZE, token->generation);
	memcpy(bytes + ID_SIZE + 4, token->secret, REFRESH_SECRET_SIZE);
	make_mac(keys, project, bytes, mac);
	memcpy(bytes + BODY_SIZE, mac, REFRESH_MAC_SIZE);
	memcpy(ret_text, PREFIX, PREFIX_LEN);
	base64url_encode(bytes, sizeof(bytes), ret_text + PREFIX_LEN);
	secret_wipe(bytes, sizeof(bytes));
}

enum status refresh_parse(const struct refresh_keys *keys, const struct id *project, const char *text,
                          struct refresh_token *ret_token)
{
	uint8_t bytes[TOKEN_SIZE + 3];
	uint8_t mac[SHA256_SIZE];
	size_t len = sizeof(bytes);
	enum status status = ST_INVALID_TOKEN;

	if (!text || strnlen(text, REFRESH_TEXT_SIZE) >= REFRESH_TEXT_SIZE)
		return ST_INVALID_TOKEN;
	if (strncmp(text, PREFIX, PREFIX_LEN) != 0)
		return ST_INVALID_TOKEN;
	if (!base64url_decode(text + PREFIX_LEN, strlen(text + PREFIX_LEN), bytes, &len) || len != TOKEN_SIZE)
		goto out;
	make_mac(keys, project, bytes, mac);
	if (!secret_equal(mac, bytes + BODY_SIZE, REFRESH_MAC_SIZE))
		goto out;
	memcpy(ret_token->session.bytes, bytes, ID_SIZE);
	ret_token->generation = get_uint32(bytes + ID_SIZE);
	memcpy(ret_token->secret, bytes + ID_SIZE + 4, REFRESH_SECRET_SIZE);
	status = ST_OK;
out:
	secret_wipe(bytes, sizeof(bytes));
	return status;
}

void refresh_derive_first(const struct refresh_keys *keys, const struct id *project, const struct id *session,
                          const uint8_t salt[REFRESH_SALT_SIZE], struct refresh_token *ret_token)
{
	uint8_t data[ID_SIZE + ID_SIZE + REFRESH_SALT_SIZE];

	memcpy(data, project->bytes, ID_SIZE);
	memcpy(data + ID_SIZE, session->bytes, ID_SIZE);
	memcpy(data + 2 * ID_SIZE, salt, REFRESH_SALT_SIZE);
	ret_token->session = *session;
	ret_token->generation = 1;
	secret_hmac_sha256(keys->first, sizeof(keys->first), data, sizeof(data), ret_token->secret);
}

void refresh_derive_next(const struct refresh_keys *keys, const struct refresh_token *token,
                         const uint8_t salt[REFRESH_SALT_SIZE], struct refresh_token *ret_next)
{
	uint8_t data[REFRESH_SALT_SIZE + REFRESH_SECRET_SIZE + 4];
	struct refresh_token next = {.session = token->session, .generation = token->generation + 1};

	memcpy(data, salt, REFRESH_SALT_SIZE);
	memcpy(data + REFRESH_SALT_SIZE, token->secret, REFRESH_SECRET_SIZE);
	put_uint32(data + REFRESH_SALT_SIZE + REFRESH_SECRET_SIZE, next.generation);
	secret_hmac_sha256(keys->next, sizeof(keys->next), data, sizeof(data), next.secret);
	*ret_next = next;
	secret_wipe(data, sizeof(data));
	secret_wipe(&next, sizeof(next));
}

void refresh_hash(const struct refresh_token *token, uint8_t ret_hash[SHA256_SIZE])
{
	secret_sha256(token->secret, sizeof(token->secret), ret_hash);
}
