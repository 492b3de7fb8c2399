/* handover, succession: what one set of roles leaves to the next, as bytes; and what of it is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/sock.h"
#include "handover_fixture.h"
#include "keyd/succession.h"

#define MESSAGES_MAX 64
#define CELLS 24
#define SITE 7
#define MAIL 1
#define NUMBER(serial, index) ((uint64_t)(serial) << FRONT_INDEX_BITS | (index))

/* What an old vault sent, message by message. */
struct sent {
	uint8_t bytes[65536];
	struct link_msg msgs[MESSAGES_MAX];
	size_t count;
};

struct world {
	struct keydconf conf;
	struct vault *old;
	struct sent sent;
	uint8_t site_sec[BS_SIGN_SEC_LEN];
};

static void
make_record(struct world *w, unsigned n, struct bs_keyset *ks)
{
	struct bs_record *rec = &ks->record;

	*ks = (struct bs_keyset){ .record.generation = n + 10 };
	(void)snprintf(rec->name, sizeof(rec->name), "user%u@example.org", n);
	memset(rec->account_id, (int)n + 1, BS_ID_LEN);
	memset(rec->public_key, (int)n + 2, BS_KEY_LEN);
	bs_msg_key_id(BS_MSG_SUITE_X25519, rec->public_key, rec->key_id);
	assert_int_equal(bs_record_sign(rec, w->site_sec, ks->record_bytes, &ks->record_len), BS_OK);
}

/* Account n, open with n + 1 keys since a while. */
static struct ring *
open_account(struct world *w, struct vault *v, unsigned n)
{
	struct bs_keyset ks;
	struct bs_ring_key keys[8] = { 0 };
	uint8_t amk[BS_KEY_LEN], hash[BS_HASH_LEN];
	struct ring *ring;

	make_record(w, n, &ks);
	memset(amk, 0x40 + (int)n, sizeof(amk));
	memset(hash, 0x50 + (int)n, sizeof(hash));
	for (unsigned i = 0; i <= n; i++) {
		memset(&keys[i], 0x60 + (int)(n + i), sizeof(keys[i].key_id) + 2 * BS_KEY_LEN);
		keys[i].created = 1000 + i;
		keys[i].active = i == 0;
	}
	assert_int_equal(rings_open(v->rings, &ks, amk, keys, n + 1, FIXTURE_NOW - 1000 + n, &ring), BS_OK);
	ring_set_warm(ring, ks.record.account_id, hash);
	ring->pruned = n;
	ring->unwraps = 100 + n;
	ring->allowance = 77;
	ring->used_ms = FIXTURE_NOW - n;
	assert_int_equal(seen_check(v->seen, &ks.record), BS_OK);
	lastuse_note(v->uses, ks.record.account_id, 1700000000 + n);
	return ring;
}

static void
add_conn(struct vault *v, unsigned front, uint64_t id, struct ring *ring)
{
	struct conn *conn = &v->conns[front][FRONT_INDEX(id)];

	*conn = (struct conn){ .id = id, .front = front, .pid = 1234, .uid = 5678, .since_ms = FIXTURE_NOW - 50 };
	v->conn_count[front]++;
	if (ring == NULL)
		return;
	(void)snprintf(conn->service, sizeof(conn->service), "imap");
	ring_hold(v->rings, ring, &ring->sessions);
	conn->session = ring;
	LIST_INSERT_HEAD(&ring->conns, conn, of_ring);
	v->session_count++;
}

/* Has v send all, and keeps it. */
static void
send_all(struct vault *v, struct sent *sent)
{
	int ends[2];
	struct chan out, in;
	struct link_msg msg;
	size_t used = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	chan_init(&out, ends[0], LINK_MAX, 2 * LINK_MAX);
	chan_init(&in, ends[1], 2 * LINK_MAX, LINK_MAX);
	assert_int_equal(handover_write(v, &out, bs_now_ms() + 5000), BS_OK);
	chan_clear(&out);
	while (chan_read(&in) == BS_OK)
		;
	sent->count = 0;
	while (link_peek(&in, &msg) == BS_OK) {
		assert_true(sent->count < MESSAGES_MAX && used + msg.len <= sizeof(sent->bytes));
		memcpy(sent->bytes + used, msg.payload, msg.len);
		msg.payload = sent->bytes + used;
		used += msg.len;
		sent->msgs[sent->count++] = msg;
		link_take(&in, &(struct link_msg){ .len = msg.len });
	}
	chan_clear(&in);
}

/* What an heir makes of the messages: the first failure. */
static enum bs_err
take_all(struct vault *heir, const struct sent *sent)
{
	struct handover h = { .begun = false };
	enum bs_err err = BS_OK;

	for (size_t i = 0; i < sent->count && err == BS_OK; i++)
		err = handover_take(heir, &h, &sent->msgs[i]);
	return err == BS_OK && !h.done ? BS_ERR_SHORT : err;
}

/* The i-th message of a type; its bytes may be changed. */
static struct link_msg *
find_message(struct sent *sent, enum handover_type type, unsigned i)
{
	for (size_t n = 0; n < sent->count; n++) {
		if (sent->msgs[n].type == type && i-- == 0)
			return &sent->msgs[n];
	}
	fail_msg("no message of type %d", type);
	return NULL;
}

static uint8_t *
bytes_of(struct sent *sent, enum handover_type type, unsigned i)
{
	return sent->bytes + (find_message(sent, type, i)->payload - sent->bytes);
}

/* Accounts 0 and 1 have a session, 1 and 2 two tokens each, one of a session that sleeps, 3 and 4 linger, 4 for longer; one client is no session. */
static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	uint8_t pub[BS_SIGN_PUB_LEN], token[BS_TOKEN_LEN];
	struct ring *rings[5];

	if (w == NULL || bs_crypto_init() != BS_OK)
		return -1;
	bs_log_level(BS_LOG_FATAL);
	bs_sign_keypair(pub, w->site_sec);
	fixture_conf(&w->conf, 16);
	w->old = fixture_vault(&w->conf, CELLS, SITE);
	if (w->old == NULL)
		return -1;
	bs_random(w->old->own->boot_key, BS_KEY_LEN);
	seen_free(w->old->seen);
	w->old->seen = seen_new(256, w->old->own->boot_key);
	for (unsigned i = 5; i-- > 0;)
		rings[i] = open_account(w, w->old, i);
	add_conn(w->old, MAIL, NUMBER(3, 2), rings[0]);
	add_conn(w->old, MAIL, NUMBER(1, 0), rings[1]);
	add_conn(w->old, 0, NUMBER(9, 7), NULL);
	w->old->conns[0][7].closing = true;
	assert_int_equal(tokens_issue(w->old->tokens, rings[1], "imap", FIXTURE_NOW - 500, token), BS_OK);
	assert_int_equal(tokens_issue(w->old->tokens, rings[2], "pop3", FIXTURE_NOW - 400, token), BS_OK);
	assert_int_equal(tokens_issue_for(w->old->tokens, rings[1], "imap", FIXTURE_NOW - 600, 3600000, token), BS_OK); /* sleeps */
	assert_int_equal(tokens_issue(w->old->tokens, rings[2], "imap", FIXTURE_NOW - 300, token), BS_OK);
	rings[4]->idle_since_ms = FIXTURE_NOW - 900;
	rings[3]->idle_since_ms = FIXTURE_NOW - 300;
	w->old->stats.logins = 17;
	w->old->stats.records = 18;
	w->old->started_ms = 5;
	send_all(w->old, &w->sent);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	fixture_free(w->old);
	free(w);
	return 0;
}

static void
test_all_of_it_arrives(void **state)
{
	struct world *w = *state;
	struct vault *heir = fixture_vault(&w->conf, CELLS, SITE);
	struct sent again;
	struct bs_keyset ks;
	const struct ring *ring;

	assert_int_equal(take_all(heir, &w->sent), BS_OK);
	assert_int_equal(rings_count(heir->rings), 5);
	assert_int_equal(arena_used(heir->ring_cells), arena_used(w->old->ring_cells));
	assert_int_equal(arena_used(heir->job_cells), 0);
	assert_int_equal(heir->session_count, 2);
	assert_int_equal(tokens_count(heir->tokens), 4);
	assert_int_equal(heir->conn_count[MAIL], 2);
	assert_int_equal(heir->stats.logins, 17);
	assert_int_equal(heir->started_ms, 5);
	ring = rings_find(heir->rings, "user1@example.org");
	assert_non_null(ring);
	assert_ptr_equal(LIST_FIRST(&ring->conns), &heir->conns[MAIL][0]);
	assert_int_equal(ring->generation, 11);
	make_record(w, 3, &ks);
	assert_true(seen_knows(heir->seen, ks.record.name));
	ks.record.generation--;
	assert_int_equal(seen_check(heir->seen, &ks.record), BS_ERR_ROLLBACK);
	assert_int_equal(lastuse_get(heir->uses, ks.record.account_id), 1700000003);
	/* And what the heir would leave are the same bytes. */
	send_all(heir, &again);
	assert_int_equal(again.count, w->sent.count);
	for (size_t i = 0; i < again.count; i++) {
		assert_int_equal(again.msgs[i].len, w->sent.msgs[i].len);
		assert_memory_equal(again.msgs[i].payload, w->sent.msgs[i].payload, again.msgs[i].len);
	}
	fixture_free(heir);
}

/* Lingering goes on where it was; who lingers longest still ends first. */
static void
test_lingering_goes_on(void **state)
{
	struct world *w = *state;
	struct vault *heir = fixture_vault(&w->conf, CELLS, SITE);

	assert_int_equal(take_all(heir, &w->sent), BS_OK);
	rings_expire(heir->rings, FIXTURE_NOW - 900 + 60000);
	assert_null(rings_find(heir->rings, "user4@example.org"));
	assert_non_null(rings_find(heir->rings, "user3@example.org"));
	rings_expire(heir->rings, FIXTURE_NOW - 300 + 60000);
	assert_int_equal(rings_count(heir->rings), 3);
	tokens_expire(heir->tokens, FIXTURE_NOW - 500 + 60000);
	assert_int_equal(tokens_count(heir->tokens), 3);
	tokens_expire(heir->tokens, FIXTURE_NOW - 300 + 60000);
	assert_int_equal(tokens_count(heir->tokens), 1);
	tokens_expire(heir->tokens, FIXTURE_NOW - 600 + 3600000);
	assert_int_equal(tokens_count(heir->tokens), 0);
	fixture_free(heir);
}

/* What a plan said goes over, within what the heir's configuration allows. */
static void
test_lingering_by_plan(void **state)
{
	struct world *w = *state;
	struct vault *heir = fixture_vault(&w->conf, CELLS, SITE);

	*seen_linger(w->old->seen, "user3@example.org") = (struct seen_linger){ .known = true, .ms = 5000, .next_ms = FIXTURE_NOW };
	*seen_linger(w->old->seen, "user4@example.org") = (struct seen_linger){ .known = true, .ms = 80000000, .next_ms = FIXTURE_NOW };
	send_all(w->old, &w->sent);
	w->conf.linger_max_s = 10;
	heir->policy.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(take_all(heir, &w->sent), BS_OK);
	assert_int_equal(ring_linger_left(rings_find(heir->rings, "user3@example.org"), FIXTURE_NOW), 4700);
	assert_int_equal(ring_linger_left(rings_find(heir->rings, "user4@example.org"), FIXTURE_NOW), 9100);
	assert_int_equal(ring_linger_left(rings_find(heir->rings, "user0@example.org"), FIXTURE_NOW), 60000);
	rings_expire(heir->rings, FIXTURE_NOW + 4700);
	assert_null(rings_find(heir->rings, "user3@example.org"));
	assert_int_equal(rings_count(heir->rings), 4);
	fixture_free(heir);
}

/* Cells for the accounts in use alone: what lingers gives way, the longest first. With fewer there is no taking over. */
static void
test_less_room(void **state)
{
	struct world *w = *state;
	const size_t held = 2 + 3 + 4, three = 5;
	struct vault *heir = fixture_vault(&w->conf, held + three, SITE);

	assert_int_equal(take_all(heir, &w->sent), BS_OK);
	assert_int_equal(rings_count(heir->rings), 4);
	assert_null(rings_find(heir->rings, "user4@example.org"));
	fixture_free(heir);
	heir = fixture_vault(&w->conf, held, SITE);
	assert_int_equal(take_all(heir, &w->sent), BS_OK);
	assert_int_equal(rings_count(heir->rings), 3);
	assert_int_equal(heir->session_count, 2);
	fixture_free(heir);
	heir = fixture_vault(&w->conf, held - 1, SITE);
	assert_int_equal(take_all(heir, &w->sent), BS_ERR_LIMIT);
	fixture_free(heir);
}

static void
test_fewer_sessions_or_clients(void **state)
{
	struct world *w = *state;
	struct keydconf conf;
	struct vault *heir;

	fixture_conf(&conf, 1);
	heir = fixture_vault(&conf, CELLS, SITE);
	assert_int_equal(take_all(heir, &w->sent), BS_ERR_LIMIT);
	fixture_free(heir);
	fixture_conf(&conf, 16);
	conf.sockets[0].clients_max = 7;
	heir = fixture_vault(&conf, CELLS, SITE);
	assert_int_equal(take_all(heir, &w->sent), BS_ERR_LIMIT);
	fixture_free(heir);
}

/* Each change alone makes the whole refused. */
static void
refused(struct world *w, uint8_t *at, int add, enum bs_err wanted)
{
	struct vault *heir = fixture_vault(&w->conf, CELLS, SITE);
	uint8_t before = *at;
	enum bs_err err;

	*at = (uint8_t)(before + add);
	err = take_all(heir, &w->sent);
	*at = before;
	fixture_free(heir);
	if (err != wanted)
		fail_msg("a byte at %zu: %s, not %s", (size_t)(at - w->sent.bytes), bs_err_text(err), bs_err_text(wanted));
}

static void
test_what_does_not_add_up(void **state)
{
	struct world *w = *state;
	struct sent *s = &w->sent;
	uint8_t *ring = bytes_of(s, HANDOVER_RING, 0);
	size_t record_len = (size_t)ring[1] << 8 | ring[2], moments = 3 + record_len + 32 + 1 + 16 + 32 + 8;

	refused(w, bytes_of(s, HANDOVER_HEAD, 0) + 1, 1, BS_ERR_VERSION);
	refused(w, bytes_of(s, HANDOVER_HEAD, 0) + 2 + BS_KEY_LEN, 1, BS_ERR_ACCOUNT);
	refused(w, bytes_of(s, HANDOVER_HEAD, 0) + 2 + 2 * BS_KEY_LEN, 1, BS_ERR_FORMAT);      /* began in the future */
	refused(w, bytes_of(s, HANDOVER_HEAD, 0) + 2 + 2 * BS_KEY_LEN + 9, 1, BS_ERR_FORMAT);  /* a counter more */
	refused(w, ring + 3, 1, BS_ERR_FORMAT);                                               /* no record */
	refused(w, ring + moments, 1, BS_ERR_FORMAT);                                         /* opened in the future */
	refused(w, ring + moments + 8 + 8, 1, BS_ERR_FORMAT);                                 /* lingers from then on */
	refused(w, ring + moments + 24, 1, BS_ERR_FORMAT);                                    /* too many data keys at once */
	refused(w, ring + moments + 48, 1, BS_ERR_FORMAT);                                    /* one key too many, of no bytes */
	refused(w, bytes_of(s, HANDOVER_TOKEN, 0) + 3, 1, BS_ERR_LIMIT);                      /* of whom nothing came */
	refused(w, bytes_of(s, HANDOVER_CONN, 0), 4, BS_ERR_FORMAT);                          /* of a fifth front */
	refused(w, bytes_of(s, HANDOVER_CONN, 2) + 8, -2, BS_ERR_FORMAT);                     /* where one is already */
	refused(w, bytes_of(s, HANDOVER_CONN, 1) + 8, 0x20, BS_ERR_LIMIT);                    /* beyond the table */
	refused(w, bytes_of(s, HANDOVER_SEEN, 0) + 1, 1, BS_ERR_FORMAT);
	refused(w, bytes_of(s, HANDOVER_SEEN, 0) + 1, -1, BS_ERR_FORMAT);
	refused(w, bytes_of(s, HANDOVER_USES, 0) + 1, 1, BS_ERR_FORMAT);
	for (unsigned i = 0; i < 3; i++)
		refused(w, bytes_of(s, HANDOVER_END, 0) + 4 * i + 3, 1, BS_ERR_FORMAT);
}

/* No prefix of the messages, no message cut short, none twice. */
static void
test_what_is_missing(void **state)
{
	struct world *w = *state;
	struct sent *s = &w->sent;
	struct sent part;

	for (size_t i = 0; i < s->count; i++) {
		struct vault *heir = fixture_vault(&w->conf, CELLS, SITE);

		part = *s;
		part.count = i;
		assert_int_equal(take_all(heir, &part), BS_ERR_SHORT);
		fixture_free(heir);
		heir = fixture_vault(&w->conf, CELLS, SITE);
		part.count = i + 1;
		part.msgs[i].len--;
		assert_int_not_equal(take_all(heir, &part), BS_OK);
		fixture_free(heir);
		heir = fixture_vault(&w->conf, CELLS, SITE);
		part = *s;
		memmove(&part.msgs[i + 1], &s->msgs[i], (s->count - i) * sizeof(part.msgs[0]));
		part.count++;
		if (s->msgs[i].type != HANDOVER_USES) /* the same moment again */
			assert_int_not_equal(take_all(heir, &part), BS_OK);
		fixture_free(heir);
	}
}

/* --- succession --- */

static void
test_succession(void **state)
{
	struct roleset set, back;
	uint8_t bytes[SUCCESSION_LEN_MAX], again[SUCCESSION_LEN_MAX];
	char run_dir[RUN_DIR_MAX];
	size_t len, again_len;

	(void)state;
	roleset_init(&set);
	for (int i = 0; i < KEYD_SOCKETS; i++)
		set.wires.listen[i] = 10 + i;
	for (int i = 0; i < HEIRS; i++)
		set.wires.ctl[i][0] = 20 + i;
	set.children[set.count++] = (struct child){ .pid = 100, .role = ROLE_FRONT, .index = 3 };
	set.children[set.count++] = (struct child){ .pid = 101, .role = ROLE_VAULT };
	assert_int_equal(succession_bytes(&set, "/run/basalt", bytes, &len), BS_OK);
	assert_int_equal(succession_parse(bytes, len, &back, run_dir, sizeof(run_dir)), BS_OK);
	assert_string_equal(run_dir, "/run/basalt");
	assert_int_equal(back.wires.ctl[HEIR_VAULT][0], 24);
	assert_int_equal(back.wires.ctl[0][1], -1);
	assert_int_equal(succession_bytes(&back, run_dir, again, &again_len), BS_OK);
	assert_int_equal(again_len, len);
	assert_memory_equal(again, bytes, len);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(succession_parse(bytes, i, &back, run_dir, sizeof(run_dir)), BS_ERR_FORMAT);
	bytes[5]++;
	assert_int_equal(succession_parse(bytes, len, &back, run_dir, sizeof(run_dir)), BS_ERR_VERSION);
	bytes[5]--;
	bytes[len - 2] = ROLE_COUNT;
	assert_int_equal(succession_parse(bytes, len, &back, run_dir, sizeof(run_dir)), BS_ERR_FORMAT);
	bytes[len - 2] = ROLE_KDF;
	bytes[len - 1] = KEYD_KDF_WORKERS_MAX;
	assert_int_equal(succession_parse(bytes, len, &back, run_dir, sizeof(run_dir)), BS_ERR_FORMAT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all_of_it_arrives, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lingering_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lingering_by_plan, setup, teardown),
		cmocka_unit_test_setup_teardown(test_less_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fewer_sessions_or_clients, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_does_not_add_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_missing, setup, teardown),
		cmocka_unit_test(test_succession),
	};

	return cmocka_run_group_tests_name("handover", tests, NULL, NULL);
}
