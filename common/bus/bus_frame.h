/* The frame of a bus message: the length of the header as a varint (protobuf encoding, at most three bytes), the header
 * (bus.Header), the body. The frame of a hint: the topic, by whose first bytes a SUB filters, and the message.
 * Needs no library: the subscriber's one (sdk/c) shares it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUS_FRAME_PREFIX_MAX 3
#define BUS_FRAME_HEAD_MAX_BYTES ((1u << 21) - 1)
#define BUS_TOPIC_BYTES 16

/* Writes the length of a header; returns the bytes used, 0 when it is too long. */
static inline size_t bus_frame_prefix(size_t head_len, uint8_t ret_prefix[BUS_FRAME_PREFIX_MAX])
{
	size_t len = 0;
	if (head_len > BUS_FRAME_HEAD_MAX_BYTES)
		return 0;
	for (; head_len >= 0x80; head_len >>= 7)
		ret_prefix[len++] = (uint8_t)(head_len | 0x80);
	ret_prefix[len++] = (uint8_t)head_len;
	return len;
}

/* Where header and body begin in a received frame; the body reaches to its end. False when it is no frame. */
static inline bool bus_frame_split(const uint8_t *frame, size_t len, size_t *ret_head_at, size_t *ret_body_at)
{
	size_t head_len = 0;
	for (size_t at = 0; at < BUS_FRAME_PREFIX_MAX && at < len; at++) {
		head_len |= (size_t)(frame[at] & 0x7f) << (7 * at);
		if (frame[at] >= 0x80)
			continue;
		if (head_len > len - at - 1)
			return false;
		*ret_head_at = at + 1;
		*ret_body_at = at + 1 + head_len;
		return true;
	}
	return false;
}
