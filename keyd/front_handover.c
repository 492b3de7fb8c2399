/*
 * How a front's clients go to its heir, over a socketpair of fdpass.h. Each message begins with its type:
 *
 *   CLIENT  u64 number, u8 session, u8 spoke, u8 ending, u32 bytes in, u32 bytes out; the descriptor
 *   BYTES   what was read of the last client, then what waits for it, in pieces
 *   END     u32 clients, u64 serial
 *
 * HANDOVER_VERSION counts for them, too. Deadlines begin anew: while clients are paused they can't do what they have to. The old front was
 * open to clients for long, and may be somebody else's by now: what does not fit is refused (tests/fuzz/fuzz_front_handover.c).
 */
#include <string.h>
#include <unistd.h>

#include "fdpass.h"
#include "front_priv.h"
#include "sock.h"
#include "wire.h"

#define PASS_MS 10000
#define PIECE (FDPASS_MAX - 1)
#define SERIAL_MAX (UINT64_C(1) << 40) /* none accepted so many; numbers made of more would meet */

enum type { CLIENT = 1, BYTES = 2, END = 3 };

/* --- the old front --- */

/* The newest end that the supervisor sent: earlier ones belong to heirs that are no more. */
static void
find_heir(struct front *f)
{
	uint8_t byte;
	size_t len;
	int fd;

	while (fdpass_recv(f->ctl_fd, &byte, 1, 0, &len, &fd) == BS_OK) {
		if (f->heir_fd >= 0)
			(void)close(f->heir_fd);
		f->heir_fd = fd;
	}
}

void
front_pause(struct front *f, uint64_t number)
{
	find_heir(f);
	/* No word is the answer then: without it the vault stays, and with one all clients would be lost. */
	if (f->heir_fd < 0) {
		bs_log(BS_LOG_ERROR, "there is no descriptor for the heir");
		return;
	}
	if (!f->paused)
		front_unwatch_all(f);
	f->paused = true;
	if (link_put(&f->link, LINK_PAUSED, number, NULL, 0) != BS_OK)
		f->broken = true;
}

void
front_resume(struct front *f, int64_t now)
{
	if (!f->paused)
		return;
	if (f->heir_fd >= 0)
		(void)close(f->heir_fd);
	f->heir_fd = -1;
	f->paused = false;
	front_watch_all(f, now);
	front_pump_all(f, now);
}

static enum bs_err
pass_bytes(const struct front *f, const uint8_t *data, size_t len, int64_t deadline)
{
	uint8_t piece[1 + PIECE] = { BYTES };
	enum bs_err err = BS_OK;

	while (len > 0 && err == BS_OK) {
		size_t n = len < PIECE ? len : PIECE;

		memcpy(piece + 1, data, n);
		err = fdpass_send(f->heir_fd, piece, 1 + n, -1, deadline);
		bs_wipe(piece + 1, n);
		data += n;
		len -= n;
	}
	return err;
}

static enum bs_err
pass_client(const struct front *f, const struct client *cl, int64_t deadline)
{
	uint8_t head[32];
	struct bs_wr wr = bs_wr_init(head, sizeof(head));
	size_t in_len, out_len = chan_queued(&cl->ch);
	const uint8_t *in = chan_in(&cl->ch, &in_len);
	enum bs_err err;

	bs_wr_u8(&wr, CLIENT);
	bs_wr_u64(&wr, cl->id);
	bs_wr_u8(&wr, cl->session);
	bs_wr_u8(&wr, cl->spoke);
	bs_wr_u8(&wr, cl->ending);
	bs_wr_u32(&wr, (uint32_t)in_len);
	bs_wr_u32(&wr, (uint32_t)out_len);
	err = fdpass_send(f->heir_fd, head, wr.len, cl->ch.fd, deadline);
	if (err == BS_OK)
		err = pass_bytes(f, in, in_len, deadline);
	return err == BS_OK ? pass_bytes(f, chan_out(&cl->ch), out_len, deadline) : err;
}

static enum bs_err
pass_end(const struct front *f, int64_t deadline)
{
	uint8_t end[16];
	struct bs_wr wr = bs_wr_init(end, sizeof(end));

	bs_wr_u8(&wr, END);
	bs_wr_u32(&wr, f->used);
	bs_wr_u64(&wr, f->serial);
	return fdpass_send(f->heir_fd, end, wr.len, -1, deadline);
}

void
front_pass(struct front *f)
{
	int64_t deadline = bs_now_ms() + PASS_MS;
	enum bs_err err = f->paused && f->heir_fd >= 0 ? BS_OK : BS_ERR_FORMAT;

	for (uint32_t i = 0; i < f->size && err == BS_OK; i++) {
		if (f->clients[i].id != 0)
			err = pass_client(f, &f->clients[i], deadline);
	}
	if (err == BS_OK)
		err = pass_end(f, deadline);
	if (err != BS_OK)
		bs_log(BS_LOG_ERROR, "cannot pass the clients to the heir: %s", bs_err_text(err));
	f->left = err == BS_OK;
	f->broken = err != BS_OK;
}

/* --- the heir --- */

/* A client with bytes still to come. */
struct arrival {
	struct client *cl;
	size_t in_left, out_left;
	uint32_t count;
	uint64_t newest; /* serial of those who came */
	bool ended;
};

static enum bs_err
take_client(struct front *f, struct arrival *a, struct bs_rd *rd, int fd)
{
	struct client cl = { .id = bs_rd_u64(rd) }, *place = NULL;

	cl.session = bs_rd_u8(rd) != 0;
	cl.spoke = bs_rd_u8(rd) != 0;
	cl.ending = bs_rd_u8(rd) != 0;
	a->in_left = bs_rd_u32(rd);
	a->out_left = bs_rd_u32(rd);
	if (bs_rd_done(rd) && cl.id != 0 && FRONT_INDEX(cl.id) < f->size)
		place = &f->clients[FRONT_INDEX(cl.id)];
	if (fd < 0 || place == NULL || place->id != 0)
		return BS_ERR_FORMAT;
	client_open(place, fd, cl.id, f->sock->frame_max, bs_now_ms());
	place->session = cl.session;
	place->spoke = cl.spoke;
	place->ending = cl.ending;
	a->cl = place;
	a->count++;
	a->newest = a->newest < cl.id >> FRONT_INDEX_BITS ? cl.id >> FRONT_INDEX_BITS : a->newest;
	f->used++;
	return BS_OK;
}

static enum bs_err
take_bytes(struct arrival *a, const struct bs_rd *rd)
{
	size_t n = rd->left;
	enum bs_err err = BS_ERR_FORMAT;

	if (a->cl == NULL || n == 0)
		return err;
	if (a->in_left > 0) {
		if (n <= a->in_left)
			err = chan_unread(&a->cl->ch, rd->p, n);
		a->in_left -= n <= a->in_left ? n : 0;
	} else if (n <= a->out_left) {
		err = chan_write(&a->cl->ch, rd->p, n);
		a->out_left -= n;
	}
	return err;
}

static enum bs_err
take_end(struct front *f, struct arrival *a, struct bs_rd *rd)
{
	uint32_t count = bs_rd_u32(rd);
	uint64_t serial = bs_rd_u64(rd);

	if (!bs_rd_done(rd) || count != a->count || serial < a->newest || serial > SERIAL_MAX)
		return BS_ERR_FORMAT;
	f->serial = serial;
	a->ended = true;
	return BS_OK;
}

static enum bs_err
take_message(struct front *f, struct arrival *a, const uint8_t *data, size_t len, int fd)
{
	struct bs_rd rd = bs_rd_init(data, len);
	uint8_t type = bs_rd_u8(&rd);

	if (type == BYTES && fd < 0)
		return take_bytes(a, &rd);
	if (a->in_left + a->out_left > 0)
		return BS_ERR_FORMAT;
	if (type == CLIENT)
		return take_client(f, a, &rd, fd);
	return type == END && fd < 0 ? take_end(f, a, &rd) : BS_ERR_FORMAT;
}

/* Which places are free, once it is known who came. */
static void
link_places(struct front *f)
{
	f->first_free = FRONT_NONE;
	for (uint32_t i = f->size; i-- > 0;) {
		if (f->clients[i].id != 0)
			continue;
		f->clients[i].next_free = f->first_free;
		f->first_free = i;
	}
}

bool
front_inherit(struct front *f)
{
	uint8_t data[FDPASS_MAX];
	struct arrival a = { .cl = NULL };
	enum bs_err err = BS_OK;
	bool any = false;

	while (err == BS_OK && !a.ended) {
		size_t len = 0;
		int fd = -1;

		err = fdpass_recv(f->forerunner_fd, data, sizeof(data), INT64_MAX, &len, &fd);
		if (err != BS_OK)
			break;
		any = true;
		err = take_message(f, &a, data, len, fd);
		bs_wipe(data, len);
		if (err != BS_OK && fd >= 0 && (a.cl == NULL || a.cl->ch.fd != fd))
			(void)close(fd);
	}
	(void)close(f->forerunner_fd);
	f->forerunner_fd = -1;
	if (err != BS_OK && any)
		bs_log(BS_LOG_ERROR, "cannot take the clients over: %s", bs_err_text(err));
	if (err != BS_OK)
		return false;
	link_places(f);
	front_watch_all(f, bs_now_ms());
	front_pump_all(f, bs_now_ms());
	return true;
}
