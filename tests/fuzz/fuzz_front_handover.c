/*
 * fuzz_front_handover: what a front takes from the one before it, which clients may have taken over. Packets, each u8 (odd: a descriptor
 * goes along), u16 length, bytes. What was taken adds up; nothing that came along stays open, or there soon are no descriptors left.
 */
#include "tests/unit/front_fixture.h"

#include "common/wire.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
need(bool ok)
{
	if (!ok)
		abort();
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	bs_log_level(BS_LOG_FATAL);
	return 0;
}

/* What fits into the socket. */
static void
send_packets(int sock, int client, struct bs_rd *rd)
{
	enum bs_err err = BS_OK;

	while (err == BS_OK && rd->left > 0) {
		bool with_fd = (bs_rd_u8(rd) & 1) != 0;
		size_t len;
		const uint8_t *packet = bs_rd_str16(rd, &len);

		err = packet == NULL || len == 0 ? BS_ERR_SHORT : fdpass_send(sock, packet, len, with_fd ? client : -1, 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bs_rd rd = bs_rd_init(data, size);
	struct front_fixture x;
	int client[2];

	need(front_fixture_init(&x) && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, client) == 0);
	send_packets(x.forerunner, client[0], &rd);
	(void)close(x.forerunner);
	x.forerunner = -1;
	if (front_inherit(x.f))
		need(front_fixture_adds_up(x.f));
	front_fixture_clear(&x);
	(void)close(client[0]);
	(void)close(client[1]);
	return 0;
}
