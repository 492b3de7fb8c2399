#include "vault_handover.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "fdpass.h"
#include "handover.h"
#include "sock.h"
#include "vault.h"

#define LOGINS_MS (JOB_DEADLINE_MS + 4000) /* what Argon2id has queued is done by then, or was given up */
#define ALL_MS 4000     /* sessions wait as long, */
#define SEND_MS 4000    /* and as long again: less than their clients do */
#define HEIR_OUT_MAX (1u << 20)
/* Who asks what takes long is paused first: the other sockets are served meanwhile. Order as in keydconf. */
static const bool logins_first[KEYD_SOCKETS] = { true, false, false, true };

void
leaving_init(struct leaving *l, int ctl)
{
	*l = (struct leaving){ .ctl = ctl, .heir = { .fd = -1 } };
}

void
leaving_clear(struct leaving *l)
{
	chan_clear(&l->heir);
	if (l->ctl >= 0)
		(void)close(l->ctl);
	l->ctl = -1;
}

static void
tell(struct vault *v, unsigned front, enum link_type type)
{
	if (link_put(&v->fronts[front], (uint8_t)type, v->leaving.attempt, NULL, 0) != BS_OK)
		v->broken = true;
}

static void
pause_fronts(struct vault *v, bool logins)
{
	for (unsigned i = 0; i < KEYD_SOCKETS; i++) {
		if (logins_first[i] != logins)
			continue;
		v->leaving.asked[i] = true;
		tell(v, i, LINK_PAUSE);
	}
}

static void
start(struct vault *v, int heir_fd)
{
	struct leaving *l = &v->leaving;

	chan_init(&l->heir, heir_fd, LINK_MAX, HEIR_OUT_MAX + LINK_MAX);
	l->phase = LEAVING_LOGINS;
	l->attempt++;
	l->deadline_ms = v->now_ms + LOGINS_MS;
	pause_fronts(v, true);
}

/* Everything as it was. */
static void
stay(struct vault *v, const char *why)
{
	struct leaving *l = &v->leaving;

	bs_log(BS_LOG_ERROR, "the heir does not take over: %s", why);
	chan_clear(&l->heir);
	for (unsigned i = 0; i < KEYD_SOCKETS; i++) {
		if (l->asked[i])
			tell(v, i, LINK_RESUME);
		l->asked[i] = l->paused[i] = false;
	}
	l->phase = LEAVING_NOT;
}

void
leaving_on_ctl(struct vault *v)
{
	uint8_t byte;
	size_t len;
	int fd = -1;
	enum bs_err err = fdpass_recv(v->leaving.ctl, &byte, 1, 0, &len, &fd);

	if (err == BS_ERR_IO) {
		(void)close(v->leaving.ctl);
		v->leaving.ctl = -1;
	}
	if (err == BS_ERR_LIMIT)
		bs_log(BS_LOG_ERROR, "there is no descriptor for the heir");
	if (err != BS_OK || fd < 0)
		return;
	if (v->leaving.phase != LEAVING_NOT)
		stay(v, "there is another one");
	start(v, fd);
}

bool
leaving_on_paused(struct vault *v, unsigned front, uint64_t number)
{
	struct leaving *l = &v->leaving;

	if (number == 0 || number > l->attempt)
		return false;
	/* Else of a pause that was called off meanwhile: the word that it may go on is on its way. */
	if (number == l->attempt && l->asked[front])
		l->paused[front] = true;
	return true;
}

static bool
are_paused(const struct vault *v, bool logins)
{
	for (unsigned i = 0; i < KEYD_SOCKETS; i++) {
		if (logins_first[i] == logins && !v->leaving.paused[i])
			return false;
	}
	return true;
}

static bool
logins_are_done(const struct vault *v)
{
	unsigned n = 0;

	for (unsigned i = 0; i < KEYD_SOCKETS; i++)
		n += logins_first[i] ? v->jobs.per_front[i] : 0;
	return n == 0;
}

static bool
heir_is_gone(const struct chan *heir)
{
	struct pollfd pfd = { .fd = heir->fd, .events = POLLIN };

	return poll(&pfd, 1, 0) > 0;
}

/* BS_OK: the heir has acknowledged. */
static enum bs_err
wait_ack(struct chan *heir, int64_t deadline)
{
	struct link_msg msg;
	enum bs_err err;

	while ((err = link_peek(heir, &msg)) == BS_ERR_SHORT) {
		err = bs_sock_wait(heir->fd, POLLIN, deadline);
		if (err == BS_OK)
			err = chan_read(heir);
		if (err != BS_OK && err != BS_ERR_SHORT)
			return err;
	}
	return err == BS_OK && msg.type != HANDOVER_ACK ? BS_ERR_FORMAT : err;
}

/* From here on the heir serves. */
static void
leave(struct vault *v)
{
	int64_t deadline = bs_now_ms() + SEND_MS;

	for (unsigned i = 0; i < KEYD_SOCKETS; i++) {
		tell(v, i, LINK_PASS);
		if (chan_flush_until(&v->fronts[i], deadline) != BS_OK)
			bs_log(BS_LOG_ERROR, "the front of socket '%s' does not pass its clients on", v->conf->sockets[i].name);
	}
	v->leaving.left = true;
}

static void
hand_over(struct vault *v)
{
	int64_t began = bs_now_ms();
	enum bs_err err = handover_write(v, &v->leaving.heir, began + SEND_MS);

	if (err == BS_OK)
		err = wait_ack(&v->leaving.heir, began + SEND_MS);
	if (err != BS_OK) {
		stay(v, bs_err_text(err));
		return;
	}
	bs_log(BS_LOG_INFO, "%zu accounts' keys, %u sessions and %zu tokens were handed over in %lld ms", rings_count(v->rings),
	    v->session_count, tokens_count(v->tokens), (long long)(bs_now_ms() - began));
	leave(v);
}

void
leaving_step(struct vault *v)
{
	struct leaving *l = &v->leaving;

	if (l->phase == LEAVING_NOT)
		return;
	if (heir_is_gone(&l->heir)) {
		stay(v, "it is gone");
	} else if (l->phase == LEAVING_LOGINS && are_paused(v, true) && logins_are_done(v)) {
		l->phase = LEAVING_ALL;
		l->deadline_ms = v->now_ms + ALL_MS;
		pause_fronts(v, false);
	} else if (l->phase == LEAVING_ALL && are_paused(v, false) && v->jobs.count == 0) {
		hand_over(v);
	} else if (v->now_ms > l->deadline_ms) {
		stay(v, l->phase == LEAVING_LOGINS ? "logins that were under way took too long, reload again when there are fewer"
						   : "requests that were under way took too long, reload again");
	}
}

static const char *
why_not(enum bs_err err)
{
	return err == BS_ERR_LIMIT ? "session.max has no room for what is open now: raise it, or restart"
	    : err == BS_ERR_ACCOUNT ? "keyd.site_key is another key: that needs a restart, and Dovecot the new public half"
				    : bs_err_text(err);
}

/* All messages until the last. BS_ERR_IO: the old vault keeps what it has. */
static enum bs_err
take_all(struct vault *v, struct chan *ch)
{
	struct handover handover = { .begun = false };
	struct link_msg msg;
	enum bs_err err = BS_OK;

	while (err == BS_OK && !handover.done) {
		err = link_wait(ch, &msg);
		v->now_ms = bs_now_ms();
		if (err != BS_OK)
			return err;
		err = handover_take(v, &handover, &msg);
		link_take(ch, &msg);
		if (err != BS_OK)
			bs_log(BS_LOG_ERROR, "cannot take over: %s", why_not(err));
	}
	return err;
}

bool
vault_inherit(struct vault *v)
{
	struct chan ch;
	enum bs_err err;

	chan_init(&ch, v->forerunner, 2 * LINK_MAX, LINK_MAX);
	v->forerunner = -1;
	err = take_all(v, &ch);
	if (err == BS_OK)
		err = link_put(&ch, HANDOVER_ACK, 0, NULL, 0);
	if (err == BS_OK)
		err = chan_flush_until(&ch, bs_now_ms() + SEND_MS);
	chan_clear(&ch);
	v->stats.reloads++;
	return err == BS_OK;
}
