#include "linger.h"

#include <string.h>

#define RETRY_MS 5000 /* after an answer that the database is away */

/* NULL: there is no such role, or nobody of this name. A keyed hash, so once a login. */
static struct seen_linger *
look_up(const struct vault *v, const char *user)
{
	return v->policy.fd < 0 ? NULL : seen_linger(v->seen, user);
}

static void
ask_if_old(struct vault *v, const char *user, struct seen_linger *known)
{
	uint8_t payload[2 + BS_ACCOUNT_NAME_MAX];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));

	if (v->now_ms < known->next_ms)
		return;
	bs_wr_str16(&wr, user, strlen(user));
	/* A queue that is full belongs to a role that hangs: another login asks again. */
	if (!wr.failed && link_put(&v->policy, LINK_LINGER, 0, payload, wr.len) == BS_OK)
		known->next_ms = v->now_ms + v->conf->linger_check_s * 1000;
}

int64_t
linger_known(const struct vault *v, const char *user)
{
	const struct seen_linger *known = v->policy.fd < 0 ? NULL : seen_linger(v->seen, user);
	int64_t most = v->conf->linger_max_s * 1000;

	if (known == NULL || !known->known)
		return v->conf->linger_s * 1000;
	return known->ms < most ? known->ms : most;
}

void
linger_ask(struct vault *v, const char *user)
{
	struct seen_linger *known = look_up(v, user);

	if (known != NULL)
		ask_if_old(v, user, known);
}

void
linger_apply(struct vault *v, struct ring *ring)
{
	struct seen_linger *known = look_up(v, ring->name);

	if (known == NULL)
		return;
	ask_if_old(v, ring->name, known);
	if (known->known)
		rings_set_linger(v->rings, ring, known->ms, v->now_ms);
}

/* The role may have been taken over, and the database is others' to write: all that an answer can do is in these two lines. */
static void
learn(struct vault *v, const char *user, int64_t seconds, struct seen_linger *known)
{
	struct ring *ring = rings_find(v->rings, user);

	*known = (struct seen_linger){ .known = true, .ms = seconds * 1000, .next_ms = known->next_ms };
	if (ring != NULL)
		rings_set_linger(v->rings, ring, known->ms, v->now_ms);
}

static enum bs_err
take_answer(struct vault *v, const struct link_msg *msg)
{
	struct bs_rd rd = bs_rd_init(msg->payload, msg->len);
	char user[BS_ACCOUNT_NAME_MAX + 1];
	struct seen_linger *known;
	enum bs_err err;
	int64_t seconds;

	bs_rd_cstr16(&rd, user, sizeof(user));
	err = bs_keyproto_status(bs_rd_u16(&rd));
	seconds = bs_rd_u32(&rd);
	if (!bs_rd_done(&rd) || msg->type != LINK_LINGER)
		return BS_ERR_FORMAT;
	known = seen_linger(v->seen, user);
	if (known == NULL || known->next_ms == 0) /* nobody asked, or it is forgotten */
		return BS_OK;
	if (err == BS_OK)
		learn(v, user, seconds < v->conf->linger_max_s ? seconds : v->conf->linger_max_s, known);
	else if (err == BS_ERR_NOENT)
		learn(v, user, v->conf->linger_s, known);
	else if (known->next_ms > v->now_ms + RETRY_MS)
		known->next_ms = v->now_ms + RETRY_MS;
	return BS_OK;
}

void
linger_serve(struct vault *v)
{
	struct link_msg msg;
	enum bs_err err = chan_read(&v->policy);

	if (err == BS_ERR_SHORT)
		err = BS_OK;
	while (err == BS_OK && (err = link_peek(&v->policy, &msg)) == BS_OK) {
		err = take_answer(v, &msg);
		link_take(&v->policy, &msg);
	}
	if (err == BS_OK || err == BS_ERR_SHORT)
		return;
	bs_log(BS_LOG_ERROR, "the role 'policy' talks nonsense and is heard no more: %s", bs_err_text(err));
	chan_clear(&v->policy);
}
