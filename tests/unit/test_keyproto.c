/* keyproto: the frame of the vector, frames in pieces and in excess, and the table of who may send what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/keyproto.h"
#include "tests/vectors/keys.h"

static void
test_vector(void **state)
{
	uint8_t payload[100], bytes[sizeof(kv_frame)];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));
	struct bs_frame frame;

	(void)state;
	bs_wr_str16(&wr, KV_NAME, strlen(KV_NAME));
	assert_int_equal(bs_keyproto_frame(bytes, sizeof(bytes), BS_OP_RECORD, BS_OK, 0x01020304, payload, wr.len),
	    sizeof(kv_frame));
	assert_memory_equal(bytes, kv_frame, sizeof(kv_frame));
	assert_int_equal(bs_keyproto_frame(bytes, sizeof(bytes) - 1, BS_OP_RECORD, BS_OK, 1, payload, wr.len), 0);
	assert_int_equal(bs_keyproto_parse(kv_frame, sizeof(kv_frame), BS_FRAME_MAX, &frame), BS_OK);
	assert_int_equal(frame.version, BS_KEYPROTO_VERSION);
	assert_int_equal(frame.opcode, BS_OP_RECORD);
	assert_int_equal(frame.status, 0);
	assert_int_equal(frame.request_id, 0x01020304);
	assert_int_equal(frame.payload_len, wr.len);
	assert_memory_equal(frame.payload, payload, wr.len);
	assert_int_equal(frame.len, sizeof(kv_frame));
}

/* Whatever is missing, the answer is "read more"; in blocks of that length, so that ASan sees a byte too far. */
static void
test_pieces(void **state)
{
	struct bs_frame frame;

	(void)state;
	for (size_t len = 0; len < sizeof(kv_frame); len++) {
		uint8_t *bytes = malloc(len + (len == 0));

		assert_non_null(bytes);
		memcpy(bytes, kv_frame, len);
		assert_int_equal(bs_keyproto_parse(bytes, len, BS_FRAME_MAX, &frame), BS_ERR_SHORT);
		free(bytes);
	}
}

static void
test_two_frames_in_one_read(void **state)
{
	uint8_t bytes[100];
	struct bs_frame frame;
	size_t n = bs_keyproto_frame(bytes, sizeof(bytes), BS_OP_STATUS, BS_OK, 7, NULL, 0);

	(void)state;
	assert_int_equal(n, BS_FRAME_HEADER_LEN);
	assert_int_equal(bs_keyproto_frame(bytes + n, sizeof(bytes) - n, BS_OP_CLOSE, BS_ERR_TOKEN, 8, "xy", 2), n + 2);
	assert_int_equal(bs_keyproto_parse(bytes, sizeof(bytes), BS_FRAME_MAX, &frame), BS_OK);
	assert_int_equal(frame.request_id, 7);
	assert_int_equal(frame.payload_len, 0);
	assert_int_equal(frame.len, n);
	assert_int_equal(bs_keyproto_parse(bytes + frame.len, sizeof(bytes) - n, BS_FRAME_MAX, &frame), BS_OK);
	assert_int_equal(frame.request_id, 8);
	assert_int_equal(frame.status, BS_ERR_TOKEN);
	assert_int_equal(frame.len, n + 2);
}

/* Judged by the length field alone: nobody may make us wait for, or hold, what we would refuse. */
static void
test_lengths(void **state)
{
	struct bs_frame frame;

	(void)state;
	assert_int_equal(bs_keyproto_parse("\0\0\0\0", 4, BS_FRAME_MAX, &frame), BS_ERR_FORMAT);
	assert_int_equal(bs_keyproto_parse("\0\0\0\7", 4, BS_FRAME_MAX, &frame), BS_ERR_FORMAT);
	assert_int_equal(bs_keyproto_parse("\0\0\0\10", 4, BS_FRAME_MAX, &frame), BS_ERR_SHORT);
	assert_int_equal(bs_keyproto_parse("\xff\xff\xff\xff", 4, BS_FRAME_MAX, &frame), BS_ERR_LIMIT);
	assert_int_equal(bs_keyproto_parse("\xff\xff\xff\xff", 4, SIZE_MAX, &frame), BS_ERR_LIMIT);
	assert_int_equal(bs_keyproto_parse("\0\0\0\x60", 4, 100, &frame), BS_ERR_SHORT);
	assert_int_equal(bs_keyproto_parse("\0\0\0\x61", 4, 100, &frame), BS_ERR_LIMIT);
	assert_int_equal(bs_keyproto_parse("\0\0\0\10", 4, 3, &frame), BS_ERR_LIMIT);
	assert_int_equal(bs_keyproto_parse("\0\0\0\10\2", 5, BS_FRAME_MAX, &frame), BS_ERR_VERSION);
}

static void
test_frame_never_passes_its_maximum(void **state)
{
	uint8_t *out = malloc(BS_FRAME_MAX + 1), *payload = calloc(1, BS_FRAME_MAX);
	size_t max = BS_FRAME_MAX - BS_FRAME_HEADER_LEN;

	(void)state;
	assert_non_null(out);
	assert_non_null(payload);
	assert_int_equal(bs_keyproto_frame(out, BS_FRAME_MAX + 1, 1, BS_OK, 1, payload, max), BS_FRAME_MAX);
	assert_int_equal(bs_keyproto_frame(out, BS_FRAME_MAX + 1, 1, BS_OK, 1, payload, max + 1), 0);
	assert_int_equal(bs_keyproto_frame(out, BS_FRAME_MAX + 1, 1, BS_OK, 1, payload, SIZE_MAX - 4), 0);
	free(payload);
	free(out);
}

/* Written out a second time on purpose: a change of the table must be meant. */
static void
test_permitted(void **state)
{
	unsigned want[256] = { 0 };

	(void)state;
	want[BS_OP_LOGIN] = want[BS_OP_LOGIN_MEMBER] = want[BS_OP_ENROL_LOGIN] = BS_PEER_AUTH;
	for (unsigned op = BS_OP_SLOTS; op <= BS_OP_KEYSET_DIGEST; op++)
		want[op] = BS_PEER_CONTROL;
	want[BS_OP_KEYSET_OF] = BS_PEER_DELIVERY;
	want[BS_OP_EXISTS] = BS_PEER_AUTH | BS_PEER_DELIVERY;
	want[BS_OP_RECORD] = BS_PEER_AUTH | BS_PEER_MAIL | BS_PEER_DELIVERY | BS_PEER_CONTROL;
	want[BS_OP_ATTACH] = want[BS_OP_UNWRAP] = want[BS_OP_SUBKEY] = want[BS_OP_KEYSET] = want[BS_OP_CLOSE] = BS_PEER_MAIL;
	want[BS_OP_RESUME_TOKEN] = want[BS_OP_DROP_TOKEN] = want[BS_OP_HOLDS] = BS_PEER_MAIL;
	want[BS_OP_ENROL] = want[BS_OP_PASSWD] = want[BS_OP_REMOVE] = want[BS_OP_STATUS] = want[BS_OP_SET_FLAGS] =
	    BS_PEER_CONTROL;
	for (unsigned op = 0; op < 256; op++)
		assert_int_equal(bs_keyproto_permitted((uint8_t)op), want[op]);
}

static void
test_status(void **state)
{
	(void)state;
	assert_int_equal(bs_keyproto_status(0), BS_OK);
	assert_int_equal(bs_keyproto_status(14), BS_ERR_DENIED);
	assert_int_equal(bs_keyproto_status(BS_ERR_COUNT), BS_ERR_FORMAT);
	assert_int_equal(bs_keyproto_status(65535), BS_ERR_FORMAT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vector),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_two_frames_in_one_read),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_frame_never_passes_its_maximum),
		cmocka_unit_test(test_permitted),
		cmocka_unit_test(test_status),
	};

	return cmocka_run_group_tests_name("keyproto", tests, NULL, NULL);
}
