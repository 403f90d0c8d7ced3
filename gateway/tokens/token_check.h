/* Access tokens checked here: signature once per token (60 s), revocation on every call; when the ledger's feed paused or was behind, the
 * session service is asked. Any thread. */
#pragma once

#include "http/request.h"
#include "tokens/revocation.h"
#include "tokens/token_cache.h"

struct follow;
struct keysets;
struct token_checker;

/* issuer: base URL of the tokens' issuers, borrowed. lifetime_sec: so long revocations are remembered: a token that lives longer is not
 * believed. revocation and keysets are borrowed. NULL without memory. */
struct token_checker *token_checker_new(const char *issuer, int64_t lifetime_sec, struct revocation *revocation,
                                        struct keysets *keysets);
void token_checker_free(struct token_checker **checker);

/* The feed that fills revocation (borrowed); before the first check. */
void token_checker_follow(struct token_checker *checker, struct follow *follow);

/* Signing keys of a project changed: they are read again, and its tokens checked again. project NULL = of all. */
void token_checker_forget_keys(struct token_checker *checker, const struct id *project);

/* Checks a token of the exchange's project (exchange->caller.project) and prints the answer of RFC 7662 into
 * out, which is empty. ST_OK: valid now.
 * ST_INVALID_TOKEN: not valid, whatever the reason. Else it could not be decided; exchange->failure may tell why. */
MUST_USE enum status token_check(struct token_checker *checker, struct exchange *exchange, const char *token,
                                 struct token_state *ret_state, struct buf *out);

/* The claim act (RFC 8693 section 4.1) of a verified payload: who acts in the user's name; "" = nobody. */
void token_read_actor(const char *payload, struct arena *arena, char ret_actor[ID_TEXT_SIZE]);
