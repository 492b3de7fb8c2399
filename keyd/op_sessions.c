/* Operations of the socket control on what is open now: SESSIONS, END_SESSIONS. */
#include <string.h>
#include <time.h>

#include "vault.h"

#define PAGE_MAX 16384   /* a reply ends behind the bucket that passes it */
#define LISTED_MAX 1000 /* sessions of one account that are told one by one */

/* A moment of the vault's clock as seconds since 1970. */
static uint64_t
wall_time(const struct vault *v, int64_t ms)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now); /* time() lags by a tick: in the wrong second, now and then */
	return (uint64_t)((now.tv_sec * 1000 + now.tv_nsec / 1000000 - (v->now_ms - ms)) / 1000);
}

static void
write_ring(const struct vault *v, struct bs_wr *wr, const struct ring *ring)
{
	const struct conn *conn = LIST_FIRST(&ring->conns);
	unsigned listed = ring->sessions < LISTED_MAX ? ring->sessions : LISTED_MAX;

	bs_wr_str16(wr, ring->name, strlen(ring->name));
	bs_wr_u64(wr, wall_time(v, ring->opened_ms));
	bs_wr_u64(wr, wall_time(v, ring->used_ms));
	bs_wr_u32(wr, (uint32_t)(ring_linger_left(ring, v->now_ms) / 1000));
	bs_wr_u16(wr, (uint16_t)ring->tokens);
	bs_wr_u16(wr, (uint16_t)ring->sessions);
	bs_wr_u16(wr, (uint16_t)listed);
	for (; listed > 0; listed--, conn = LIST_NEXT(conn, of_ring)) {
		bs_wr_str16(wr, conn->service, strlen(conn->service));
		bs_wr_u64(wr, wall_time(v, conn->since_ms));
		bs_wr_u32(wr, (uint32_t)conn->pid);
	}
}

/* Whole buckets from *from on, so that an account that is open all the while is in just one page. *from: the next, 0: none. */
static uint16_t
write_page(const struct vault *v, struct bs_wr *wr, uint32_t *from)
{
	size_t i = *from, end = rings_buckets(v->rings);
	uint16_t n = 0;

	for (; i < end && wr->len < PAGE_MAX; i++) {
		for (const struct ring *ring = rings_bucket(v->rings, i); ring != NULL; ring = ring->hash_next, n++)
			write_ring(v, wr, ring);
	}
	*from = i < end ? (uint32_t)i : 0;
	return n;
}

enum bs_err
op_sessions(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd = bs_rd_init(frame->payload, frame->payload_len);
	struct bs_wr head = bs_wr_init(v->reply, BS_FRAME_MAX), wr = bs_wr_init(v->reply + 6, BS_FRAME_MAX - 6);
	char user[BS_ACCOUNT_NAME_MAX + 1];
	const struct ring *ring;
	uint32_t from;
	uint16_t n;

	bs_rd_cstr16(&rd, user, sizeof(user));
	from = bs_rd_u32(&rd);
	if (!bs_rd_done(&rd))
		return BS_ERR_FORMAT;
	if (user[0] == '\0') {
		n = write_page(v, &wr, &from);
	} else {
		ring = rings_find(v->rings, user);
		n = ring != NULL;
		from = 0;
		if (ring != NULL)
			write_ring(v, &wr, ring);
	}
	bs_wr_u32(&head, from);
	bs_wr_u16(&head, n);
	if (wr.failed)
		return BS_ERR_LIMIT;
	conn_reply(v, conn->front, conn->id, frame->opcode, frame->request_id, BS_OK, v->reply, head.len + wr.len);
	return BS_OK;
}

enum bs_err
op_end_sessions(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	struct bs_rd rd = bs_rd_init(frame->payload, frame->payload_len);
	char user[BS_ACCOUNT_NAME_MAX + 1];
	uint8_t payload[4];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));
	struct ring *ring;

	bs_rd_cstr16(&rd, user, sizeof(user));
	if (!bs_rd_done(&rd))
		return BS_ERR_FORMAT;
	ring = rings_find(v->rings, user);
	bs_wr_u16(&wr, ring == NULL ? 0 : (uint16_t)ring->sessions);
	bs_wr_u16(&wr, ring == NULL ? 0 : (uint16_t)ring->tokens);
	if (ring != NULL) {
		bs_log(BS_LOG_INFO, "%s: %u sessions and %u tokens were ended by pid %d", user, ring->sessions, ring->tokens,
		    (int)conn->pid);
		conn_end_account(v, ring, BS_ENDED_BY_ADMIN);
	}
	conn_reply(v, conn->front, conn->id, frame->opcode, frame->request_id, BS_OK, payload, wr.len);
	return BS_OK;
}
