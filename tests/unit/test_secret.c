/* Secrets: known answers from the standards, ids, pasted secrets, encodings, encryption at rest. */
#include "base/secret.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void expect_hex(const uint8_t hash[SHA256_SIZE], const char *hex)
{
	char text[2 * SHA256_SIZE + 1];
	hex_encode(hash, SHA256_SIZE, text);
	cr_assert_str_eq(text, hex);
}

Test(secret, sha256_and_hmac_known_answers)
{
	uint8_t hash[SHA256_SIZE], key[131];
	secret_init();
	secret_sha256("abc", 3, hash);
	expect_hex(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	secret_sha256(NULL, 0, hash);
	expect_hex(hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	const struct secret_piece pieces[] = {{"a", 1}, {NULL, 0}, {"bc", 2}};
	secret_sha256_pieces(pieces, 3, hash);
	expect_hex(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	/* RFC 4231 test cases 2 and 6. */
	secret_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, hash);
	expect_hex(hash, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof(key));
	secret_hmac_sha256(key, sizeof(key), "Test Using Larger Than Block-Size Key - Hash Key First", 54, hash);
	expect_hex(hash, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	secret_hmac_sha256(NULL, 0, NULL, 0, hash);
	expect_hex(hash, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

Test(secret, random_wipe_equal)
{
	static uint8_t a[200000], b[200000];
	secret_random(a, sizeof(a));
	secret_random(b, sizeof(b));
	cr_assert_not(secret_equal(a, b, sizeof(a)));
	cr_assert_not(secret_equal(a + sizeof(a) - 16, b + sizeof(a) - 16, 16));
	memcpy(b, a, sizeof(a));
	cr_assert(secret_equal(a, b, sizeof(a)));
	secret_wipe(a, sizeof(a));
	for (size_t i = 0; i < sizeof(a); i++)
		cr_assert_eq(a[i], 0);
	secret_wipe(NULL, 0);
	secret_random(NULL, 0);
	cr_assert(secret_equal("", "x", 0));
}

#define IDS 20000

static void *make_ids(void *ids)
{
	struct id *id = ids;
	for (int i = 0; i < IDS; i++)
		id[i] = id_new();
	return NULL;
}

static int compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, ID_SIZE);
}

Test(secret, ids_rise_and_never_repeat)
{
	static struct id ids[4][IDS];
	pthread_t threads[4];
	int64_t before_ms = clock_wall_us() / 1000;
	for (int t = 0; t < 4; t++)
		cr_assert_eq(pthread_create(&threads[t], NULL, make_ids, ids[t]), 0);
	for (int t = 0; t < 4; t++)
		pthread_join(threads[t], NULL);
	for (int t = 0; t < 4; t++)
		for (int i = 0; i < IDS; i++) {
			const uint8_t *bytes = ids[t][i].bytes;
			cr_assert_eq(bytes[6] >> 4, 7);
			cr_assert_eq(bytes[8] >> 6, 2);
			cr_assert(i == 0 || compare_ids(&ids[t][i - 1], &ids[t][i]) < 0);
		}
	int64_t first_ms = 0;
	for (int i = 0; i < 6; i++)
		first_ms = first_ms << 8 | ids[0][0].bytes[i];
	cr_assert_geq(first_ms, before_ms);
	cr_assert_leq(first_ms, clock_wall_us() / 1000);
	qsort(ids, 4 * IDS, sizeof(struct id), compare_ids);
	for (int i = 1; i < 4 * IDS; i++)
		cr_assert_neq(memcmp(&ids[0][0] + i - 1, &ids[0][0] + i, 8), 0);
}

Test(secret, id_text)
{
	/* Valid examples of the TypeID specification 0.3. */
	static const struct {
		const char *text, *hex;
	} cases[] = {
	    {"nil_00000000000000000000000000", "00000000000000000000000000000000"},
	    {"one_00000000000000000000000001", "00000000000000000000000000000001"},
	    {"ten_0000000000000000000000000a", "0000000000000000000000000000000a"},
	    {"sixteen_0000000000000000000000000g", "00000000000000000000000000000010"},
	    {"thirtytwo_00000000000000000000000010", "00000000000000000000000000000020"},
	    {"max_7zzzzzzzzzzzzzzzzzzzzzzzzz", "ffffffffffffffffffffffffffffffff"},
	    {"valid_0123456789abcdefghjkmnpqrs", "0110c8531d0952d8d73e1194e95b5f19"},
	    {"prefix_01h455vb4pex5vsknk084sn02q", "01890a5dac96774bbcceb302099a8057"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct id id, back;
		char prefix[16] = "", text[ID_TEXT_SIZE];
		memcpy(prefix, cases[i].text, strcspn(cases[i].text, "_"));
		cr_assert(hex_decode(cases[i].hex, 32, id.bytes));
		id_format(prefix, &id, text);
		cr_assert_str_eq(text, cases[i].text);
		cr_assert(id_parse(prefix, text, &back));
		cr_assert(id_equal(&id, &back));
		cr_assert_eq(id_is_zero(&id), i == 0);
	}
	for (int i = 0; i < 1000; i++) {
		struct id id = id_new(), back;
		char text[ID_TEXT_SIZE];
		id_format("usr", &id, text);
		cr_assert(id_parse("usr", text, &back) && id_equal(&id, &back));
	}
}

Test(secret, id_text_refused)
{
	static const char *const cases[] = {
	    "",
	    "usr",
	    "usr_",
	    "usr_01h455vb4pex5vsknk084sn02",
	    "usr_01h455vb4pex5vsknk084sn02qq",
	    "usr_81h455vb4pex5vsknk084sn02q",
	    "usr_01h455vb4pex5vsknk084sn02Q",
	    "usr_01h455vb4pex5vsknk084sn02i",
	    "usr_01h455vb4pex5vsknk084sn02l",
	    "usr_01h455vb4pex5vsknk084sn02o",
	    "usr_01h455vb4pex5vsknk084sn02u",
	    "usr_01h455vb4pex5vsknk084sn0-q",
	    "USR_01h455vb4pex5vsknk084sn02q",
	    "prj_01h455vb4pex5vsknk084sn02q",
	    "usr-01h455vb4pex5vsknk084sn02q",
	    "us_01h455vb4pex5vsknk084sn02q",
	    " usr_01h455vb4pex5vsknk084sn02q",
	    "usr_01h455vb4pex5vsknk084sn02q\n",
	    "usr_01h455vb4pex5vsknk084sn02\xff",
	    "usr_z1h455vb4pex5vsknk084sn02q",
	};
	struct id id = {{1}}, untouched = id;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_not(id_parse("usr", cases[i], &id), "%s", cases[i]);
	cr_assert_not(id_parse("usr", NULL, &id));
	cr_assert(id_equal(&id, &untouched));
}

Test(secret, id_derive)
{
	struct id from = id_new(), other = id_new();
	struct id a = id_derive(&from, "a"), again = id_derive(&from, "a"), b = id_derive(&from, "b");
	struct id c = id_derive(&other, "a");
	cr_assert(id_equal(&a, &again));
	cr_assert_not(id_equal(&a, &b));
	cr_assert_not(id_equal(&a, &c));
}

Test(secret, pasted_secrets)
{
	char text[SECRET_TEXT_SIZE], other[SECRET_TEXT_SIZE];
	secret_new_text("dmk", text);
	secret_new_text("dmk", other);
	cr_assert_str_neq(text, other);
	cr_assert_eq(strlen(text), 4 + 43 + 6);
	cr_assert(secret_text_valid("dmk", text));
	cr_assert_not(secret_text_valid("dmx", text));
	cr_assert_not(secret_text_valid("dm", text));
	cr_assert_not(secret_text_valid("dmk", NULL));
	cr_assert_not(secret_text_valid("dmk", ""));
	for (size_t i = 0; i < strlen(text); i++) {
		char kept = text[i];
		text[i] = kept == 'A' ? 'B' : 'A';
		cr_assert_not(secret_text_valid("dmk", text), "changed at %zu", i);
		text[i] = '=';
		cr_assert_not(secret_text_valid("dmk", text));
		text[i] = '\0';
		cr_assert_not(secret_text_valid("dmk", text));
		text[i] = kept;
	}
	cr_assert(secret_text_valid("dmk", text));
	memcpy(text + strlen(text), "A", 2);
	cr_assert_not(secret_text_valid("dmk", text));
}

Test(secret, base64url)
{
	static const char *const pairs[][2] = {
	    {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},         {"foo", "Zm9v"},
	    {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}};
	static const char *const bad[] = {"Z",    "Zg=",  "Zg==",  "Zh",   "Zm9",  "Zm9vYmF",
	                                  "Zm+v", "Zm/v", "Zm9\n", "Zm 9", "Zm9vY"};
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		char text[BASE64URL_SIZE(6)];
		uint8_t data[6];
		size_t len = sizeof(data);
		cr_assert_eq(base64url_encode(pairs[i][0], i, text), strlen(pairs[i][1]));
		cr_assert_str_eq(text, pairs[i][1]);
		cr_assert(base64url_decode(text, strlen(text), data, &len));
		cr_assert_eq(len, i);
		cr_assert_eq(memcmp(data, pairs[i][0], len), 0);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t data[8] = {9};
		size_t len = sizeof(data);
		cr_assert_not(base64url_decode(bad[i], strlen(bad[i]), data, &len), "%s", bad[i]);
		cr_assert_eq(len, sizeof(data));
		cr_assert_eq(data[0], 9);
	}
	uint8_t small[2];
	size_t room = sizeof(small);
	cr_assert_not(base64url_decode("Zm9v", 4, small, &room));
	for (size_t len = 0; len < 100; len++) {
		uint8_t data[100], back[100];
		char text[BASE64URL_SIZE(100)];
		size_t back_len = sizeof(back);
		secret_random(data, len);
		size_t chars = base64url_encode(data, len, text);
		cr_assert_lt(chars, BASE64URL_SIZE(len));
		cr_assert(base64url_decode(text, chars, back, &back_len) && back_len == len);
		cr_assert_eq(memcmp(data, back, len), 0);
	}
}

Test(secret, hex)
{
	char text[9];
	uint8_t data[4] = {0};
	hex_encode("\x00\x7f\xab\xff", 4, text);
	cr_assert_str_eq(text, "007fabff");
	cr_assert(hex_decode("007FabfF", 8, data));
	cr_assert_eq(memcmp(data, "\x00\x7f\xab\xff", 4), 0);
	cr_assert_not(hex_decode("007", 3, data));
	cr_assert_not(hex_decode("0g", 2, data));
	cr_assert_not(hex_decode("\xff\xff", 2, data));
	cr_assert(hex_decode("", 0, data));
}

Test(secret, seal_and_open)
{
	uint8_t key[SEAL_KEY_SIZE], plain[64], sealed[64 + SEAL_OVERHEAD], again[64 + SEAL_OVERHEAD], opened[64];
	secret_random(key, sizeof(key));
	secret_random(plain, sizeof(plain));
	for (size_t len = 0; len <= sizeof(plain); len += 16) {
		const struct secret_piece in = {plain, len};
		struct secret_piece out = {sealed, len + SEAL_OVERHEAD};
		secret_seal(key, "row", 3, &in, sealed);
		secret_seal(key, "row", 3, &in, again);
		cr_assert_neq(memcmp(sealed, again, out.len), 0);
		cr_assert_eq(secret_open(key, "row", 3, &out, opened), ST_OK);
		cr_assert_eq(memcmp(opened, plain, len), 0);
		cr_assert_eq(secret_open(key, "rox", 3, &out, opened), ST_INVALID_TOKEN);
		cr_assert_eq(secret_open(key, NULL, 0, &out, opened), ST_INVALID_TOKEN);
		for (size_t i = 0; i < out.len; i++) {
			sealed[i] ^= 1;
			cr_assert_eq(secret_open(key, "row", 3, &out, opened), ST_INVALID_TOKEN);
			sealed[i] ^= 1;
		}
		out.len--;
		cr_assert_eq(secret_open(key, "row", 3, &out, opened), ST_INVALID_TOKEN);
		out.len++;
		key[0] ^= 1;
		cr_assert_eq(secret_open(key, "row", 3, &out, opened), ST_INVALID_TOKEN);
		key[0] ^= 1;
	}
	const struct secret_piece nothing = {sealed, 0};
	cr_assert_eq(secret_open(key, NULL, 0, &nothing, opened), ST_INVALID_TOKEN);
}
