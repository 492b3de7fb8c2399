#include "client.h"

#include <sys/epoll.h>

#include "front.h"

#define OUT_MAX (8u << 20)     /* requests_max of the largest replies fit */
#define OUT_MARK (256u * 1024) /* no more is read from who has so much waiting for it */

void
client_open(struct client *cl, int fd, uint64_t id, size_t frame_max, int64_t now)
{
	*cl = (struct client){ .id = id, .opened_ms = now };
	chan_init(&cl->ch, fd, frame_max, OUT_MAX);
}

enum bs_err
client_next_frame(struct client *cl, size_t frame_max, int64_t now, struct bs_frame *frame)
{
	size_t len;
	const uint8_t *p = chan_in(&cl->ch, &len);
	enum bs_err err;

	if (len == 0) {
		cl->partial_ms = 0;
		return BS_ERR_SHORT;
	}
	err = bs_keyproto_parse(p, len, frame_max, frame);
	if (err == BS_OK) {
		cl->spoke = true;
		cl->partial_ms = 0;
	} else if (err == BS_ERR_SHORT && cl->partial_ms == 0) {
		cl->partial_ms = now;
	}
	return err;
}

enum bs_err
client_flush(struct client *cl, int64_t now)
{
	size_t before = chan_queued(&cl->ch), after;
	enum bs_err err = chan_flush(&cl->ch);

	after = chan_queued(&cl->ch);
	if (after == 0)
		cl->stalled_ms = 0;
	else if (after < before || cl->stalled_ms == 0)
		cl->stalled_ms = now;
	return err;
}

void
client_begin_anew(struct client *cl, int64_t now)
{
	cl->opened_ms = now;
	cl->partial_ms = cl->partial_ms == 0 ? 0 : now;
	cl->stalled_ms = cl->stalled_ms == 0 ? 0 : now;
}

const char *
client_overdue(const struct client *cl, const struct keyd_socket *sock, int64_t now)
{
	if (cl->stalled_ms != 0 && now - cl->stalled_ms > FRONT_STALL_MS)
		return "does not take its replies";
	if (cl->partial_ms != 0 && cl->requests == 0 && now - cl->partial_ms > FRONT_FRAME_MS)
		return "sent half a frame";
	if (!cl->spoke && now - cl->opened_ms > FRONT_FIRST_MS)
		return "says nothing";
	if (sock->must_attach && !cl->session && cl->requests == 0 && now - cl->opened_ms > FRONT_FIRST_MS)
		return "opened no session";
	return NULL;
}

uint32_t
client_events(const struct client *cl, const struct keyd_socket *sock, bool vault_is_full)
{
	uint32_t events = 0;

	if (!cl->ending && !vault_is_full && cl->requests < sock->requests_max && chan_queued(&cl->ch) < OUT_MARK)
		events |= EPOLLIN;
	if (chan_queued(&cl->ch) > 0)
		events |= EPOLLOUT;
	return events;
}
