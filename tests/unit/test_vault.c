/* The vault against roles that were taken over, and requests that nobody answers. No process is forked: the test plays them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "keyd/linger.h"
#include "keyd/selftest.h"
#include "keyd/sitekey.h"
#include "keyd/vault.h"

#define AUTH 0
#define MAIL 1
#define DELIVERY 2
#define CONTROL 3
#define NUMBER(serial, index) ((uint64_t)(serial) << FRONT_INDEX_BITS | (index))

struct world {
	char dir[64], key[96], no_escrow[1];
	struct keydconf conf;
	struct vault *v;
	int theirs[KEYD_SOCKETS + 3]; /* the other ends */
};

static const struct keyd_socket sockets[KEYD_SOCKETS] = {
	{ BS_PEER_AUTH, "auth", 0, 4096, 20, 16, false },
	{ BS_PEER_MAIL, "mail", 0, BS_FRAME_MAX, 20, 16, true },
	{ BS_PEER_DELIVERY, "delivery", 0, 1024, 20, 16, false },
	{ BS_PEER_CONTROL, "control", 0, 4096, 20, 16, false },
};

static int
make_pair(int *theirs)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return -1;
	*theirs = fds[1];
	return fds[0];
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct vault_fds fds = { .kdf_count = 1, .ctl = -1, .forerunner = -1 };
	char errbuf[512];

	if (w == NULL || bs_crypto_init() != BS_OK)
		return -1;
	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/basalt-test-vault-XXXXXX");
	if (mkdtemp(w->dir) == NULL)
		return -1;
	(void)snprintf(w->key, sizeof(w->key), "%s/site.key", w->dir);
	if (sitekey_make(w->key, errbuf, sizeof(errbuf)) != BS_OK)
		return -1;
	w->conf = (struct keydconf){ .site_key = w->key, .database_timeout_ms = 100, .kdf_memory_kib = 8192,
		.escrow = w->no_escrow, .kdf_passes = 1, .kdf_workers = 1, .linger_s = 60, .linger_max_s = 100, .linger_check_s = 60, .token_s = 60, .per_account_max = 4, .sessions_max = 16 };
	memcpy(w->conf.sockets, sockets, sizeof(sockets));
	for (unsigned i = 0; i < KEYD_SOCKETS; i++)
		fds.fronts[i] = make_pair(&w->theirs[i]);
	fds.keystore = make_pair(&w->theirs[KEYD_SOCKETS]);
	fds.kdf[0] = make_pair(&w->theirs[KEYD_SOCKETS + 1]);
	fds.policy = make_pair(&w->theirs[KEYD_SOCKETS + 2]);
	*state = w;
	bs_log_level(BS_LOG_FATAL);
	return vault_new(&w->conf, &fds, errbuf, sizeof(errbuf), &w->v) == BS_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	char pub[128];

	w->v->broken = true; /* vault_run() frees it at once */
	assert_int_equal(vault_run(w->v), 1);
	for (unsigned i = 0; i < KEYD_SOCKETS + 3; i++)
		(void)close(w->theirs[i]);
	(void)snprintf(pub, sizeof(pub), "%s.pub", w->key);
	(void)unlink(w->key);
	(void)unlink(pub);
	(void)rmdir(w->dir);
	free(w);
	return 0;
}

static void
send_open(struct world *w, unsigned front, uint64_t id)
{
	static const uint8_t peer[12];
	const struct link_msg msg = { .type = LINK_OPEN, .id = id, .payload = peer, .len = sizeof(peer) };

	conn_on_message(w->v, front, &msg);
}

static void
send_frame(struct world *w, unsigned front, uint64_t id, uint8_t opcode, const void *payload, size_t len)
{
	uint8_t frame[2048];
	struct link_msg msg = { .type = LINK_FRAME, .id = id, .payload = frame };

	msg.len = bs_keyproto_frame(frame, sizeof(frame), opcode, BS_OK, 1, payload, len);
	assert_true(msg.len > 0);
	conn_on_message(w->v, front, &msg);
}

static void
send_close(struct world *w, unsigned front, uint64_t id)
{
	const struct link_msg msg = { .type = LINK_CLOSE, .id = id };

	conn_on_message(w->v, front, &msg);
}

/* The status of the oldest reply that waits for a front; -1: none does. Drops it and what came before it. */
static int
next_status(struct world *w, unsigned front)
{
	struct chan *ch = &w->v->fronts[front];
	struct chan look = { .in = ch->out, .in_max = ch->out_max };
	struct link_msg msg;
	struct bs_frame frame;
	int status = -1;

	while (status < 0 && link_peek(&look, &msg) == BS_OK) {
		if (msg.type == LINK_FRAME && bs_keyproto_parse(msg.payload, msg.len, BS_FRAME_MAX, &frame) == BS_OK)
			status = frame.status;
		link_take(&look, &msg);
	}
	ch->out = look.in;
	return status;
}

static void
test_a_front_must_play_by_the_rules(void **state)
{
	struct world *w = *state;
	struct vault *v = w->v;

	send_open(w, MAIL, NUMBER(1, 0));
	assert_false(v->broken);
	send_open(w, MAIL, NUMBER(2, 0)); /* a place that is taken */
	assert_true(v->broken);
	v->broken = false;
	send_open(w, MAIL, NUMBER(1, 20)); /* past its table */
	assert_true(v->broken);
	v->broken = false;
	send_close(w, MAIL, NUMBER(2, 0)); /* not who is there */
	assert_true(v->broken);
	v->broken = false;
	send_frame(w, MAIL, NUMBER(9, 3), BS_OP_RECORD, NULL, 0); /* nobody is there */
	assert_true(v->broken);
	v->broken = false;
	conn_on_message(v, MAIL, &(struct link_msg){ .type = LINK_FRAME, .id = NUMBER(1, 0), .payload = (const uint8_t *)"", .len = 0 });
	assert_true(v->broken);
	v->broken = false;
	conn_on_message(v, MAIL, &(struct link_msg){ .type = LINK_GET, .id = NUMBER(1, 0) }); /* it is no keystore */
	assert_true(v->broken);
	v->broken = false;
	send_close(w, MAIL, NUMBER(1, 0));
	assert_false(v->broken);
	assert_int_equal(v->conn_count[MAIL], 0);
}

/* The front of 'delivery' says that it has a LOGIN: the vault knows which socketpair that came by. */
static void
test_permission_is_the_vaults_to_give(void **state)
{
	static const uint8_t may[KEYD_SOCKETS][36] = {
		[AUTH] = { [BS_OP_LOGIN] = 1, [BS_OP_LOGIN_MEMBER] = 1, [BS_OP_ENROL_LOGIN] = 1, [BS_OP_EXISTS] = 1, [BS_OP_RECORD] = 1 },
		[MAIL] = { [BS_OP_ATTACH] = 1, [BS_OP_RECORD] = 1 }, /* the others need a session */
		[DELIVERY] = { [BS_OP_EXISTS] = 1, [BS_OP_RECORD] = 1, [BS_OP_KEYSET_OF] = 1 },
		[CONTROL] = { [BS_OP_RECORD] = 1, [BS_OP_ENROL] = 1, [BS_OP_PASSWD] = 1, [BS_OP_REMOVE] = 1,
		    [BS_OP_STATUS] = 1, [BS_OP_SET_FLAGS] = 1, [BS_OP_SLOTS] = 1, [BS_OP_ADD_SLOT] = 1, [BS_OP_REMOVE_SLOT] = 1,
		    [BS_OP_ROTATE] = 1, [BS_OP_CHANGE_PASSWORD] = 1, [BS_OP_RESET] = 1, [BS_OP_HEAL] = 1, [BS_OP_RESTORE] = 1,
		    [BS_OP_DROP_KEY] = 1, [BS_OP_OPEN] = 1, [BS_OP_SESSIONS] = 1, [BS_OP_END_SESSIONS] = 1,
		    [BS_OP_KEYS] = 1, [BS_OP_RESTORE_KEYSET] = 1, [BS_OP_KEYSET_DIGEST] = 1 },
	};
	struct world *w = *state;
	uint64_t serial = 1;

	for (unsigned front = 0; front < KEYD_SOCKETS; front++) {
		for (unsigned opcode = 0; opcode < 256; opcode++) {
			bool permitted = opcode < 36 && may[front][opcode];

			send_open(w, front, NUMBER(++serial, 1));
			/* A payload that no operation takes. */
			send_frame(w, front, NUMBER(serial, 1), (uint8_t)opcode, "\xff", 1);
			assert_int_equal(next_status(w, front), permitted ? BS_ERR_FORMAT : BS_ERR_PERM);
			/* Either way the connection is over: what else it sends is not heard. */
			send_frame(w, front, NUMBER(serial, 1), BS_OP_RECORD, "\0\1a", 3);
			assert_int_equal(next_status(w, front), -1);
			send_close(w, front, NUMBER(serial, 1));
		}
	}
	assert_false(w->v->broken);
	assert_int_equal(w->v->jobs.count, 0);
	assert_int_equal(arena_used(w->v->job_cells), 0);
}

static void
test_nobody_answers(void **state)
{
	static const char login[] = "\0\1a\0\1b\0\1c\0";
	struct world *w = *state;
	struct vault *v = w->v;

	send_open(w, AUTH, NUMBER(1, 0));
	for (int i = 0; i < 40; i++)
		send_frame(w, AUTH, NUMBER(1, 0), BS_OP_LOGIN, login, sizeof(login) - 1);
	jobs_pump(v);
	assert_int_equal(v->jobs.count, 40);
	assert_int_equal(v->jobs.store_sent_count, JOB_STORE_WINDOW);
	v->now_ms += 700;
	jobs_expire(v);
	assert_int_equal(next_status(w, AUTH), -1);
	v->now_ms += 200;
	jobs_expire(v);
	for (int i = 0; i < 40; i++)
		assert_int_equal(next_status(w, AUTH), BS_ERR_TIMEOUT);
	/* Those under way are remembered, so that a late answer finds its place; no password is. */
	assert_int_equal(v->jobs.count, JOB_STORE_WINDOW);
	assert_int_equal(arena_used(v->job_cells), 0);
}

static enum bs_err
answer(struct world *w, uint8_t type, uint64_t id, enum bs_err err)
{
	uint8_t payload[14] = { 0, (uint8_t)err };

	return jobs_on_store(w->v, &(struct link_msg){ .type = type, .id = id, .payload = payload, .len = sizeof(payload) });
}

static void
test_answers_that_nobody_asked_for(void **state)
{
	struct world *w = *state;
	struct vault *v = w->v;
	uint64_t number;

	assert_int_equal(answer(w, LINK_GET, 1, BS_ERR_NOENT), BS_ERR_FORMAT);
	send_open(w, DELIVERY, NUMBER(1, 0));
	send_frame(w, DELIVERY, NUMBER(1, 0), BS_OP_EXISTS, "\0\1a", 3);
	jobs_pump(v);
	number = TAILQ_FIRST(&v->jobs.store_sent)->number;
	assert_int_equal(answer(w, LINK_PUT, number, BS_OK), BS_ERR_FORMAT);
	assert_int_equal(answer(w, LINK_GET, number + 1, BS_OK), BS_ERR_FORMAT);
	assert_int_equal(answer(w, LINK_GET, number, BS_ERR_NOENT), BS_OK);
	assert_int_equal(next_status(w, DELIVERY), BS_ERR_NOENT);
	assert_int_equal(answer(w, LINK_GET, number, BS_ERR_NOENT), BS_ERR_FORMAT);
	assert_int_equal(v->jobs.count, 0);
	assert_int_equal(
	    jobs_on_kdf(v, 0, &(struct link_msg){ .type = LINK_KDF, .id = 1, .payload = v->reply, .len = 34 }), BS_ERR_FORMAT);
}

/* A record from memory is for those who deliver, and no change of this keyd's leaves it there. */
static void
test_recent_records(void **state)
{
	static const uint64_t changes[] = { LINK_PUT, LINK_REMOVE };
	struct world *w = *state;
	struct vault *v = w->v;
	struct job *job;

	for (unsigned front = 0; front < KEYD_SOCKETS; front++)
		send_open(w, front, NUMBER(1, 0));
	bs_recent_put(v->recent, "a", (const uint8_t *)"record", 6, v->now_ms);
	for (unsigned front = 0; front < KEYD_SOCKETS; front++) {
		send_frame(w, front, NUMBER(1, 0), BS_OP_RECORD, "\0\1a", 3);
		assert_int_equal(next_status(w, front), front == AUTH || front == DELIVERY ? BS_OK : -1);
	}
	assert_int_equal(v->jobs.count, 2);
	for (unsigned i = 0; i < 2; i++) {
		bs_recent_put(v->recent, "a", (const uint8_t *)"record", 6, v->now_ms);
		send_frame(w, CONTROL, NUMBER(1, 0), BS_OP_REMOVE, "\0\1a", 3);
		job = TAILQ_LAST(&v->jobs.store_queue, job_list);
		job->store_type = (uint8_t)changes[i];
		jobs_pump(v);
		assert_int_equal(answer(w, job->store_type, job->number, BS_ERR_UNAVAIL), BS_OK);
		send_frame(w, DELIVERY, NUMBER(1, 0), BS_OP_RECORD, "\0\1a", 3);
		assert_int_equal(next_status(w, DELIVERY), -1);
	}
}

static void
test_more_requests_than_there_is_room_for(void **state)
{
	struct world *w = *state;
	struct vault *v = w->v;

	send_open(w, DELIVERY, NUMBER(1, 0));
	for (int i = 0; i < JOBS_PER_FRONT; i++)
		send_frame(w, DELIVERY, NUMBER(1, 0), BS_OP_EXISTS, "\0\1a", 3);
	assert_int_equal(next_status(w, DELIVERY), -1);
	send_frame(w, DELIVERY, NUMBER(1, 0), BS_OP_EXISTS, "\0\1a", 3);
	assert_int_equal(next_status(w, DELIVERY), BS_ERR_BUSY);
	send_open(w, MAIL, NUMBER(1, 0)); /* the other fronts still have theirs */
	send_frame(w, MAIL, NUMBER(1, 0), BS_OP_RECORD, "\0\1a", 3);
	assert_int_equal(next_status(w, MAIL), -1);
	assert_int_equal(v->jobs.count, JOBS_PER_FRONT + 1);
}

static void
test_who_hung_up_costs_no_argon2(void **state)
{
	static const char login[] = "\0\1a\0\1b\0\1c\0";
	struct world *w = *state;
	struct vault *v = w->v;

	send_open(w, AUTH, NUMBER(1, 0));
	send_frame(w, AUTH, NUMBER(1, 0), BS_OP_LOGIN, login, sizeof(login) - 1);
	jobs_pump(v);
	send_close(w, AUTH, NUMBER(1, 0));
	assert_int_equal(answer(w, LINK_GET, TAILQ_FIRST(&v->jobs.store_sent)->number, BS_ERR_NOENT), BS_OK);
	assert_int_equal(jobs_kdf_queued(&v->jobs), 1);
	jobs_pump(v);
	assert_null(v->jobs.kdf_busy[0]);
	assert_int_equal(v->jobs.count, 0);
}

/* A session on the mail socket, with keys of no one. */
static void
fake_session(struct world *w, uint64_t id)
{
	struct bs_keyset ks = { .record = { .name = "a@example.org", .generation = 1 }, .record_len = 10 };
	struct bs_ring_key key = { .active = true };
	uint8_t amk[BS_KEY_LEN] = { 1 };
	struct ring *ring;

	assert_int_equal(rings_open(w->v->rings, &ks, amk, &key, 1, w->v->now_ms, &ring), BS_OK);
	send_open(w, MAIL, id);
	conn_start_session(w->v, conn_find(w->v, MAIL, id), ring, "imap");
}

/* What the role 'policy' says of a@example.org; the milliseconds that its keys then stay, -1: they are not open. */
static int64_t
policy_says(struct world *w, const char *user, enum bs_err err, uint32_t seconds)
{
	struct chan role = { .fd = w->theirs[KEYD_SOCKETS + 2], .out_max = 1024 };
	const struct ring *ring;
	uint8_t payload[64];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));

	bs_wr_str16(&wr, user, strlen(user));
	bs_wr_u16(&wr, (uint16_t)err);
	bs_wr_u32(&wr, seconds);
	assert_int_equal(link_put(&role, LINK_LINGER, 0, payload, wr.len), BS_OK);
	assert_int_equal(chan_flush(&role), BS_OK);
	linger_serve(w->v);
	ring = rings_find(w->v->rings, "a@example.org");
	return ring == NULL ? -1 : ring_linger_left(ring, w->v->now_ms);
}

static size_t
questions(const struct world *w)
{
	return chan_queued(&w->v->policy) / (LINK_HEADER_LEN + 2 + strlen("a@example.org"));
}

/* An answer counts if it was asked for, and within the bound; none, and one that the database is away, leave what was known. */
static void
test_linger_by_plan(void **state)
{
	static const struct bs_record rec = { .name = "a@example.org", .generation = 1 };
	struct world *w = *state;
	struct vault *v = w->v;

	assert_int_equal(seen_check(v->seen, &rec), BS_OK);
	fake_session(w, NUMBER(1, 0));
	assert_int_equal(policy_says(w, rec.name, BS_OK, 5), 60000); /* nobody asked */
	linger_ask(v, "b@example.org"); /* nobody whom we know */
	assert_int_equal(questions(w), 0);
	linger_ask(v, rec.name);
	linger_ask(v, rec.name);
	assert_int_equal(questions(w), 1);
	assert_int_equal(policy_says(w, "b@example.org", BS_OK, 5), 60000);
	assert_int_equal(policy_says(w, rec.name, BS_OK, 5), 5000);
	assert_int_equal(policy_says(w, rec.name, BS_OK, UINT32_MAX), 100000);
	assert_int_equal(policy_says(w, rec.name, BS_ERR_NOENT, 7), 60000);
	assert_int_equal(policy_says(w, rec.name, BS_OK, 0), 0);
	assert_int_equal(policy_says(w, rec.name, BS_ERR_UNAVAIL, 9), 0);
	v->now_ms += 4999;
	linger_ask(v, rec.name);
	assert_int_equal(questions(w), 1);
	v->now_ms += 1;
	send_close(w, MAIL, NUMBER(1, 0)); /* its last session: asks, and does not wait */
	assert_int_equal(questions(w), 2);
	assert_int_equal(policy_says(w, rec.name, BS_ERR_UNAVAIL, 9), -1);
	assert_int_equal(rings_count(v->rings), 0);
}

/* Nonsense ends the role's say, not the vault; a role that takes nothing costs a bounded queue. */
static void
test_linger_nonsense(void **state)
{
	struct bs_record rec = { .generation = 1 };
	struct world *w = *state;
	struct vault *v = w->v;

	for (unsigned i = 0; i < 5000; i++) {
		(void)snprintf(rec.name, sizeof(rec.name), "u%u@example.org", i);
		assert_int_equal(seen_check(v->seen, &rec), BS_OK);
		linger_ask(v, rec.name);
		assert_true(chan_queued(&v->policy) <= LINK_LINGER_ROOM);
	}
	assert_true(chan_queued(&v->policy) > LINK_LINGER_ROOM - 100);
	assert_int_equal(write(w->theirs[KEYD_SOCKETS + 2], "\0\0\0\11\77\0\0\0\0\0\0\0\0", 13), 13);
	linger_serve(v);
	assert_int_equal(v->policy.fd, -1);
	assert_false(v->broken);
	linger_ask(v, rec.name);
	assert_int_equal(chan_queued(&v->policy), 0);
}

static uint64_t
next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	return *x ^= *x << 17;
}

/* A payload that is nearly right: a few strings, then noise. */
static size_t
make_payload(uint64_t *x, uint8_t *out, size_t size)
{
	struct bs_wr wr = bs_wr_init(out, size);
	uint8_t noise[64];

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)next_random(x) & (i < 20 ? 0xff : 1);
	for (uint64_t n = next_random(x) % 4; n > 0; n--)
		bs_wr_str16(&wr, noise, 1 + next_random(x) % 12);
	bs_wr_bytes(&wr, noise + 20, next_random(x) % 2 == 0 ? 0 : next_random(x) % 6);
	return wr.len;
}

/* The keystore and the kdf worker answer what was asked, with anything. True when they had something to answer. */
static bool
answer_anything(struct world *w, uint64_t *x)
{
	struct job *job = TAILQ_FIRST(&w->v->jobs.store_sent);
	uint8_t payload[200] = { 0 };
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));

	if (job != NULL) {
		bs_wr_u16(&wr, next_random(x) % 2 == 0 ? BS_OK : BS_ERR_NOENT);
		bs_wr_u64(&wr, next_random(x) % 3);
		bs_wr_str32(&wr, "BSK1\1 and what is no keyset", next_random(x) % 27);
		return jobs_on_store(w->v, &(struct link_msg){ .type = job->store_type, .id = job->number, .payload = payload,
		    .len = wr.len }) == BS_OK;
	}
	job = w->v->jobs.kdf_busy[0];
	return job != NULL && jobs_on_kdf(w->v, 0, &(struct link_msg){ .type = LINK_KDF, .id = job->number,
	    .payload = payload, .len = 2 + BS_KEY_LEN }) == BS_OK;
}

/* Whatever clients, keystore and kdf say: the vault neither breaks nor keeps anything. */
static void
test_noise(void **state)
{
	static const uint8_t codes[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29 };
	struct world *w = *state;
	struct vault *v = w->v;
	uint64_t x = 88172645463325252u;
	unsigned answered = 0;
	uint8_t payload[200];

	for (uint64_t serial = 1; serial < 20000; serial++) {
		unsigned front = (unsigned)(next_random(&x) % KEYD_SOCKETS);
		uint8_t code;

		do
			code = codes[next_random(&x) % sizeof(codes)];
		while ((bs_keyproto_permitted(code) & sockets[front].peer) == 0);
		if (front == MAIL && next_random(&x) % 2 == 0)
			fake_session(w, NUMBER(serial, 0));
		else
			send_open(w, front, NUMBER(serial, 0));
		send_frame(w, front, NUMBER(serial, 0), code, payload, make_payload(&x, payload, sizeof(payload)));
		for (int i = 0; i < 3; i++) {
			jobs_pump(v);
			answered += answer_anything(w, &x);
		}
		send_close(w, front, NUMBER(serial, 0));
		while (next_status(w, front) >= 0)
			;
		v->now_ms += 50;
		jobs_expire(v);
		assert_false(v->broken);
	}
	assert_true(answered > 1000); /* noise gets that far */
	v->now_ms += 1000000;
	jobs_expire(v);
	rings_expire(v->rings, v->now_ms);
	assert_int_equal(arena_used(v->job_cells) + arena_used(v->ring_cells), 0);
	assert_int_equal(v->session_count, 0);
}

static void
test_selftest(void **state)
{
	char errbuf[200];

	(void)state;
	assert_int_equal(selftest_run(errbuf, sizeof(errbuf)), BS_OK);
}

static void
test_site_key_files(void **state)
{
	struct world *w = *state;
	uint8_t sec[BS_SIGN_SEC_LEN];
	char errbuf[300];
	FILE *fp;

	assert_int_equal(sitekey_make(w->key, errbuf, sizeof(errbuf)), BS_ERR_EXISTS);
	assert_int_equal(sitekey_load(w->key, sec, errbuf, sizeof(errbuf)), BS_OK);
	assert_int_equal(chmod(w->key, 0604), 0);
	assert_int_equal(sitekey_load(w->key, sec, errbuf, sizeof(errbuf)), BS_ERR_CONF);
	assert_non_null(strstr(errbuf, "chmod 600"));
	assert_int_equal(chmod(w->key, 0600), 0);
	fp = fopen(w->key, "r+");
	assert_non_null(fp);
	(void)fputc('g', fp);
	(void)fclose(fp);
	assert_int_equal(sitekey_load(w->key, sec, errbuf, sizeof(errbuf)), BS_ERR_CONF);
	assert_non_null(strstr(errbuf, "hex"));
	assert_int_equal(sitekey_load("/nonexistent/key", sec, errbuf, sizeof(errbuf)), BS_ERR_CONF);
	assert_non_null(strstr(errbuf, "--make-site-key"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_front_must_play_by_the_rules, setup, teardown),
		cmocka_unit_test_setup_teardown(test_permission_is_the_vaults_to_give, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nobody_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answers_that_nobody_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(test_recent_records, setup, teardown),
		cmocka_unit_test_setup_teardown(test_more_requests_than_there_is_room_for, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_hung_up_costs_no_argon2, setup, teardown),
		cmocka_unit_test_setup_teardown(test_linger_by_plan, setup, teardown),
		cmocka_unit_test_setup_teardown(test_linger_nonsense, setup, teardown),
		cmocka_unit_test_setup_teardown(test_noise, setup, teardown),
		cmocka_unit_test_setup_teardown(test_site_key_files, setup, teardown),
		cmocka_unit_test(test_selftest),
	};

	return cmocka_run_group_tests_name("vault", tests, NULL, NULL);
}
