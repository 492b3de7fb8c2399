/* fuzz_keyproto: frames. What parses is framed again as the same bytes, and every field of a payload can be read. */
#include <stdlib.h>
#include <string.h>

#include "common/keyproto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
need(bool ok)
{
	if (!ok)
		abort();
}

/* Reads fields of all kinds, as the first byte of the payload says, and touches each byte that it got. */
static unsigned
read_fields(const struct bs_frame *frame)
{
	struct bs_rd rd = bs_rd_init(frame->payload, frame->payload_len);
	unsigned kinds = bs_rd_u8(&rd), sum = 0;
	char text[32];

	while (!rd.failed && rd.left > 0) {
		size_t len = 0;
		const uint8_t *p = NULL;

		text[0] = '\0';
		if ((kinds & 3) == 0)
			p = bs_rd_str16(&rd, &len);
		else if ((kinds & 3) == 1)
			p = bs_rd_str32(&rd, &len);
		else if ((kinds & 3) == 2)
			bs_rd_cstr16(&rd, text, sizeof(text));
		else
			sum += (unsigned)bs_rd_u64(&rd) + bs_rd_u24(&rd);
		need(strlen(text) < sizeof(text));
		for (size_t i = 0; p != NULL && i < len; i++)
			sum += p[i];
		kinds = kinds >> 2 | kinds << 6;
	}
	return sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t again[BS_FRAME_MAX];
	static volatile unsigned sink;
	struct bs_frame frame;
	size_t done = 0;

	while (bs_keyproto_parse(data + done, size - done, BS_FRAME_MAX, &frame) == BS_OK) {
		need(frame.len >= BS_FRAME_HEADER_LEN && frame.len <= size - done);
		need(frame.payload_len == frame.len - BS_FRAME_HEADER_LEN);
		need(bs_keyproto_frame(again, sizeof(again), frame.opcode, (enum bs_err)frame.status, frame.request_id,
		    frame.payload, frame.payload_len) == frame.len);
		need(memcmp(again, data + done, frame.len) == 0);
		need(bs_keyproto_status(frame.status) < BS_ERR_COUNT);
		need(bs_keyproto_permitted(frame.opcode) < 16);
		sink += read_fields(&frame);
		done += frame.len;
	}
	return 0;
}
