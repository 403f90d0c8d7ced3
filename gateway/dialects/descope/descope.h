/* The Descope dialect: what its files share. */
#pragma once

#include "dialects/descope/wire.pb-c.h"
#include "dialects/dialect.h"
#include "dialects/document.h"

extern const struct pbjson_style descope_style;     /* style.c */
extern const struct dialect_error descope_errors[]; /* errors.c */
extern const struct dialect_route descope_routes[]; /* routes.c */

/* ---- map.c: one function in, one out of a route; answers of several steps ---- */
enum status descope_load_in(struct exchange *exchange, ProtobufCMessage **ret_request);
void descope_load_out(struct exchange *exchange, const ProtobufCMessage *reply);
enum status descope_create_in(struct exchange *exchange, ProtobufCMessage **ret_request);
void descope_user_out(struct exchange *exchange, const ProtobufCMessage *reply);
enum status descope_me_in(struct exchange *exchange, ProtobufCMessage **ret_request);
void descope_me_out(struct exchange *exchange, const ProtobufCMessage *reply);
void descope_answer_update(struct exchange *exchange);
void descope_answer_history(struct exchange *exchange);
void descope_answer_license(struct exchange *exchange);
