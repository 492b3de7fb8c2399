#include <stdio.h>
#include <string.h>

#include "linger.h"
#include "vault.h"

/* In which state of a connection an operation is heard. */
enum state { ANY, FRESH, SESSION };

static const struct {
	uint8_t opcode;
	enum state state;
	op_fn run;
} ops[] = {
	{ BS_OP_LOGIN, ANY, op_login },
	{ BS_OP_EXISTS, ANY, op_exists },
	{ BS_OP_ATTACH, FRESH, op_attach },
	{ BS_OP_UNWRAP, SESSION, op_unwrap },
	{ BS_OP_SUBKEY, SESSION, op_subkey },
	{ BS_OP_RECORD, ANY, op_record },
	{ BS_OP_KEYSET, SESSION, op_keyset },
	{ BS_OP_CLOSE, SESSION, op_close },
	{ BS_OP_HOLDS, SESSION, op_holds },
	{ BS_OP_LOGIN_MEMBER, ANY, op_login_member },
	{ BS_OP_ENROL_LOGIN, ANY, op_enrol_login },
	{ BS_OP_RESUME_TOKEN, SESSION, op_resume_token },
	{ BS_OP_DROP_TOKEN, SESSION, op_drop_token },
	{ BS_OP_KEYSET_OF, ANY, op_keyset_of },
	{ BS_OP_ENROL, ANY, op_enrol },
	{ BS_OP_PASSWD, ANY, op_passwd },
	{ BS_OP_REMOVE, ANY, op_remove },
	{ BS_OP_STATUS, ANY, op_status },
	{ BS_OP_SET_FLAGS, ANY, op_set_flags },
	{ BS_OP_SLOTS, ANY, op_slots },
	{ BS_OP_ADD_SLOT, ANY, op_add_slot },
	{ BS_OP_REMOVE_SLOT, ANY, op_remove_slot },
	{ BS_OP_ROTATE, ANY, op_rotate },
	{ BS_OP_CHANGE_PASSWORD, ANY, op_change_password },
	{ BS_OP_RESET, ANY, op_reset },
	{ BS_OP_HEAL, ANY, op_heal },
	{ BS_OP_RESTORE, ANY, op_restore },
	{ BS_OP_DROP_KEY, ANY, op_drop_key },
	{ BS_OP_OPEN, ANY, op_open },
	{ BS_OP_SESSIONS, ANY, op_sessions },
	{ BS_OP_END_SESSIONS, ANY, op_end_sessions },
	{ BS_OP_KEYS, ANY, op_keys },
	{ BS_OP_RESTORE_KEYSET, ANY, op_restore_keyset },
	{ BS_OP_KEYSET_DIGEST, ANY, op_keyset_digest },
};
#define N_OPS (sizeof(ops) / sizeof(ops[0]))

static void
send_front(struct vault *v, unsigned front, uint8_t type, uint64_t id, const void *payload, size_t len)
{
	if (link_put(&v->fronts[front], type, id, payload, len) == BS_OK)
		return;
	bs_log(BS_LOG_ERROR, "the front of socket '%s' does not take its messages", v->conf->sockets[front].name);
	v->broken = true;
}

struct conn *
conn_find(struct vault *v, unsigned front, uint64_t id)
{
	uint32_t i = FRONT_INDEX(id);

	if (id == 0 || i >= v->conf->sockets[front].clients_max || v->conns[front][i].id != id)
		return NULL;
	return &v->conns[front][i];
}

void
conn_reply(struct vault *v, unsigned front, uint64_t id, uint8_t opcode, uint32_t request_id, enum bs_err err,
    const void *payload, size_t len)
{
	const struct conn *conn = conn_find(v, front, id);
	size_t frame_len;

	if (conn == NULL || conn->closing)
		return;
	frame_len = bs_keyproto_frame(v->frame, BS_FRAME_MAX, opcode, err, request_id, err == BS_OK ? payload : NULL,
	    err == BS_OK ? len : 0);
	if (frame_len == 0)
		v->broken = true; /* no reply is so long */
	else
		send_front(v, front, LINK_FRAME, id, v->frame, frame_len);
	bs_wipe(v->frame, frame_len);
}

static void
end_session(struct vault *v, struct conn *conn)
{
	struct ring *ring = conn->session;

	if (ring == NULL)
		return;
	LIST_REMOVE(conn, of_ring);
	conn->session = NULL;
	v->session_count--;
	if (ring->sessions == 1 && ring->tokens == 0)
		linger_ask(v, ring->name);
	ring_release(v->rings, ring, &ring->sessions, v->now_ms);
}

void
conn_close(struct vault *v, struct conn *conn)
{
	end_session(v, conn);
	if (!conn->closing)
		send_front(v, conn->front, LINK_CLOSE, conn->id, NULL, 0);
	conn->closing = true;
}

void
conn_start_session(struct vault *v, struct conn *conn, struct ring *ring, const char *service)
{
	ring_hold(v->rings, ring, &ring->sessions);
	conn->session = ring;
	conn->since_ms = v->now_ms;
	(void)snprintf(conn->service, sizeof(conn->service), "%s", service);
	LIST_INSERT_HEAD(&ring->conns, conn, of_ring);
	v->session_count++;
	send_front(v, conn->front, LINK_SESSION, conn->id, NULL, 0);
}

bool
conn_has_room(struct vault *v, struct ring *ring)
{
	if (v->session_count + tokens_count(v->tokens) >= (size_t)v->conf->sessions_max)
		return false;
	return ring->sessions + ring->tokens < v->conf->per_account_max || tokens_yield(v->tokens, ring, v->now_ms);
}

/* The last that a session hears. */
static void
say_ended(struct vault *v, const struct conn *conn, enum bs_ended why)
{
	uint8_t reason = (uint8_t)why;

	conn_reply(v, conn->front, conn->id, BS_OP_ENDED, 0, BS_OK, &reason, sizeof(reason));
}

void
conn_end_account(struct vault *v, struct ring *ring, enum bs_ended why)
{
	struct conn *conn;

	/* Held by us as well, so that it does not go while the others let go. */
	ring_hold(v->rings, ring, &ring->sessions);
	while ((conn = LIST_FIRST(&ring->conns)) != NULL) {
		say_ended(v, conn, why);
		conn_close(v, conn);
	}
	tokens_drop(v->tokens, ring, v->now_ms);
	rings_close(v->rings, ring);
}

/* What is not permitted is no request at all: it is refused, logged, and the connection ends. */
static void
refuse(struct vault *v, struct conn *conn, const struct bs_frame *frame, enum bs_err err)
{
	v->stats.refused++;
	bs_log(BS_LOG_WARNING, "refused: opcode %u on socket '%s' from pid %d, uid %d: %s", frame->opcode,
	    v->conf->sockets[conn->front].name, (int)conn->pid, (int)conn->uid, bs_err_text(err));
	conn_reply(v, conn->front, conn->id, frame->opcode, frame->request_id, err, NULL, 0);
	conn_close(v, conn);
}

static bool
state_fits(const struct conn *conn, enum state state)
{
	return state == ANY || (state == SESSION) == (conn->session != NULL);
}

static void
dispatch(struct vault *v, struct conn *conn, const struct bs_frame *frame)
{
	enum bs_err err = BS_ERR_PERM;
	size_t i = 0;

	if (conn->session != NULL)
		conn->session->used_ms = v->now_ms;
	while (i < N_OPS && ops[i].opcode != frame->opcode)
		i++;
	if (i < N_OPS && (bs_keyproto_permitted(frame->opcode) & v->conf->sockets[conn->front].peer) != 0
	    && state_fits(conn, ops[i].state))
		err = frame->status == 0 ? ops[i].run(v, conn, frame) : BS_ERR_FORMAT;
	if (err == BS_ERR_PERM || err == BS_ERR_FORMAT)
		refuse(v, conn, frame, err);
	else if (err != BS_OK)
		conn_reply(v, conn->front, conn->id, frame->opcode, frame->request_id, err, NULL, 0);
}

static bool
open_conn(struct vault *v, unsigned front, const struct link_msg *msg)
{
	struct bs_rd rd = bs_rd_init(msg->payload, msg->len);
	pid_t pid = (pid_t)bs_rd_u32(&rd);
	uid_t uid = bs_rd_u32(&rd);
	uint32_t i = FRONT_INDEX(msg->id);
	struct conn *conn;

	(void)bs_rd_u32(&rd);
	if (!bs_rd_done(&rd) || msg->id == 0 || i >= v->conf->sockets[front].clients_max)
		return false;
	conn = &v->conns[front][i];
	if (conn->id != 0)
		return false;
	*conn = (struct conn){ .id = msg->id, .front = front, .pid = pid, .uid = uid };
	v->conn_count[front]++;
	return true;
}

static bool
take_frame(struct vault *v, unsigned front, const struct link_msg *msg)
{
	struct conn *conn = conn_find(v, front, msg->id);
	struct bs_frame frame;

	if (conn == NULL || bs_keyproto_parse(msg->payload, msg->len, BS_FRAME_MAX, &frame) != BS_OK || frame.len != msg->len)
		return false;
	if (!conn->closing)
		dispatch(v, conn, &frame);
	return true;
}

static bool
close_conn(struct vault *v, unsigned front, const struct link_msg *msg)
{
	struct conn *conn = conn_find(v, front, msg->id);

	if (conn == NULL)
		return false;
	end_session(v, conn);
	memset(conn, 0, sizeof(*conn));
	v->conn_count[front]--;
	return true;
}

void
conn_on_message(struct vault *v, unsigned front, const struct link_msg *msg)
{
	bool ok = msg->type == LINK_OPEN ? open_conn(v, front, msg)
	    : msg->type == LINK_FRAME    ? take_frame(v, front, msg)
	    : msg->type == LINK_CLOSE    ? close_conn(v, front, msg)
	    : msg->type == LINK_PAUSED   ? leaving_on_paused(v, front, msg->id)
					 : false;

	if (ok)
		return;
	bs_log(BS_LOG_ALARM, "the front of socket '%s' broke the rules: message %u", v->conf->sockets[front].name, msg->type);
	v->broken = true;
}
