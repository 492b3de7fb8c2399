#include "vault.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "escrow.h"
#include "lastuse.h"
#include "linger.h"
#include "selftest.h"
#include "sitekey.h"
#include "sock.h"

#define TICK_MS 200
#define LEAVING_TICK_MS 20
#define FRONT_OUT_MAX (64u << 20)
#define FRONT_OUT_MARK (4u << 20) /* a front that has so much to take is not read */
#define FRONT_ROUND 4             /* messages of one front before the next one's turn */
#define SEEN_ENTRIES (1u << 18)
#define USE_ENTRIES (1u << 16)

static volatile sig_atomic_t stop;

static void
on_term(int sig)
{
	(void)sig;
	stop = 1;
}

void
vault_alarm(struct vault *v, const char *user, const char *what, enum bs_err err)
{
	v->stats.alarms++;
	bs_log(BS_LOG_ALARM, "account %s: %s: %s", user, what, bs_err_text(err));
}

/* What the limit must leave for the buffers of key operations, which are locked one by one when ids are dropped. */
#define LOCK_SPARE (1u << 20)
#define RINGS_A_SESSION 3 /* cells: the account's root, its active key, an older one */

/* False when the arenas alone use up what this process may lock once it is no longer root. */
static bool
spare_is_left(const struct vault *v, uint64_t limit)
{
	uint64_t used = arena_bytes(v->secrets) + arena_bytes(v->job_cells) + arena_bytes(v->ring_cells);

	return limit == RLIM_INFINITY || (limit >= LOCK_SPARE && used <= limit - LOCK_SPARE);
}

/* Says how many sessions the limit has room for. */
static void
explain_limit(uint64_t limit, size_t sessions, int64_t workers, char *errbuf, size_t errbuf_size)
{
	uint64_t fixed = LOCK_SPARE + arena_size(sizeof(struct job_secret), JOB_SECRETS_MAX(workers))
	    + arena_size(sizeof(struct vault_secret), 1) + arena_size(1, 1);
	size_t each = RINGS_A_SESSION * arena_size(sizeof(struct ring_cell), 1024) / 1024;
	uint64_t room = limit > fixed ? (limit - fixed) / each : 0;

	(void)snprintf(errbuf, errbuf_size,
	    "cannot lock the memory for the keys of session.max = %zu, only %llu KiB may be locked: raise the limit "
	    "(LimitMEMLOCK=infinity in the unit, \"ulimit -l\" in a shell) or set session.max = %llu",
	    sessions, (unsigned long long)limit / 1024, (unsigned long long)room);
}

/* The locked memory, its size fixed now. */
static enum bs_err
make_arenas(struct vault *v, char *errbuf, size_t errbuf_size)
{
	size_t sessions = (size_t)v->conf->sessions_max;
	struct rlimit lim = { 0 };
	enum bs_err err = arena_new(sizeof(struct vault_secret), 1, &v->secrets);

	if (err == BS_OK)
		err = arena_new(sizeof(struct job_secret), JOB_SECRETS_MAX(v->conf->kdf_workers), &v->job_cells);
	if (err == BS_OK)
		err = arena_new(sizeof(struct ring_cell), RINGS_A_SESSION * sessions, &v->ring_cells);
	(void)getrlimit(RLIMIT_MEMLOCK, &lim);
	if (err == BS_OK && !spare_is_left(v, lim.rlim_cur))
		err = BS_ERR_LIMIT;
	if (err != BS_OK)
		explain_limit(lim.rlim_cur, sessions, v->conf->kdf_workers, errbuf, errbuf_size);
	return err;
}

static enum bs_err
make_tables(struct vault *v)
{
	const struct keydconf *conf = v->conf;
	size_t sessions = (size_t)conf->sessions_max;

	v->reply = malloc(BS_FRAME_MAX);
	v->frame = malloc(BS_FRAME_MAX);
	v->rings = rings_new(v->ring_cells, sessions, conf->linger_s * 1000);
	if (v->rings != NULL)
		v->tokens = tokens_new(v->rings, sessions, conf->token_s * 1000);
	v->seen = seen_new(SEEN_ENTRIES, v->own->boot_key);
	v->recent = bs_recent_new(v->own->boot_key);
	v->uses = lastuse_new(USE_ENTRIES);
	for (unsigned i = 0; i < KEYD_SOCKETS; i++) {
		v->conns[i] = calloc(conf->sockets[i].clients_max, sizeof(struct conn));
		if (v->conns[i] == NULL)
			return BS_ERR_NOMEM;
	}
	if (v->reply == NULL || v->frame == NULL || v->tokens == NULL || v->seen == NULL || v->recent == NULL
	    || v->uses == NULL)
		return BS_ERR_NOMEM;
	return BS_OK;
}

static void
vault_free(struct vault *v)
{
	jobs_clear(v);
	for (unsigned i = 0; i < KEYD_SOCKETS; i++) {
		free(v->conns[i]);
		chan_clear(&v->fronts[i]);
	}
	for (unsigned i = 0; i < KEYD_KDF_WORKERS_MAX; i++)
		chan_clear(&v->kdf[i]);
	chan_clear(&v->keystore);
	chan_clear(&v->policy);
	leaving_clear(&v->leaving);
	if (v->forerunner >= 0)
		(void)close(v->forerunner);
	tokens_free(v->tokens);
	rings_free(v->rings);
	seen_free(v->seen);
	bs_recent_free(v->recent);
	lastuse_free(v->uses);
	escrow_free(v->escrow);
	arena_free(v->ring_cells);
	arena_free(v->job_cells);
	arena_free(v->secrets);
	free(v->reply);
	free(v->frame);
	free(v);
}

/* So that vault_free() may come at any time. */
static void
no_fds(struct vault *v)
{
	v->keystore.fd = v->policy.fd = v->forerunner = -1;
	leaving_init(&v->leaving, -1);
	for (unsigned i = 0; i < KEYD_SOCKETS; i++)
		v->fronts[i].fd = -1;
	for (unsigned i = 0; i < KEYD_KDF_WORKERS_MAX; i++)
		v->kdf[i].fd = -1;
}

static void
take_fds(struct vault *v, const struct vault_fds *fds)
{
	for (unsigned i = 0; i < KEYD_SOCKETS; i++)
		chan_init(&v->fronts[i], fds->fronts[i], 2 * LINK_MAX, FRONT_OUT_MAX);
	chan_init(&v->keystore, fds->keystore, 2 * LINK_MAX, 2 * JOB_STORE_WINDOW * LINK_MAX);
	if (fds->policy >= 0)
		chan_init(&v->policy, fds->policy, LINK_LINGER_ROOM, LINK_LINGER_ROOM);
	for (unsigned i = 0; i < fds->kdf_count; i++)
		chan_init(&v->kdf[i], fds->kdf[i], LINK_MAX, LINK_MAX);
	v->kdf_count = fds->kdf_count;
	v->forerunner = fds->forerunner;
	leaving_init(&v->leaving, fds->ctl);
}

enum bs_err
vault_new(const struct keydconf *conf, const struct vault_fds *fds, char *errbuf, size_t errbuf_size,
    struct vault **out)
{
	struct vault *v = calloc(1, sizeof(*v));
	enum bs_err err;

	if (v == NULL)
		return BS_ERR_NOMEM;
	v->conf = conf;
	jobs_init(&v->jobs);
	no_fds(v);
	err = selftest_run(errbuf, errbuf_size);
	if (err == BS_OK)
		err = make_arenas(v, errbuf, errbuf_size);
	if (err != BS_OK)
		goto out;
	v->own = arena_alloc(v->secrets);
	bs_random(v->own->boot_key, BS_KEY_LEN);
	err = sitekey_load(conf->site_key, v->own->site_sec, errbuf, errbuf_size);
	if (err == BS_OK)
		err = escrow_load(conf->escrow, &v->escrow, errbuf, errbuf_size);
	if (err != BS_OK)
		goto out;
	memcpy(v->site_pub, v->own->site_sec + BS_SIGN_SEC_LEN - BS_SIGN_PUB_LEN, BS_SIGN_PUB_LEN);
	(void)snprintf(errbuf, errbuf_size, "not enough memory for session.max = %lld", (long long)conf->sessions_max);
	err = make_tables(v);
	if (err != BS_OK)
		goto out;
	take_fds(v, fds);
	v->started_ms = v->now_ms = bs_now_ms();
	bs_log(BS_LOG_INFO, "%zu KiB for keys are locked%s", (arena_bytes(v->ring_cells) + arena_bytes(v->job_cells)) / 1024,
	    arena_is_secretmem(v->ring_cells) ? ", in memory that the kernel does not map (memfd_secret)" : "");
	*out = v;
	return BS_OK;
out:
	vault_free(v);
	return err;
}

/* One round of a front's messages, those of earlier reads first. True: there are more already. */
static bool
serve_front(struct vault *v, unsigned i, bool readable)
{
	struct link_msg msg;
	enum bs_err err = readable ? chan_read(&v->fronts[i]) : BS_ERR_SHORT;

	if (err != BS_OK && err != BS_ERR_SHORT)
		v->broken = true;
	for (int n = 0; n < FRONT_ROUND && !v->broken; n++) {
		err = link_peek(&v->fronts[i], &msg);
		if (err == BS_ERR_FORMAT)
			v->broken = true;
		if (err != BS_OK)
			return false;
		conn_on_message(v, i, &msg);
		link_take(&v->fronts[i], &msg);
	}
	return !v->broken && link_peek(&v->fronts[i], &msg) == BS_OK;
}

/* All answers of the keystore (worker < 0) or of a kdf worker. */
static void
serve_helper(struct vault *v, struct chan *ch, int worker)
{
	struct link_msg msg;
	enum bs_err err = chan_read(ch);

	if (err == BS_ERR_SHORT)
		err = BS_OK;
	while (err == BS_OK && (err = link_peek(ch, &msg)) == BS_OK) {
		err = worker < 0 ? jobs_on_store(v, &msg) : jobs_on_kdf(v, (unsigned)worker, &msg);
		link_take(ch, &msg);
	}
	if (err != BS_ERR_SHORT)
		v->broken = true;
}

static void
flush_all(struct vault *v)
{
	bool ok = chan_flush(&v->keystore) == BS_OK && chan_flush(&v->policy) == BS_OK;

	for (unsigned i = 0; i < KEYD_SOCKETS; i++)
		ok = chan_flush(&v->fronts[i]) == BS_OK && ok;
	for (unsigned i = 0; i < v->kdf_count; i++)
		ok = chan_flush(&v->kdf[i]) == BS_OK && ok;
	if (!ok)
		v->broken = true;
}

static struct pollfd
poll_entry(const struct chan *ch, size_t mark)
{
	short events = chan_queued(ch) < mark ? POLLIN : 0;

	if (chan_queued(ch) > 0)
		events |= POLLOUT;
	return (struct pollfd){ .fd = ch->fd, .events = events };
}

/* How long to sleep where nobody says anything. */
static int
nap_ms(const struct vault *v)
{
	return v->leaving.phase != LEAVING_NOT ? LEAVING_TICK_MS : v->jobs.count > 0 ? TICK_MS : 1000;
}

/* One turn: sleep, serve, expire, send. more: somebody still has whole messages in our buffers. */
static bool
turn(struct vault *v, bool more)
{
	struct pollfd pfd[KEYD_SOCKETS + 1 + KEYD_KDF_WORKERS_MAX + 2], *policy;
	const short come = POLLIN | POLLHUP | POLLERR;
	unsigned n = 0;

	for (unsigned i = 0; i < KEYD_SOCKETS; i++)
		pfd[n++] = poll_entry(&v->fronts[i], FRONT_OUT_MARK);
	pfd[n++] = poll_entry(&v->keystore, SIZE_MAX);
	for (unsigned i = 0; i < v->kdf_count; i++)
		pfd[n++] = poll_entry(&v->kdf[i], SIZE_MAX);
	policy = &pfd[n];
	pfd[n++] = poll_entry(&v->policy, SIZE_MAX);
	pfd[n++] = (struct pollfd){ .fd = v->leaving.ctl, .events = POLLIN };
	if (poll(pfd, n, more ? 0 : nap_ms(v)) < 0)
		return more;
	v->now_ms = bs_now_ms();
	if ((pfd[n - 1].revents & come) != 0)
		leaving_on_ctl(v);
	if ((pfd[KEYD_SOCKETS].revents & come) != 0)
		serve_helper(v, &v->keystore, -1);
	for (unsigned i = 0; i < v->kdf_count; i++) {
		if ((pfd[KEYD_SOCKETS + 1 + i].revents & come) != 0)
			serve_helper(v, &v->kdf[i], (int)i);
	}
	if ((policy->revents & come) != 0)
		linger_serve(v);
	more = false;
	for (unsigned i = 0; i < KEYD_SOCKETS; i++) {
		if (chan_queued(&v->fronts[i]) < FRONT_OUT_MARK)
			more = serve_front(v, i, (pfd[i].revents & come) != 0) || more;
	}
	jobs_pump(v);
	jobs_expire(v);
	tokens_expire(v->tokens, v->now_ms);
	rings_expire(v->rings, v->now_ms);
	leaving_step(v);
	flush_all(v);
	return more;
}

int
vault_run(struct vault *v)
{
	struct sigaction act = { .sa_handler = on_term };
	bool more = false, ended;

	(void)sigaction(SIGTERM, &act, NULL);
	ended = v->forerunner >= 0 && !vault_inherit(v);
	while (!stop && !ended && !v->broken) {
		more = turn(v, more);
		ended = v->leaving.left;
	}
	if (!stop && !ended)
		bs_log(BS_LOG_WARNING, "another role is gone");
	ended = v->leaving.left;
	vault_free(v);
	return stop || ended ? 0 : 1;
}
