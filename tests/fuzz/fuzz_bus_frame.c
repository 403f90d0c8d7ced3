/* Fuzz target: the frame of the bus and its header: the parts lie inside the frame, and the shortest prefix is written back. */
#include "bus/bus_frame.h"
#include "envelope.pb-c.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t head_at, body_at;
	uint8_t prefix[BUS_FRAME_PREFIX_MAX];
	if (!bus_frame_split(data, size, &head_at, &body_at))
		return 0;
	must(head_at >= 1 && head_at <= body_at && body_at <= size);
	size_t len = bus_frame_prefix(body_at - head_at, prefix);
	must(len >= 1 && len <= head_at && (len < head_at || memcmp(prefix, data, len) == 0));
	Bus__Header *header = bus__header__unpack(NULL, body_at - head_at, data + head_at);
	if (header)
		bus__header__free_unpacked(header, NULL);
	return 0;
}
