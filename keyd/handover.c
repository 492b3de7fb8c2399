#include "handover.h"

#include <stdio.h>
#include <string.h>

#include "lastuse.h"
#include "linger.h"
#include "wire.h"

#define MARK (256u * 1024) /* so much is queued before it is sent */
#define BATCH 32768        /* bytes of entries in one message */
#define RING_KEY_LEN (BS_ID_LEN + 2 * BS_KEY_LEN + 8 + 1)
#define COUNTERS (sizeof(struct vault_stats) / sizeof(uint64_t))

/* --- the old vault --- */

struct writer {
	struct vault *v;
	struct chan *ch;
	int64_t deadline_ms;
	uint32_t rings, tokens, conns;
};

static struct bs_wr
begin(const struct writer *w)
{
	return bs_wr_init(w->v->reply, BS_FRAME_MAX);
}

/* Queues what was written as one message, and wipes it. */
static enum bs_err
put(struct writer *w, enum handover_type type, const struct bs_wr *wr)
{
	enum bs_err err = wr->failed ? BS_ERR_INTERNAL : link_put(w->ch, (uint8_t)type, 0, wr->base, wr->len);

	bs_wipe(wr->base, wr->len);
	if (err == BS_OK && chan_queued(w->ch) > MARK)
		err = chan_flush_until(w->ch, w->deadline_ms);
	return err;
}

static enum bs_err
write_head(struct writer *w)
{
	struct bs_wr wr = begin(w);
	uint64_t counters[COUNTERS];

	memcpy(counters, &w->v->stats, sizeof(counters));
	bs_wr_u16(&wr, HANDOVER_VERSION);
	bs_wr_bytes(&wr, w->v->own->boot_key, BS_KEY_LEN);
	bs_wr_bytes(&wr, w->v->site_pub, BS_SIGN_PUB_LEN);
	bs_wr_u64(&wr, (uint64_t)w->v->started_ms);
	bs_wr_u16(&wr, COUNTERS);
	for (size_t i = 0; i < COUNTERS; i++)
		bs_wr_u64(&wr, counters[i]);
	return put(w, HANDOVER_HEAD, &wr);
}

static void
write_key(struct bs_wr *wr, const struct bs_ring_key *key)
{
	bs_wr_bytes(wr, key->key_id, BS_ID_LEN);
	bs_wr_bytes(wr, key->public_key, BS_KEY_LEN);
	bs_wr_bytes(wr, key->secret_key, BS_KEY_LEN);
	bs_wr_u64(wr, key->created);
	bs_wr_u8(wr, key->active);
}

static enum bs_err
write_ring(struct writer *w, const struct ring *ring, bool held)
{
	struct bs_wr wr = begin(w);
	const struct ring_cell *cell = ring->cells;
	uint8_t n = 0;

	bs_wr_u8(&wr, held);
	bs_wr_str16(&wr, ring->record, ring->record_len);
	bs_wr_bytes(&wr, cell->u.root.amk, BS_KEY_LEN);
	bs_wr_u8(&wr, ring->warm);
	bs_wr_bytes(&wr, ring->warm_slot, BS_ID_LEN);
	bs_wr_bytes(&wr, cell->u.root.warm_hash, BS_HASH_LEN);
	bs_wr_u64(&wr, ring->pruned);
	bs_wr_u64(&wr, (uint64_t)ring->opened_ms);
	bs_wr_u64(&wr, (uint64_t)ring->used_ms);
	bs_wr_u64(&wr, (uint64_t)ring->idle_since_ms);
	bs_wr_u64(&wr, (uint64_t)ring->allowance);
	bs_wr_u64(&wr, (uint64_t)ring->allowance_ms);
	bs_wr_u64(&wr, ring->unwraps);
	for (cell = ring->cells->next; cell != NULL; cell = cell->next)
		n++;
	bs_wr_u8(&wr, n);
	for (cell = ring->cells->next; cell != NULL; cell = cell->next)
		write_key(&wr, &cell->u.key);
	w->rings += held;
	return put(w, HANDOVER_RING, &wr);
}

static enum bs_err
write_held(void *arg, const struct ring *ring)
{
	return write_ring(arg, ring, true);
}

static enum bs_err
write_lingering(void *arg, const struct ring *ring)
{
	return write_ring(arg, ring, false);
}

static enum bs_err
write_token(void *arg, const struct token_kept *kept)
{
	struct writer *w = arg;
	struct bs_wr wr = begin(w);

	bs_wr_str16(&wr, kept->ring->name, strlen(kept->ring->name));
	bs_wr_bytes(&wr, kept->hash, BS_HASH_LEN);
	bs_wr_str16(&wr, kept->service, strlen(kept->service));
	bs_wr_u64(&wr, (uint64_t)kept->expires_ms);
	w->tokens++;
	return put(w, HANDOVER_TOKEN, &wr);
}

static enum bs_err
write_conn(struct writer *w, const struct conn *conn)
{
	struct bs_wr wr = begin(w);
	const char *account = conn->session == NULL ? "" : conn->session->name;

	bs_wr_u8(&wr, (uint8_t)conn->front);
	bs_wr_u64(&wr, conn->id);
	bs_wr_u32(&wr, (uint32_t)conn->pid);
	bs_wr_u32(&wr, conn->uid);
	bs_wr_u8(&wr, conn->closing);
	bs_wr_str16(&wr, account, strlen(account));
	bs_wr_str16(&wr, conn->service, strlen(conn->service));
	bs_wr_u64(&wr, (uint64_t)conn->since_ms);
	w->conns++;
	return put(w, HANDOVER_CONN, &wr);
}

static enum bs_err
write_conns(struct writer *w)
{
	const struct vault *v = w->v;
	enum bs_err err = BS_OK;

	for (unsigned front = 0; front < KEYD_SOCKETS; front++) {
		for (unsigned i = 0; i < v->conf->sockets[front].clients_max && err == BS_OK; i++) {
			if (v->conns[front][i].id != 0)
				err = write_conn(w, &v->conns[front][i]);
		}
	}
	return err;
}

/* A table's entries, as many as fit into each message. */
static enum bs_err
write_entries(struct writer *w, enum handover_type type)
{
	size_t at = 0, n;
	enum bs_err err = BS_OK;

	while (err == BS_OK) {
		struct bs_wr head = bs_wr_init(w->v->reply, 2), wr = bs_wr_init(w->v->reply + 2, BATCH);

		n = type == HANDOVER_SEEN ? seen_write(w->v->seen, &at, &wr) : lastuse_write(w->v->uses, &at, &wr);
		if (n == 0)
			break;
		bs_wr_u16(&head, (uint16_t)n);
		head.len += wr.len;
		err = put(w, type, &head);
	}
	return err;
}

static enum bs_err
write_end(struct writer *w)
{
	struct bs_wr wr = begin(w);

	bs_wr_u32(&wr, w->rings);
	bs_wr_u32(&wr, w->tokens);
	bs_wr_u32(&wr, w->conns);
	return put(w, HANDOVER_END, &wr);
}

enum bs_err
handover_write(struct vault *v, struct chan *ch, int64_t deadline_ms)
{
	struct writer w = { .v = v, .ch = ch, .deadline_ms = deadline_ms };
	enum bs_err err = write_head(&w);

	if (err == BS_OK)
		err = write_entries(&w, HANDOVER_SEEN);
	if (err == BS_OK)
		err = write_entries(&w, HANDOVER_USES);
	if (err == BS_OK)
		err = rings_each(v->rings, true, write_held, &w);
	if (err == BS_OK)
		err = tokens_each(v->tokens, write_token, &w);
	if (err == BS_OK)
		err = write_conns(&w);
	if (err == BS_OK)
		err = rings_each(v->rings, false, write_lingering, &w);
	if (err == BS_OK)
		err = write_end(&w);
	return err == BS_OK ? chan_flush_until(ch, deadline_ms) : err;
}

/* --- the heir --- */

/* A moment that has passed: the clock is the same, so later ones are none. */
static int64_t
read_past(const struct vault *v, struct bs_rd *rd)
{
	uint64_t ms = bs_rd_u64(rd);

	if (ms > (uint64_t)v->now_ms)
		rd->failed = true;
	return (int64_t)ms;
}

static enum bs_err
take_head(struct vault *v, struct handover *h, struct bs_rd *rd)
{
	uint16_t version = bs_rd_u16(rd);
	const uint8_t *boot_key = bs_rd_bytes(rd, BS_KEY_LEN), *site_pub = bs_rd_bytes(rd, BS_SIGN_PUB_LEN);
	int64_t started_ms = read_past(v, rd);
	uint64_t counters[COUNTERS];
	struct seen *seen;

	if (version != HANDOVER_VERSION)
		return BS_ERR_VERSION;
	if (h->begun || bs_rd_u16(rd) != COUNTERS)
		return BS_ERR_FORMAT;
	for (size_t i = 0; i < COUNTERS; i++)
		counters[i] = bs_rd_u64(rd);
	if (!bs_rd_done(rd))
		return BS_ERR_FORMAT;
	if (memcmp(site_pub, v->site_pub, BS_SIGN_PUB_LEN) != 0)
		return BS_ERR_ACCOUNT;
	seen = seen_new_like(v->seen, boot_key); /* names are hashed with it */
	if (seen == NULL)
		return BS_ERR_NOMEM;
	seen_free(v->seen);
	v->seen = seen;
	memcpy(v->own->boot_key, boot_key, BS_KEY_LEN);
	memcpy(&v->stats, counters, sizeof(counters));
	v->started_ms = started_ms;
	h->begun = true;
	return BS_OK;
}

static void
read_key(struct bs_rd *rd, struct bs_ring_key *key)
{
	bs_rd_copy(rd, key->key_id, BS_ID_LEN);
	bs_rd_copy(rd, key->public_key, BS_KEY_LEN);
	bs_rd_copy(rd, key->secret_key, BS_KEY_LEN);
	key->created = bs_rd_u64(rd);
	key->active = bs_rd_u8(rd) != 0;
}

/* The public half of a ring, behind its record and secrets. */
static void
read_moments(const struct vault *v, struct bs_rd *rd, struct ring *ring)
{
	ring->pruned = bs_rd_u64(rd);
	ring->opened_ms = read_past(v, rd);
	ring->used_ms = read_past(v, rd);
	ring->idle_since_ms = read_past(v, rd);
	ring->allowance = (int64_t)bs_rd_u64(rd);
	ring->allowance_ms = read_past(v, rd);
	ring->unwraps = bs_rd_u64(rd);
	if (ring->allowance < 0 || ring->allowance > RING_BURST)
		rd->failed = true;
}

/* All that rings_open() needs of a keyset. BS_ERR_FORMAT: it is no record, or one too long. */
static enum bs_err
read_record(struct bs_rd *rd, struct bs_keyset *ks)
{
	const uint8_t *record = bs_rd_str16(rd, &ks->record_len);

	if (record == NULL || ks->record_len > sizeof(ks->record_bytes))
		return BS_ERR_FORMAT;
	memcpy(ks->record_bytes, record, ks->record_len);
	return bs_record_parse(record, ks->record_len, &ks->record);
}

static enum bs_err
open_ring(struct vault *v, const struct bs_keyset *ks, const uint8_t *secrets[2], const struct ring *like, struct bs_rd *rd)
{
	struct job_secret *sec = arena_alloc(v->job_cells); /* keys pass through locked memory */
	uint8_t n = bs_rd_u8(rd);
	struct ring *ring = NULL;
	enum bs_err err = sec == NULL ? BS_ERR_LIMIT : BS_OK;

	for (unsigned i = 0; err == BS_OK && i < n && i < BS_RING_MAX; i++)
		read_key(rd, &sec->keys[i]);
	if (err == BS_OK && (!bs_rd_done(rd) || n > BS_RING_MAX || rings_find(v->rings, ks->record.name) != NULL))
		err = BS_ERR_FORMAT;
	if (err == BS_OK)
		err = rings_open(v->rings, ks, secrets[0], sec->keys, n, v->now_ms, &ring);
	arena_release(v->job_cells, sec);
	if (err != BS_OK)
		return err == BS_ERR_BUSY ? BS_ERR_LIMIT : err;
	ring->pruned = like->pruned;
	ring->opened_ms = like->opened_ms;
	ring->used_ms = like->used_ms;
	rings_linger_since(v->rings, ring, like->idle_since_ms, linger_known(v, ring->name));
	ring->allowance = like->allowance;
	ring->allowance_ms = like->allowance_ms;
	ring->unwraps = like->unwraps;
	if (like->warm)
		ring_set_warm(ring, like->warm_slot, secrets[1]);
	return BS_OK;
}

static enum bs_err
take_ring(struct vault *v, struct handover *h, struct bs_rd *rd)
{
	struct bs_keyset ks = { .record_len = 0 };
	struct ring like = { .warm = false };
	const uint8_t *secrets[2];
	bool held = bs_rd_u8(rd) != 0;
	enum bs_err err = read_record(rd, &ks);

	if (err != BS_OK)
		return err;
	secrets[0] = bs_rd_bytes(rd, BS_KEY_LEN);
	like.warm = bs_rd_u8(rd) != 0;
	bs_rd_copy(rd, like.warm_slot, BS_ID_LEN);
	secrets[1] = bs_rd_bytes(rd, BS_HASH_LEN);
	read_moments(v, rd, &like);
	if (rd->failed)
		return BS_ERR_FORMAT;
	err = open_ring(v, &ks, secrets, &like, rd);
	h->rings += held;
	return err == BS_ERR_LIMIT && !held ? BS_OK : err;
}

/* NULL: there was no room for it, or it was never sent. */
static struct ring *
read_account(struct vault *v, struct bs_rd *rd, bool *none)
{
	char name[BS_ACCOUNT_NAME_MAX + 1];

	bs_rd_cstr16(rd, name, sizeof(name));
	*none = name[0] == '\0';
	return rd->failed || *none ? NULL : rings_find(v->rings, name);
}

static enum bs_err
take_token(struct vault *v, struct handover *h, struct bs_rd *rd)
{
	char service[SERVICE_MAX + 1];
	struct token_kept kept = { .service = service };
	bool none;

	kept.ring = read_account(v, rd, &none);
	kept.hash = bs_rd_bytes(rd, BS_HASH_LEN);
	bs_rd_cstr16(rd, service, sizeof(service));
	kept.expires_ms = (int64_t)bs_rd_u64(rd);
	if (!bs_rd_done(rd) || none || kept.expires_ms < 0)
		return BS_ERR_FORMAT;
	if (kept.ring == NULL)
		return BS_ERR_LIMIT;
	h->tokens++;
	return tokens_restore(v->tokens, &kept);
}

/* As conn_start_session() would have it, a while ago. */
static void
restore_session(struct vault *v, struct conn *conn, struct ring *ring)
{
	ring_hold(v->rings, ring, &ring->sessions);
	conn->session = ring;
	LIST_INSERT_HEAD(&ring->conns, conn, of_ring);
	v->session_count++;
}

static enum bs_err
take_conn(struct vault *v, struct handover *h, struct bs_rd *rd)
{
	struct conn conn = { .front = bs_rd_u8(rd) }, *place;
	struct ring *ring;
	bool none;

	conn.id = bs_rd_u64(rd);
	conn.pid = (pid_t)bs_rd_u32(rd);
	conn.uid = bs_rd_u32(rd);
	conn.closing = bs_rd_u8(rd) != 0;
	ring = read_account(v, rd, &none);
	bs_rd_cstr16(rd, conn.service, sizeof(conn.service));
	conn.since_ms = read_past(v, rd);
	if (!bs_rd_done(rd) || conn.front >= KEYD_SOCKETS || conn.id == 0)
		return BS_ERR_FORMAT;
	if (FRONT_INDEX(conn.id) >= v->conf->sockets[conn.front].clients_max || (ring == NULL && !none)
	    || (ring != NULL && v->session_count >= (uint64_t)v->conf->sessions_max))
		return BS_ERR_LIMIT;
	place = &v->conns[conn.front][FRONT_INDEX(conn.id)];
	if (place->id != 0)
		return BS_ERR_FORMAT;
	*place = conn;
	v->conn_count[conn.front]++;
	h->conns++;
	if (ring != NULL)
		restore_session(v, place, ring);
	return BS_OK;
}

static enum bs_err
take_entries(struct vault *v, enum handover_type type, struct bs_rd *rd)
{
	uint16_t n = bs_rd_u16(rd);
	bool ok = n > 0;

	for (; ok && n > 0; n--)
		ok = type == HANDOVER_SEEN ? seen_read(v->seen, rd) : lastuse_read(v->uses, rd);
	return ok && bs_rd_done(rd) ? BS_OK : BS_ERR_FORMAT;
}

static enum bs_err
take_end(struct handover *h, struct bs_rd *rd)
{
	uint32_t rings = bs_rd_u32(rd), tokens = bs_rd_u32(rd), conns = bs_rd_u32(rd);

	if (!bs_rd_done(rd) || tokens != h->tokens || conns != h->conns || rings != h->rings)
		return BS_ERR_FORMAT;
	h->done = true;
	return BS_OK;
}

enum bs_err
handover_take(struct vault *v, struct handover *h, const struct link_msg *msg)
{
	struct bs_rd rd = bs_rd_init(msg->payload, msg->len);

	if (h->done || h->begun == (msg->type == HANDOVER_HEAD))
		return BS_ERR_FORMAT;
	switch (msg->type) {
	case HANDOVER_HEAD:
		return take_head(v, h, &rd);
	case HANDOVER_RING:
		return take_ring(v, h, &rd);
	case HANDOVER_TOKEN:
		return take_token(v, h, &rd);
	case HANDOVER_CONN:
		return take_conn(v, h, &rd);
	case HANDOVER_SEEN:
	case HANDOVER_USES:
		return take_entries(v, msg->type, &rd);
	case HANDOVER_END:
		return take_end(h, &rd);
	default:
		return BS_ERR_FORMAT;
	}
}
