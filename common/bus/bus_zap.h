/* ZAP handler (RFC 27/ZAP): admits bus connections whose CURVE key is in the allow-list. Runs on the loop's thread. */
#pragma once

#include "bus/bus_config.h"

struct zap;

/* Binds inproc://zeromq.zap.01 in the loop's context. Call before any server socket is bound. public_dir is borrowed. */
struct zap *zap_start(struct loop *loop, const char *public_dir);
void zap_stop(struct zap **zap);

/* Who a connection belongs to, by the user id that ZAP gave it; NULL when its key was removed since. */
const struct allow_entry *zap_find(struct zap *zap, const char *user_id);
