#include "front_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sock.h"

#define LINK_OUT_MAX (32u << 20)
#define LINK_OUT_MARK (1u << 20) /* with so much waiting for the vault no client is read */
#define SWEEP_MS 500
#define EVENTS 64
/* epoll's data; clients' numbers are larger than any index. */
#define TAG_LISTEN 1
#define TAG_LINK 2

static void
watch(struct front *f, int op, int fd, uint32_t events, uint64_t tag)
{
	struct epoll_event ev = { .events = events, .data.u64 = tag };

	if (epoll_ctl(f->epoll_fd, op, fd, &ev) != 0)
		bs_log(BS_LOG_ERROR, "epoll_ctl: errno %d", errno);
}

static void
send_vault(struct front *f, uint8_t type, uint64_t id, const void *payload, size_t len)
{
	if (link_put(&f->link, type, id, payload, len) != BS_OK)
		f->broken = true;
}

static void
drop(struct front *f, struct client *cl, const char *why)
{
	uint32_t i = FRONT_INDEX(cl->id);

	if (why != NULL)
		bs_log(BS_LOG_INFO, "closing a client: %s", why);
	send_vault(f, LINK_CLOSE, cl->id, NULL, 0);
	chan_clear(&cl->ch);
	*cl = (struct client){ .next_free = f->first_free };
	f->first_free = i;
	f->used--;
}

static struct client *
find(struct front *f, uint64_t id)
{
	uint32_t i = FRONT_INDEX(id);

	return id != 0 && i < f->size && f->clients[i].id == id ? &f->clients[i] : NULL;
}

/* What a broken frame gets before its connection ends: a reply to nobody in particular. */
static void
refuse(struct client *cl, enum bs_err why)
{
	uint8_t frame[BS_FRAME_HEADER_LEN];
	size_t len = bs_keyproto_frame(frame, sizeof(frame), 0, why, 0, NULL, 0);

	cl->ending = true;
	if (chan_write(&cl->ch, frame, len) != BS_OK)
		return;
	bs_log(BS_LOG_WARNING, "closing a client: bad frame: %s", bs_err_text(why));
}

/* Hands whole frames to the vault, as many as the client may have under way. */
static void
pump(struct front *f, struct client *cl, int64_t now)
{
	struct bs_frame frame;
	enum bs_err err;

	while (!f->paused && !cl->ending && cl->requests < f->sock->requests_max && !f->vault_is_full) {
		err = client_next_frame(cl, f->sock->frame_max, now, &frame);
		if (err == BS_ERR_SHORT)
			return;
		if (err != BS_OK) {
			refuse(cl, err);
			return;
		}
		send_vault(f, LINK_FRAME, cl->id, frame.payload - BS_FRAME_HEADER_LEN, frame.len);
		chan_consume(&cl->ch, frame.len);
		cl->requests++;
		f->vault_is_full = chan_queued(&f->link) > LINK_OUT_MARK;
	}
}

/* After anything happened to a client: send, close or watch. */
static void
settle(struct front *f, struct client *cl, int64_t now)
{
	uint32_t events;

	/* Whoever is gone now is found so by who serves next: the vault has counted us. */
	if (f->paused) {
		if (client_flush(cl, now) != BS_OK)
			cl->ending = true;
		return;
	}
	if (client_flush(cl, now) != BS_OK || (cl->ending && chan_queued(&cl->ch) == 0)) {
		drop(f, cl, NULL);
		return;
	}
	events = client_events(cl, f->sock, f->vault_is_full);
	if (events != cl->epoll_mask) {
		cl->epoll_mask = events;
		watch(f, EPOLL_CTL_MOD, cl->ch.fd, events, cl->id);
	}
}

static void
on_client(struct front *f, uint64_t id, uint32_t events, int64_t now)
{
	struct client *cl = find(f, id);
	enum bs_err err = BS_ERR_SHORT;

	if (cl == NULL || f->paused)
		return;
	if ((events & EPOLLIN) != 0 && !cl->ending)
		err = chan_read(&cl->ch);
	else if ((events & (EPOLLHUP | EPOLLERR)) != 0)
		err = BS_ERR_IO;
	if (err != BS_OK && err != BS_ERR_SHORT) {
		drop(f, cl, NULL);
		return;
	}
	pump(f, cl, now);
	settle(f, cl, now);
}

static void
add_client(struct front *f, int fd, int64_t now)
{
	uint32_t i = f->first_free;
	struct client *cl = &f->clients[i];
	uint8_t peer[12] = { 0 };
	struct bs_wr wr = bs_wr_init(peer, sizeof(peer));
	pid_t pid = 0;
	uid_t uid = (uid_t)-1;
	gid_t gid = (gid_t)-1;

	if (bs_sock_peer(fd, &pid, &uid, &gid) != BS_OK)
		bs_log(BS_LOG_WARNING, "a client without credentials");
	bs_wr_u32(&wr, (uint32_t)pid);
	bs_wr_u32(&wr, uid);
	bs_wr_u32(&wr, gid);
	f->first_free = cl->next_free;
	f->used++;
	client_open(cl, fd, ++f->serial << FRONT_INDEX_BITS | i, f->sock->frame_max, now);
	cl->epoll_mask = EPOLLIN;
	watch(f, EPOLL_CTL_ADD, fd, EPOLLIN, cl->id);
	send_vault(f, LINK_OPEN, cl->id, peer, wr.len);
}

static void
on_listen(struct front *f, int64_t now)
{
	int fd;

	/* A few at a time: those who are in have a right to be served too. */
	for (int i = 0; i < 16 && !f->paused; i++) {
		fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
			f->listening = false;
			watch(f, EPOLL_CTL_MOD, f->listen_fd, 0, TAG_LISTEN);
		}
		if (fd < 0)
			return;
		if (f->first_free != FRONT_NONE) {
			add_client(f, fd, now);
			continue;
		}
		(void)close(fd);
		if (now >= f->complain_ms)
			bs_log(BS_LOG_WARNING, "%u clients are connected: more are turned away", f->used);
		f->complain_ms = now + 60000;
	}
}

/* One reply of the vault. False: the client may not stay. */
static bool
take_reply(struct front *f, struct client *cl, const struct link_msg *msg)
{
	cl->requests -= cl->requests > 0;
	if (chan_write(&cl->ch, msg->payload, msg->len) == BS_OK)
		return true;
	if (!f->paused) {
		drop(f, cl, "too much is waiting for it");
		return false;
	}
	cl->ending = true;
	return true;
}

static void
on_reply(struct front *f, const struct link_msg *msg, int64_t now)
{
	struct client *cl = find(f, msg->id);

	if (cl == NULL)
		return; /* it left before its answer */
	if (msg->type == LINK_FRAME) {
		if (!take_reply(f, cl, msg))
			return;
		pump(f, cl, now);
	} else if (msg->type == LINK_SESSION) {
		cl->session = true;
	} else if (msg->type == LINK_CLOSE) {
		cl->ending = true;
	}
	settle(f, cl, now);
}

static void
on_word(struct front *f, const struct link_msg *msg, int64_t now)
{
	if (msg->type == LINK_PAUSE)
		front_pause(f, msg->id);
	else if (msg->type == LINK_RESUME)
		front_resume(f, now);
	else if (msg->type == LINK_PASS)
		front_pass(f);
	else
		on_reply(f, msg, now);
}

static void
on_vault(struct front *f, int64_t now)
{
	struct link_msg msg;
	enum bs_err err = chan_read(&f->link);

	if (err != BS_OK && err != BS_ERR_SHORT)
		f->broken = true;
	while (!f->broken && !f->left && (err = link_peek(&f->link, &msg)) == BS_OK) {
		on_word(f, &msg, now);
		link_take(&f->link, &msg);
	}
	if (err == BS_ERR_FORMAT)
		f->broken = true;
}

void
front_pump_all(struct front *f, int64_t now)
{
	for (uint32_t i = 0; i < f->size; i++) {
		if (f->clients[i].id == 0)
			continue;
		pump(f, &f->clients[i], now);
		settle(f, &f->clients[i], now);
	}
}

void
front_watch_all(struct front *f, int64_t now)
{
	for (uint32_t i = 0; i < f->size; i++) {
		struct client *cl = &f->clients[i];

		if (cl->id == 0)
			continue;
		client_begin_anew(cl, now);
		cl->epoll_mask = client_events(cl, f->sock, f->vault_is_full);
		watch(f, EPOLL_CTL_ADD, cl->ch.fd, cl->epoll_mask, cl->id);
	}
	watch(f, EPOLL_CTL_ADD, f->listen_fd, EPOLLIN, TAG_LISTEN);
	f->listening = true;
}

void
front_unwatch_all(struct front *f)
{
	for (uint32_t i = 0; i < f->size; i++) {
		if (f->clients[i].id != 0)
			watch(f, EPOLL_CTL_DEL, f->clients[i].ch.fd, 0, 0);
	}
	watch(f, EPOLL_CTL_DEL, f->listen_fd, 0, TAG_LISTEN);
}

/* Once the vault takes messages again, all who had to wait are served. */
static void
flush_vault(struct front *f, int64_t now)
{
	uint32_t events;

	if (chan_flush(&f->link) != BS_OK)
		f->broken = true;
	if (f->vault_is_full && chan_queued(&f->link) <= LINK_OUT_MARK / 2) {
		f->vault_is_full = false;
		front_pump_all(f, now);
	}
	events = EPOLLIN | (chan_queued(&f->link) > 0 ? EPOLLOUT : 0);
	if (events != f->link_mask)
		watch(f, EPOLL_CTL_MOD, f->link.fd, events, TAG_LINK);
	f->link_mask = events;
}

static void
sweep(struct front *f, int64_t now)
{
	const char *why;

	if (f->paused)
		return;
	for (uint32_t i = 0; i < f->size; i++) {
		why = f->clients[i].id == 0 ? NULL : client_overdue(&f->clients[i], f->sock, now);
		if (why != NULL)
			drop(f, &f->clients[i], why);
	}
	if (!f->listening) {
		f->listening = true;
		watch(f, EPOLL_CTL_MOD, f->listen_fd, EPOLLIN, TAG_LISTEN);
	}
}

struct front *
front_new(const struct front_fds *fds, const struct keyd_socket *sock)
{
	struct front *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->clients = calloc(sock->clients_max, sizeof(*f->clients));
	f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (f->clients == NULL || f->epoll_fd < 0) {
		free(f->clients);
		free(f);
		return NULL;
	}
	f->sock = sock;
	f->size = sock->clients_max;
	for (uint32_t i = 0; i < f->size; i++)
		f->clients[i].next_free = i + 1 < f->size ? i + 1 : FRONT_NONE;
	f->listen_fd = fds->listen;
	f->ctl_fd = fds->ctl;
	f->forerunner_fd = fds->forerunner;
	f->heir_fd = -1;
	chan_init(&f->link, fds->link, 2 * LINK_MAX, LINK_OUT_MAX);
	f->link_mask = EPOLLIN;
	watch(f, EPOLL_CTL_ADD, fds->link, EPOLLIN, TAG_LINK);
	return f;
}

static void
dispatch(struct front *f, const struct epoll_event *ev, int64_t now)
{
	if (ev->data.u64 == TAG_LISTEN)
		on_listen(f, now);
	else if (ev->data.u64 == TAG_LINK)
		on_vault(f, now);
	else
		on_client(f, ev->data.u64, ev->events, now);
}

int
front_run(struct front *f)
{
	struct epoll_event events[EVENTS];
	int64_t now, next_sweep;

	if (f->forerunner_fd < 0)
		front_watch_all(f, bs_now_ms());
	else if (!front_inherit(f))
		return 1;
	now = bs_now_ms();
	next_sweep = now + SWEEP_MS;
	while (!f->broken && !f->left) {
		int n = epoll_wait(f->epoll_fd, events, EVENTS, SWEEP_MS);

		now = bs_now_ms();
		for (int i = 0; i < n && !f->broken && !f->left; i++)
			dispatch(f, &events[i], now);
		if (now >= next_sweep) {
			sweep(f, now);
			next_sweep = now + SWEEP_MS;
		}
		flush_vault(f, now);
	}
	if (f->left)
		return 0;
	bs_log(BS_LOG_WARNING, "the vault is gone");
	return 1;
}
