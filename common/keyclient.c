#include "keyclient_priv.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "sock.h"

#define LAST_WORD_MS 100 /* it comes whole or not at all */

struct bs_keyclient {
	int fd;
	int timeout_ms;
	uint32_t last_id;
	bool dead;             /* out of step: nothing may be sent any more */
	enum bs_ended ended;   /* what keyd said last */
	struct bs_buf *frame;  /* the request, then its reply; wiped after each call */
};

enum bs_err
bs_keyclient_connect(const char *path, int timeout_ms, struct bs_keyclient **out)
{
	struct bs_keyclient *kc = calloc(1, sizeof(*kc));
	enum bs_err err = BS_ERR_NOMEM;

	if (kc == NULL)
		return BS_ERR_NOMEM;
	kc->fd = -1;
	kc->timeout_ms = timeout_ms;
	kc->frame = bs_buf_new(BS_FRAME_MAX);
	if (kc->frame != NULL)
		err = bs_sock_connect(path, bs_now_ms() + timeout_ms, &kc->fd);
	if (err != BS_OK) {
		bs_keyclient_free(kc);
		return err;
	}
	*out = kc;
	return BS_OK;
}

void
bs_keyclient_free(struct bs_keyclient *kc)
{
	if (kc == NULL)
		return;
	if (kc->fd >= 0)
		(void)close(kc->fd);
	bs_buf_free(kc->frame);
	free(kc);
}

int
bs_keyclient_fd(const struct bs_keyclient *kc)
{
	return kc->fd;
}

bool
bs_keyclient_is_dead(const struct bs_keyclient *kc)
{
	return kc->dead;
}

static enum bs_err
send_request(struct bs_keyclient *kc, uint8_t op, const void *payload, size_t payload_len, int64_t deadline_ms)
{
	uint8_t *frame;
	enum bs_err err = bs_buf_reserve(kc->frame, BS_FRAME_HEADER_LEN + payload_len, &frame);

	if (err != BS_OK)
		return err;
	bs_buf_commit(kc->frame, bs_keyproto_frame(frame, BS_FRAME_HEADER_LEN + payload_len, op, BS_OK, ++kc->last_id,
	    payload, payload_len));
	err = bs_sock_write(kc->fd, bs_buf_data(kc->frame), bs_buf_len(kc->frame), deadline_ms);
	bs_buf_reset(kc->frame);
	kc->dead = err != BS_OK;
	return err;
}

/* Reads len bytes of the reply behind those that kc->frame holds. */
static enum bs_err
read_more(struct bs_keyclient *kc, size_t len, int64_t deadline_ms)
{
	uint8_t *p;
	enum bs_err err = bs_buf_reserve(kc->frame, len, &p);

	if (err == BS_OK)
		err = bs_sock_read(kc->fd, p, len, deadline_ms);
	if (err == BS_OK)
		bs_buf_commit(kc->frame, len);
	return err;
}

static enum bs_err
read_frame(struct bs_keyclient *kc, int64_t deadline_ms, struct bs_frame *frame)
{
	struct bs_rd rd;
	enum bs_err err = read_more(kc, BS_FRAME_HEADER_LEN, deadline_ms);

	if (err != BS_OK)
		return err;
	rd = bs_rd_init(bs_buf_data(kc->frame), bs_buf_len(kc->frame));
	err = bs_keyproto_parse(rd.p, rd.left, BS_FRAME_MAX, frame);
	if (err == BS_ERR_SHORT) {
		err = read_more(kc, bs_rd_u32(&rd) + 4 - BS_FRAME_HEADER_LEN, deadline_ms);
		if (err == BS_OK)
			err = bs_keyproto_parse(bs_buf_data(kc->frame), bs_buf_len(kc->frame), BS_FRAME_MAX, frame);
	}
	return err == BS_ERR_LIMIT || err == BS_ERR_VERSION ? BS_ERR_FORMAT : err;
}

/* True for the frame by which keyd ends a session: it may come in place of any reply. */
static bool
note_end(struct bs_keyclient *kc, const struct bs_frame *frame)
{
	if (frame->opcode != BS_OP_ENDED || frame->request_id != 0 || frame->payload_len != 1)
		return false;
	if (frame->payload[0] <= BS_ENDED_REMOVED)
		kc->ended = (enum bs_ended)frame->payload[0];
	return true;
}

static enum bs_err
read_reply(struct bs_keyclient *kc, uint8_t op, int64_t deadline_ms, struct bs_frame *reply)
{
	enum bs_err err = read_frame(kc, deadline_ms, reply);

	if (err == BS_OK && note_end(kc, reply))
		return BS_ERR_UNAVAIL;
	if (err == BS_OK && (reply->opcode != op || reply->request_id != kc->last_id))
		return BS_ERR_FORMAT;
	return err;
}

/* Wipes what a call left. */
static void
wipe_frame(struct bs_keyclient *kc)
{
	bs_buf_reset(kc->frame);
}

enum bs_ended
bs_keyclient_ended(struct bs_keyclient *kc)
{
	struct bs_frame last;

	kc->dead = true;
	/* Also behind a call that failed: keyd's last word may be there, unread. */
	if (kc->ended == BS_ENDED_GONE && read_frame(kc, bs_now_ms() + LAST_WORD_MS, &last) == BS_OK)
		(void)note_end(kc, &last);
	wipe_frame(kc);
	return kc->ended;
}

enum bs_err
bs_keyclient_call(struct bs_keyclient *kc, uint8_t op, const void *payload, size_t payload_len, struct bs_rd *rd)
{
	int64_t deadline_ms = bs_now_ms() + kc->timeout_ms;
	struct bs_frame reply;
	enum bs_err err;

	if (kc->dead)
		return BS_ERR_UNAVAIL;
	if (payload_len > BS_FRAME_MAX - BS_FRAME_HEADER_LEN)
		return BS_ERR_LIMIT;
	err = send_request(kc, op, payload, payload_len, deadline_ms);
	if (err != BS_OK)
		return err;
	err = read_reply(kc, op, deadline_ms, &reply);
	if (err != BS_OK) {
		kc->dead = true;
		wipe_frame(kc);
		return err;
	}
	err = bs_keyproto_status(reply.status);
	if (err != BS_OK) {
		kc->dead = err == BS_ERR_FORMAT; /* after which keyd closes */
		wipe_frame(kc);
		return err;
	}
	*rd = bs_rd_init(reply.payload, reply.payload_len);
	return BS_OK;
}

enum bs_err
bs_keyclient_end_call(struct bs_keyclient *kc, const struct bs_rd *rd)
{
	enum bs_err err = bs_rd_done(rd) ? BS_OK : BS_ERR_FORMAT;

	kc->dead = err != BS_OK;
	wipe_frame(kc);
	return err;
}

enum bs_err
bs_keyclient_call_written(struct bs_keyclient *kc, uint8_t op, struct bs_wr *wr, struct bs_rd *rd)
{
	enum bs_err err = wr->failed ? BS_ERR_LIMIT : bs_keyclient_call(kc, op, wr->base, wr->len, rd);

	bs_wipe(wr->base, wr->size);
	return err;
}

void
bs_keyclient_write_name(struct bs_wr *wr, const char *text)
{
	bs_wr_str16(wr, text, strlen(text));
}

void
bs_keyclient_write_password(struct bs_wr *wr, const char *password)
{
	size_t len = strlen(password);

	if (len > BS_PASSWORD_MAX)
		wr->failed = true;
	bs_wr_str16(wr, password, len);
}

enum bs_err
bs_keyclient_call_user(struct bs_keyclient *kc, uint8_t op, const char *user, struct bs_rd *rd)
{
	uint8_t request[REQUEST_MAX];
	struct bs_wr wr = bs_wr_init(request, sizeof(request));

	bs_keyclient_write_name(&wr, user);
	return bs_keyclient_call_written(kc, op, &wr, rd);
}

enum bs_err
bs_keyclient_call_blob(struct bs_keyclient *kc, uint8_t op, const char *user, uint8_t **out, size_t *out_len)
{
	uint8_t *copy = NULL;
	const uint8_t *p;
	struct bs_rd rd;
	size_t len;
	enum bs_err err = user == NULL ? bs_keyclient_call(kc, op, NULL, 0, &rd) : bs_keyclient_call_user(kc, op, user, &rd);

	if (err != BS_OK)
		return err;
	p = bs_rd_str32(&rd, &len);
	if (p != NULL && (copy = malloc(len + 1)) != NULL) {
		memcpy(copy, p, len);
		copy[len] = '\0';
	}
	err = bs_keyclient_end_call(kc, &rd);
	if (err == BS_OK && copy == NULL)
		err = BS_ERR_NOMEM;
	if (err != BS_OK) {
		free(copy);
		return err;
	}
	*out = copy;
	*out_len = len;
	return BS_OK;
}
