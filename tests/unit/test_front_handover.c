/* front_handover, fdpass: clients on their way from one front to the next, and what of it is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#include "common/sock.h"
#include "common/wire.h"
#include "front_fixture.h"

#define NUMBER(serial, index) ((uint64_t)(serial) << FRONT_INDEX_BITS | (index))
#define MUCH 100000 /* several messages */

enum { CLIENT = 1, BYTES = 2, END = 3 };

static unsigned
open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	(void)closedir(dir);
	return n;
}

/* --- fdpass --- */

static void
test_fdpass(void **state)
{
	char data[8];
	size_t len = 0;
	int ends[2], fd = -1, null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	assert_int_equal(fdpass_recv(ends[1], data, sizeof(data), 0, &len, &fd), BS_ERR_TIMEOUT);
	assert_int_equal(fdpass_recv(ends[1], data, sizeof(data), bs_now_ms() + 20, &len, &fd), BS_ERR_TIMEOUT);
	assert_int_equal(fdpass_send(ends[0], "abc", 3, null, 0), BS_OK);
	assert_int_equal(fdpass_send(ends[0], "de", 2, -1, 0), BS_OK);
	assert_int_equal(fdpass_recv(ends[1], data, sizeof(data), 0, &len, &fd), BS_OK);
	assert_true(len == 3 && fd >= 0 && fd != null && memcmp(data, "abc", 3) == 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	(void)close(fd);
	assert_int_equal(fdpass_recv(ends[1], data, sizeof(data), 0, &len, &fd), BS_OK);
	assert_true(len == 2 && fd == -1);
	/* Longer than asked for: what came with it is closed. */
	assert_int_equal(fdpass_send(ends[0], "too long for it", 15, null, 0), BS_OK);
	assert_int_equal(fdpass_recv(ends[1], data, sizeof(data), 0, &len, &fd), BS_ERR_LIMIT);
	assert_int_equal(fd, -1);
	/* Nobody reads: not for ever. Then nobody is there: what was sent is, and then the end. */
	while (fdpass_send(ends[0], "abc", 3, -1, 0) == BS_OK)
		;
	assert_int_equal(fdpass_send(ends[0], "abc", 3, null, bs_now_ms() + 20), BS_ERR_TIMEOUT);
	(void)close(ends[0]);
	while (fdpass_recv(ends[1], data, sizeof(data), 0, &len, &fd) == BS_OK)
		assert_int_equal(len, 3);
	assert_int_equal(fdpass_recv(ends[1], data, sizeof(data), 0, &len, &fd), BS_ERR_IO);
	assert_int_equal(fdpass_send(ends[1], "abc", 3, -1, 0), BS_ERR_IO);
	(void)close(ends[1]);
	(void)close(null);
}

/* More than one descriptor: none of them stays open. */
static void
test_many_descriptors(void **state)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(3 * sizeof(int))];
	} control = { .bytes = { 0 } };
	struct iovec iov = { .iov_base = control.bytes, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes };
	struct cmsghdr *head = &control.align;
	char data[8];
	size_t len;
	int ends[2], fd;
	unsigned before;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	before = open_files();
	for (unsigned n = 2; n <= 3; n++) {
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(head), (int[]){ ends[0], ends[0], ends[0] }, n * sizeof(int));
		assert_int_equal(sendmsg(ends[0], &msg, 0), 1);
		assert_int_equal(fdpass_recv(ends[1], data, sizeof(data), 0, &len, &fd), BS_ERR_LIMIT);
		assert_int_equal(open_files(), before);
	}
	(void)close(ends[0]);
	(void)close(ends[1]);
}

/* --- clients --- */

/* A client of the old front; what it has at its own end. */
static int
add_client(struct front *f, uint64_t number, bool session, const char *in, const char *out, size_t out_len)
{
	struct client *cl = &f->clients[FRONT_INDEX(number)];
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	client_open(cl, ends[0], number, f->sock->frame_max, 1);
	cl->session = session;
	cl->partial_ms = cl->stalled_ms = 1;
	if (in[0] != '\0')
		assert_int_equal(chan_unread(&cl->ch, in, strlen(in)), BS_OK);
	if (out_len > 0)
		assert_int_equal(chan_write(&cl->ch, out, out_len), BS_OK);
	f->used++;
	return ends[1];
}

static void
test_clients_arrive(void **state)
{
	static char much[MUCH], got[MUCH];
	struct front_fixture old, heir;
	const struct client *cl;
	int one, two, three;

	(void)state;
	memset(much, 'm', sizeof(much));
	assert_true(front_fixture_init(&old) && front_fixture_init(&heir));
	one = add_client(old.f, NUMBER(3, 0), true, "", "", 0);
	two = add_client(old.f, NUMBER(7, 5), false, "hal", much, sizeof(much));
	three = add_client(old.f, NUMBER(6, 7), false, "", "", 0);
	old.f->clients[7].ending = true;
	old.f->serial = 9;
	old.f->paused = true;
	old.f->heir_fd = heir.forerunner;
	heir.forerunner = -1;
	front_pass(old.f);
	assert_true(old.f->left && !old.f->broken);
	assert_true(front_inherit(heir.f));
	assert_true(front_fixture_adds_up(heir.f));
	assert_int_equal(heir.f->serial, 9);
	assert_int_equal(heir.f->used, 2); /* the one that was ending has ended */
	cl = &heir.f->clients[0];
	assert_true(cl->id == NUMBER(3, 0) && cl->session && !cl->ending);
	cl = &heir.f->clients[5];
	assert_true(cl->id == NUMBER(7, 5) && !cl->session);
	/* Its time begins anew. */
	assert_true(cl->opened_ms > 1 && cl->partial_ms != 1 && cl->stalled_ms != 1);
	assert_null(client_overdue(cl, heir.f->sock, bs_now_ms()));
	assert_int_equal(read(two, got, sizeof(got)), (ssize_t)sizeof(got));
	assert_memory_equal(got, much, sizeof(got));
	assert_int_equal(chan_queued(&cl->ch), 0);
	assert_int_equal(heir.f->clients[7].id, 0);
	front_fixture_clear(&old);
	assert_int_equal(read(three, got, 1), 0);
	assert_int_equal(read(one, got, 1), -1); /* open, in the heir's hands */
	front_fixture_clear(&heir);
	(void)close(one);
	(void)close(two);
	(void)close(three);
}

/* Whoever is not told where the heir is does not stop to serve, and answers nothing. */
static void
test_no_heir(void **state)
{
	struct front_fixture x;
	int one;

	(void)state;
	assert_true(front_fixture_init(&x));
	one = add_client(x.f, NUMBER(3, 0), true, "", "", 0);
	front_watch_all(x.f, 5);
	assert_int_equal(x.f->clients[0].opened_ms, 5);
	front_pause(x.f, 1);
	assert_false(x.f->paused || x.f->broken);
	assert_int_equal(chan_queued(&x.f->link), 0);
	x.f->heir_fd = x.forerunner;
	x.forerunner = -1;
	front_pause(x.f, 2);
	assert_true(x.f->paused && chan_queued(&x.f->link) > 0);
	front_resume(x.f, 6);
	assert_true(!x.f->paused && x.f->heir_fd == -1 && x.f->clients[0].opened_ms == 6);
	front_fixture_clear(&x);
	(void)close(one);
}

/* --- what is refused --- */

static void
send_client(const struct front_fixture *x, uint64_t number, uint32_t in_len, uint32_t out_len, int fd)
{
	uint8_t head[32];
	struct bs_wr wr = bs_wr_init(head, sizeof(head));

	bs_wr_u8(&wr, CLIENT);
	bs_wr_u64(&wr, number);
	bs_wr_u8(&wr, 0);
	bs_wr_u8(&wr, 0);
	bs_wr_u8(&wr, 0);
	bs_wr_u32(&wr, in_len);
	bs_wr_u32(&wr, out_len);
	assert_int_equal(fdpass_send(x->forerunner, head, wr.len, fd, 0), BS_OK);
}

static void
send_bytes(const struct front_fixture *x, const char *text, int fd)
{
	uint8_t piece[64] = { BYTES };

	memcpy(piece + 1, text, strlen(text));
	assert_int_equal(fdpass_send(x->forerunner, piece, 1 + strlen(text), fd, 0), BS_OK);
}

static void
send_end(const struct front_fixture *x, uint32_t count, uint64_t serial, int fd)
{
	uint8_t end[16];
	struct bs_wr wr = bs_wr_init(end, sizeof(end));

	bs_wr_u8(&wr, END);
	bs_wr_u32(&wr, count);
	bs_wr_u64(&wr, serial);
	assert_int_equal(fdpass_send(x->forerunner, end, wr.len, fd, 0), BS_OK);
}

/* What each of them sends; fd is a client's. */
typedef void (*send_fn)(const struct front_fixture *x, int fd);

static void
good(const struct front_fixture *x, int fd)
{
	send_client(x, NUMBER(3, 1), 3, 0, fd);
	send_bytes(x, "abc", -1);
	send_end(x, 1, 3, -1);
}

static void
nothing(const struct front_fixture *x, int fd)
{
	(void)x;
	(void)fd;
}

static void
no_end(const struct front_fixture *x, int fd)
{
	send_client(x, NUMBER(3, 1), 0, 0, fd);
}

static void
one_too_few(const struct front_fixture *x, int fd)
{
	send_client(x, NUMBER(3, 1), 0, 0, fd);
	send_end(x, 2, 3, -1);
}

static void
a_serial_that_comes_again(const struct front_fixture *x, int fd)
{
	send_client(x, NUMBER(3, 1), 0, 0, fd);
	send_end(x, 1, 2, -1);
}

static void
a_serial_without_end(const struct front_fixture *x, int fd)
{
	(void)fd;
	send_end(x, 0, (UINT64_C(1) << 42) - 1, -1);
}

static void
no_number(const struct front_fixture *x, int fd)
{
	send_client(x, 0, 0, 0, fd);
	send_end(x, 1, 3, -1);
}

static void
beyond_the_table(const struct front_fixture *x, int fd)
{
	send_client(x, NUMBER(3, FIXTURE_CLIENTS), 0, 0, fd);
	send_end(x, 1, 3, -1);
}

static void
a_place_taken_twice(const struct front_fixture *x, int fd)
{
	send_client(x, NUMBER(2, 1), 0, 0, fd);
	send_client(x, NUMBER(3, 1), 0, 0, fd);
	send_end(x, 2, 3, -1);
}

static void
no_descriptor(const struct front_fixture *x, int fd)
{
	(void)fd;
	send_client(x, NUMBER(3, 1), 0, 0, -1);
	send_end(x, 1, 3, -1);
}

static void
bytes_of_nobody(const struct front_fixture *x, int fd)
{
	(void)fd;
	send_bytes(x, "abc", -1);
	send_end(x, 0, 3, -1);
}

static void
bytes_too_many(const struct front_fixture *x, int fd)
{
	send_client(x, NUMBER(3, 1), 2, 0, fd);
	send_bytes(x, "abc", -1);
	send_end(x, 1, 3, -1);
}

static void
bytes_too_few(const struct front_fixture *x, int fd)
{
	send_client(x, NUMBER(3, 1), 2, 2, fd);
	send_bytes(x, "ab", -1);
	send_end(x, 1, 3, -1);
}

static void
a_descriptor_with_bytes(const struct front_fixture *x, int fd)
{
	send_client(x, NUMBER(3, 1), 3, 0, fd);
	send_bytes(x, "abc", fd);
	send_end(x, 1, 3, -1);
}

static void
a_descriptor_at_the_end(const struct front_fixture *x, int fd)
{
	send_end(x, 0, 3, fd);
}

static void
more_than_a_frame(const struct front_fixture *x, int fd)
{
	uint8_t piece[5001] = { BYTES };

	send_client(x, NUMBER(3, 1), 5000, 0, fd);
	assert_int_equal(fdpass_send(x->forerunner, piece, sizeof(piece), -1, 0), BS_OK);
	send_end(x, 1, 3, -1);
}

static void
no_such_type(const struct front_fixture *x, int fd)
{
	assert_int_equal(fdpass_send(x->forerunner, "\4", 1, fd, 0), BS_OK);
	send_end(x, 0, 3, -1);
}

static void
test_what_does_not_add_up(void **state)
{
	static const struct {
		const char *name;
		send_fn send;
	} all[] = {
		{ "nothing", nothing }, { "no end", no_end }, { "one too few", one_too_few }, { "a serial again", a_serial_that_comes_again },
		{ "a serial without end", a_serial_without_end }, { "no number", no_number }, { "beyond the table", beyond_the_table },
		{ "a place twice", a_place_taken_twice }, { "no descriptor", no_descriptor }, { "bytes of nobody", bytes_of_nobody },
		{ "bytes too many", bytes_too_many }, { "bytes too few", bytes_too_few }, { "a descriptor with bytes", a_descriptor_with_bytes },
		{ "a descriptor at the end", a_descriptor_at_the_end }, { "more than a frame", more_than_a_frame }, { "no such type", no_such_type },
		{ "good", good },
	};
	unsigned before = open_files();

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct front_fixture x;
		int client[2];

		assert_true(front_fixture_init(&x));
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, client), 0);
		all[i].send(&x, client[0]);
		(void)close(x.forerunner);
		x.forerunner = -1;
		if (front_inherit(x.f) != (all[i].send == good))
			fail_msg("%s", all[i].name);
		front_fixture_clear(&x);
		(void)close(client[0]);
		(void)close(client[1]);
		assert_int_equal(open_files(), before);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fdpass),
		cmocka_unit_test(test_many_descriptors),
		cmocka_unit_test(test_clients_arrive),
		cmocka_unit_test(test_no_heir),
		cmocka_unit_test(test_what_does_not_add_up),
	};

	bs_log_level(BS_LOG_FATAL);
	return cmocka_run_group_tests_name("front_handover", tests, NULL, NULL);
}
