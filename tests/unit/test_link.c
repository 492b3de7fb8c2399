/* chan and link: bytes and messages between the roles, over a real socketpair. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "keyd/link.h"

struct pair {
	struct chan a, b;
};

static int
setup(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));
	int fds[2];

	if (p == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return -1;
	chan_init(&p->a, fds[0], 2 * LINK_MAX, 4 * LINK_MAX);
	chan_init(&p->b, fds[1], 2 * LINK_MAX, 4 * LINK_MAX);
	*state = p;
	return 0;
}

static int
teardown(void **state)
{
	struct pair *p = *state;

	chan_clear(&p->a);
	chan_clear(&p->b);
	free(p);
	return 0;
}

/* Moves all that a has queued into b. */
static void
carry(struct pair *p)
{
	enum bs_err err;

	do {
		assert_int_equal(chan_flush(&p->a), BS_OK);
		err = chan_read(&p->b);
		assert_true(err == BS_OK || err == BS_ERR_SHORT);
	} while (chan_queued(&p->a) > 0 || err == BS_OK);
}

static void
test_messages_in_order(void **state)
{
	struct pair *p = *state;
	struct link_msg msg;
	uint8_t *big = malloc(300000);

	assert_non_null(big);
	memset(big, 7, 300000);
	assert_int_equal(link_put(&p->a, LINK_OPEN, 5, "abc", 3), BS_OK);
	assert_int_equal(link_put(&p->a, LINK_FRAME, UINT64_MAX, big, 300000), BS_OK);
	assert_int_equal(link_put(&p->a, LINK_CLOSE, 6, NULL, 0), BS_OK);
	carry(p);
	assert_int_equal(link_peek(&p->b, &msg), BS_OK);
	assert_true(msg.type == LINK_OPEN && msg.id == 5 && msg.len == 3 && memcmp(msg.payload, "abc", 3) == 0);
	link_take(&p->b, &msg);
	assert_int_equal(link_peek(&p->b, &msg), BS_OK);
	assert_true(msg.type == LINK_FRAME && msg.id == UINT64_MAX && msg.len == 300000);
	assert_memory_equal(msg.payload, big, 300000);
	link_take(&p->b, &msg);
	assert_int_equal(link_peek(&p->b, &msg), BS_OK);
	assert_true(msg.type == LINK_CLOSE && msg.id == 6 && msg.len == 0);
	link_take(&p->b, &msg);
	assert_int_equal(link_peek(&p->b, &msg), BS_ERR_SHORT);
	assert_null(p->b.in); /* an empty channel holds no memory */
	free(big);
}

static void
test_a_message_by_single_bytes(void **state)
{
	struct pair *p = *state;
	struct link_msg msg;
	const uint8_t *bytes;
	uint8_t copy[64];
	size_t len;

	assert_int_equal(link_put(&p->a, LINK_FRAME, 9, "hello", 5), BS_OK);
	len = chan_queued(&p->a);
	carry(p);
	bytes = chan_in(&p->b, &len);
	memcpy(copy, bytes, len);
	chan_consume(&p->b, len);
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(link_peek(&p->b, &msg), BS_ERR_SHORT);
		assert_int_equal(chan_write(&p->a, copy + i, 1), BS_OK);
		carry(p);
	}
	assert_int_equal(link_peek(&p->b, &msg), BS_OK);
	assert_true(msg.id == 9 && msg.len == 5);
}

static void
test_lengths_that_lie(void **state)
{
	static const uint8_t bad[][LINK_HEADER_LEN] = {
		{ 0, 0, 0, 0 }, { 0, 0, 0, LINK_HEADER_LEN - 5 }, { 0xff, 0xff, 0xff, 0xff }, { 0, 0x10, 0, 0 },
	};
	struct pair *p = *state;
	struct link_msg msg;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(chan_write(&p->a, bad[i], LINK_HEADER_LEN), BS_OK);
		carry(p);
		assert_int_equal(link_peek(&p->b, &msg), BS_ERR_FORMAT);
		chan_consume(&p->b, LINK_HEADER_LEN);
	}
}

/* All of a message or nothing: half a message would shift all that follow. */
static void
test_full_queue_takes_no_half_message(void **state)
{
	struct pair *p = *state;
	uint8_t *big = calloc(1, LINK_MAX);
	size_t before;
	enum bs_err err = BS_OK;

	assert_non_null(big);
	assert_int_equal(link_put(&p->a, LINK_FRAME, 1, big, LINK_MAX), BS_ERR_LIMIT);
	while (err == BS_OK) {
		before = chan_queued(&p->a);
		err = link_put(&p->a, LINK_FRAME, 1, big, LINK_MAX - LINK_HEADER_LEN);
	}
	assert_int_equal(err, BS_ERR_LIMIT);
	assert_int_equal(chan_queued(&p->a), before);
	free(big);
}

static void
test_a_full_input_is_not_read(void **state)
{
	struct pair *p = *state;
	size_t len;

	p->b.in_max = 10;
	assert_int_equal(chan_write(&p->a, "0123456789abcdef", 16), BS_OK);
	assert_int_equal(chan_flush(&p->a), BS_OK);
	assert_int_equal(chan_read(&p->b), BS_OK);
	assert_int_equal(chan_read(&p->b), BS_ERR_SHORT);
	(void)chan_in(&p->b, &len);
	assert_int_equal(len, 10);
	chan_consume(&p->b, 10);
	assert_int_equal(chan_read(&p->b), BS_OK);
}

static void
test_a_closed_peer(void **state)
{
	struct pair *p = *state;
	struct link_msg msg;

	assert_int_equal(link_put(&p->a, LINK_FRAME, 1, "x", 1), BS_OK);
	assert_int_equal(chan_flush(&p->a), BS_OK);
	chan_clear(&p->a);
	assert_int_equal(link_wait(&p->b, &msg), BS_OK); /* what was sent before still arrives */
	link_take(&p->b, &msg);
	assert_int_equal(link_wait(&p->b, &msg), BS_ERR_IO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_messages_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_message_by_single_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lengths_that_lie, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_queue_takes_no_half_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_full_input_is_not_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_closed_peer, setup, teardown),
	};

	return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
