/*
 * fuzz_vault: what the vault takes from the roles around it, each of which may have been taken over. The first byte says how: 0 bytes of a
 * pipe as link.h cuts them; else steps: u8 who (0..3 a front, 4 the keystore, 5 a kdf worker, 6 the role policy, 7 time), u8 what,
 * u8 where, str16 payload. The keystore can give the row of an account that there is, the bytes that it was told to write, or the payload; the kdf
 * worker the seed that opens that account. Whatever came, the counts agree with the tables, and the vault can be ended.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/handover_fixture.h"

#include "keyd/linger.h"

#define NAME "a@example.org"
enum { WHO_KEYSTORE = KEYD_SOCKETS, WHO_KDF, WHO_POLICY, WHO_TIME };
enum { SAY_PAYLOAD, SAY_ROW, SAY_NOENT, SAY_DONE, SAY_TIMEOUT };

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct keydconf conf;
static struct fixture_arenas arenas; /* kept: to make them takes longer than all the rest */
static uint8_t site_pub[BS_SIGN_PUB_LEN], site_sec[BS_SIGN_SEC_LEN], seed[BS_KEY_LEN] = { 1 };
static uint8_t row[BS_KEYSET_MAX], written[BS_KEYSET_MAX];
static size_t row_len, written_len;
static uint64_t written_generation;
static int quiet[2]; /* a pipe on which nobody says anything */

static void
need(bool ok)
{
	if (!ok)
		abort();
}

/* A keyset of one password slot and one key. */
static void
make_row(void)
{
	struct bs_slot slot = { .kind = BS_SLOT_PASSWORD, .generation = 1, .memory_kib = BS_ARGON2_MEMORY_KIB_MIN, .passes = 1 };
	struct bs_record rec = { .name = NAME, .generation = 1, .flags = BS_RECORD_FLAG_SEALED };
	struct bs_ring_key key = { .active = true };
	struct bs_keyset_parts parts = { .record = &rec, .slots = &slot, .slot_count = 1, .keys = &key, .key_count = 1 };
	uint8_t amk[BS_KEY_LEN] = { 2 };

	bs_sign_keypair(site_pub, site_sec);
	bs_x25519_keypair(key.public_key, key.secret_key);
	bs_msg_key_id(BS_MSG_SUITE_X25519, key.public_key, key.key_id);
	memcpy(rec.key_id, key.key_id, BS_ID_LEN);
	memcpy(rec.public_key, key.public_key, BS_KEY_LEN);
	need(bs_keyset_make_slot(rec.account_id, &slot, seed, amk) == BS_OK);
	need(bs_keyset_write(&parts, site_sec, amk, row, sizeof(row), &row_len) == BS_OK);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const enum bs_peer peers[KEYD_SOCKETS] = { BS_PEER_AUTH, BS_PEER_MAIL, BS_PEER_DELIVERY, BS_PEER_CONTROL };

	(void)argc;
	(void)argv;
	need(bs_crypto_init() == BS_OK);
	bs_log_level(BS_LOG_FATAL);
	fixture_conf(&conf, 4);
	conf.database_timeout_ms = 100;
	conf.kdf_memory_kib = BS_ARGON2_MEMORY_KIB_MIN;
	conf.kdf_passes = 1;
	conf.linger_max_s = conf.linger_check_s = conf.resume_s = 60;
	for (unsigned i = 0; i < KEYD_SOCKETS; i++) {
		conf.sockets[i].peer = peers[i];
		conf.sockets[i].must_attach = peers[i] == BS_PEER_MAIL;
	}
	need(fixture_arenas(&arenas, 12) && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, quiet) == 0);
	make_row();
	return 0;
}

static struct vault *
begin(void)
{
	struct vault *v = fixture_vault_in(&conf, &arenas, 0);

	need(v != NULL);
	v->frame = malloc(BS_FRAME_MAX);
	v->recent = bs_recent_new(v->own->boot_key);
	need(v->frame != NULL && v->recent != NULL);
	memcpy(v->own->site_sec, site_sec, sizeof(site_sec));
	memcpy(v->site_pub, site_pub, sizeof(site_pub));
	for (unsigned i = 0; i < KEYD_SOCKETS; i++)
		chan_init(&v->fronts[i], -1, 2 * LINK_MAX, 4 * LINK_MAX);
	chan_init(&v->keystore, -1, 2 * LINK_MAX, 4 * LINK_MAX);
	chan_init(&v->kdf[0], -1, LINK_MAX, 2 * LINK_MAX);
	chan_init(&v->policy, dup(quiet[0]), LINK_LINGER_ROOM, LINK_LINGER_ROOM);
	v->kdf_count = 1;
	written_len = 0;
	return v;
}

/* What the vault said goes nowhere. */
static void
drain(struct chan *ch)
{
	bs_buf_free(ch->out);
	ch->out = NULL;
}

static void
check(const struct vault *v)
{
	unsigned sessions = 0, jobs = 0, asked[KEYD_SOCKETS] = { 0 }, visits = 0, sent = 0, of_conns = 0;
	const struct job *job;

	TAILQ_FOREACH(job, &v->jobs.all, all) {
		jobs++;
		asked[job->front] += job->conn != 0;
		visits += job->conn != 0 && job->visit;
	}
	TAILQ_FOREACH(job, &v->jobs.store_sent, queue)
		sent++;
	for (unsigned i = 0; i < KEYD_SOCKETS; i++) {
		need(v->jobs.per_front[i] == asked[i]);
		for (unsigned n = 0; n < FIXTURE_CLIENTS; n++) {
			sessions += v->conns[i][n].session != NULL;
			of_conns += v->conns[i][n].visits;
		}
	}
	need(jobs == v->jobs.count && sent == v->jobs.store_sent_count && visits == v->jobs.visits && of_conns <= visits);
	need(sessions == v->session_count && sessions <= 4 && arena_used(v->ring_cells) >= rings_count(v->rings));
}

/* All that it had in the arenas is given back. */
static void
end(struct vault *v)
{
	jobs_clear(v);
	need(arena_used(arenas.job_cells) == 0);
	arena_release(arenas.secrets, v->own);
	v->secrets = v->job_cells = v->ring_cells = NULL;
	fixture_free(v);
	need(arena_used(arenas.secrets) + arena_used(arenas.ring_cells) == 0);
}

static void
say_front(struct vault *v, unsigned front, uint8_t type, uint8_t where, const uint8_t *payload, size_t len)
{
	static uint8_t frame[BS_FRAME_MAX];
	struct link_msg msg = { .type = type, .id = (uint64_t)(1 + (where >> 4)) << FRONT_INDEX_BITS | (where & 15), .payload = payload, .len = len };

	if (type == LINK_FRAME && len > 0) {
		msg.len = bs_keyproto_frame(frame, sizeof(frame), payload[0], BS_OK, 1, payload + 1, len - 1);
		msg.payload = frame;
	}
	conn_on_message(v, front, &msg);
}

/* An answer as keystore.c writes one. */
static void
answer(struct vault *v, const struct job *job, enum bs_err err, uint64_t number, const uint8_t *blob, size_t len)
{
	static uint8_t payload[BS_KEYSET_MAX + 64];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));
	struct link_msg msg = { .type = job->store_type, .id = job->number, .payload = payload };

	bs_wr_u16(&wr, (uint16_t)err);
	bs_wr_u64(&wr, number);
	bs_wr_str32(&wr, blob, len);
	need(!wr.failed);
	msg.len = wr.len;
	need(jobs_on_store(v, &msg) == BS_OK);
}

static bool
says_row(const struct job *job)
{
	return job->store_type == LINK_GET || job->store_type == LINK_COUNT;
}

static bool
say_keystore(struct vault *v, uint8_t what, uint8_t where, const uint8_t *payload, size_t len)
{
	struct job *job = TAILQ_FIRST(&v->jobs.store_sent);
	struct link_msg msg = { .type = what, .id = where, .payload = payload, .len = len };

	while (where-- > 0 && job != NULL)
		job = TAILQ_NEXT(job, queue);
	if (job == NULL || what > SAY_TIMEOUT)
		return jobs_on_store(v, &msg) == BS_OK;
	if (what == SAY_PAYLOAD) {
		msg.type = job->store_type;
		msg.id = job->number;
		return jobs_on_store(v, &msg) == BS_OK;
	}
	if (what == SAY_DONE && !says_row(job) && job->blob_len <= sizeof(written)) {
		written_len = job->blob_len;
		written_generation = job->store_generation;
		if (written_len > 0)
			memcpy(written, job->blob, written_len);
	}
	if (what == SAY_DONE && says_row(job))
		answer(v, job, BS_OK, written_generation, written, written_len);
	else
		answer(v, job, what == SAY_NOENT ? BS_ERR_NOENT : what == SAY_TIMEOUT ? BS_ERR_TIMEOUT : BS_OK, 1, row, what == SAY_ROW ? row_len : 0);
	return true;
}

static bool
say_kdf(struct vault *v, uint8_t what, const uint8_t *payload, size_t len)
{
	uint8_t good[2 + BS_KEY_LEN] = { 0 };
	struct link_msg msg = { .type = LINK_KDF, .id = v->jobs.kdf_busy[0] == NULL ? 0 : v->jobs.kdf_busy[0]->number, .payload = payload, .len = len };

	memcpy(good + 2, seed, sizeof(seed));
	if (what == SAY_ROW) {
		msg.payload = good;
		msg.len = sizeof(good);
	}
	return jobs_on_kdf(v, 0, &msg) == BS_OK;
}

static void
say_policy(struct vault *v, uint8_t what, const uint8_t *payload, size_t len)
{
	uint8_t head[LINK_HEADER_LEN];
	struct bs_wr wr = bs_wr_init(head, sizeof(head));

	if (v->policy.fd < 0)
		return;
	bs_wr_u32(&wr, (uint32_t)(LINK_HEADER_LEN - 4 + len));
	bs_wr_u8(&wr, what);
	bs_wr_u64(&wr, 0);
	if (chan_unread(&v->policy, head, sizeof(head)) == BS_OK && chan_unread(&v->policy, payload, len) == BS_OK)
		linger_serve(v);
}

static void
pass_time(struct vault *v, uint8_t what, uint8_t where)
{
	v->now_ms += (what << 8 | where) * 4;
	jobs_expire(v);
	tokens_expire(v->tokens, v->now_ms);
	rings_expire(v->rings, v->now_ms);
}

/* False: the vault would end here. */
static bool
step(struct vault *v, struct bs_rd *rd)
{
	uint8_t who = bs_rd_u8(rd), what = bs_rd_u8(rd), where = bs_rd_u8(rd);
	size_t len;
	const uint8_t *payload = bs_rd_str16(rd, &len);
	bool ok = true;

	if (rd->failed || who > WHO_TIME)
		return false;
	if (who < KEYD_SOCKETS)
		say_front(v, who, what, where, payload, len);
	else if (who == WHO_KEYSTORE)
		ok = say_keystore(v, what, where, payload, len);
	else if (who == WHO_KDF)
		ok = say_kdf(v, what, payload, len);
	else if (who == WHO_POLICY)
		say_policy(v, what, payload, len);
	else
		pass_time(v, what, where);
	jobs_pump(v);
	for (unsigned i = 0; i < KEYD_SOCKETS; i++)
		drain(&v->fronts[i]);
	drain(&v->keystore);
	drain(&v->kdf[0]);
	drain(&v->policy);
	return ok && !v->broken;
}

/* A message lies within what came, and taking all that are whole leaves less than one. */
static void
cut(const uint8_t *data, size_t size)
{
	struct chan ch;
	struct link_msg msg;
	enum bs_err err;
	size_t left;

	chan_init(&ch, -1, 2 * LINK_MAX, LINK_MAX);
	if (size > 0 && chan_unread(&ch, data, size) != BS_OK)
		return;
	while ((err = link_peek(&ch, &msg)) == BS_OK) {
		const uint8_t *in = chan_in(&ch, &left);

		need(msg.payload == in + LINK_HEADER_LEN && msg.len <= left - LINK_HEADER_LEN && msg.len <= LINK_MAX - LINK_HEADER_LEN);
		link_take(&ch, &msg);
	}
	need(err == BS_ERR_SHORT || err == BS_ERR_FORMAT);
	chan_clear(&ch);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bs_rd rd = bs_rd_init(data, size);
	uint8_t how = bs_rd_u8(&rd);
	struct vault *v;

	if (how == 0) {
		cut(rd.p, rd.left);
		return 0;
	}
	v = begin();
	while (rd.left > 0 && step(v, &rd))
		check(v);
	end(v);
	return 0;
}
