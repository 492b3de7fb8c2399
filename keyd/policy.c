#include "policy.h"

#include <string.h>

#include "link.h"
#include "sock.h"
#include "store_policy.h"

#define BACKOFF_MS 2000 /* after a database that failed: questions are answered without it */

struct policy {
	const struct keydconf *conf;
	struct bs_store_policy *store; /* NULL: not open */
	int64_t next_try_ms;
	bool complained;
};

static enum bs_err
look_up(struct policy *p, const char *account, int64_t *linger_s)
{
	enum bs_err err = BS_OK;

	if (p->store == NULL)
		err = bs_store_policy_open(p->conf->policy, p->conf->policy_password_file, (int)p->conf->database_timeout_ms, false,
		    &p->store);
	return err == BS_OK ? bs_account_linger(p->store, account, linger_s) : err;
}

/* BS_ERR_NOENT: the policy says nothing of it. */
static enum bs_err
ask(struct policy *p, const char *account, int64_t *linger_s)
{
	enum bs_err err = bs_now_ms() < p->next_try_ms ? BS_ERR_BUSY : look_up(p, account, linger_s);

	if (err == BS_OK || err == BS_ERR_NOENT) {
		if (p->complained)
			bs_log(BS_LOG_INFO, "policy database answers again");
		p->complained = false;
		return err == BS_OK && *linger_s == BS_LINGER_DEFAULT ? BS_ERR_NOENT : err;
	}
	if (err == BS_ERR_BUSY)
		return err;
	if (err != BS_ERR_IO) /* one row that is nonsense is no reason not to ask for the others */
		p->next_try_ms = bs_now_ms() + BACKOFF_MS;
	if (!p->complained)
		bs_log(BS_LOG_ERROR, "policy database %s: %s; keys stay as long as was known, or as session.linger_s says", p->conf->policy,
		    bs_store_policy_errmsg(p->store));
	p->complained = true;
	return BS_ERR_UNAVAIL;
}

static enum bs_err
serve_one(struct policy *p, struct chan *ch, const struct link_msg *msg)
{
	struct bs_rd rd = bs_rd_init(msg->payload, msg->len);
	uint8_t payload[2 + BS_ACCOUNT_NAME_MAX + 2 + 4];
	struct bs_wr wr = bs_wr_init(payload, sizeof(payload));
	char account[BS_ACCOUNT_NAME_MAX + 1];
	bool known_type = msg->type == LINK_LINGER;
	int64_t linger_s = 0;
	enum bs_err err;

	bs_rd_cstr16(&rd, account, sizeof(account));
	known_type = known_type && bs_rd_done(&rd);
	link_take(ch, msg);
	if (!known_type)
		return BS_ERR_FORMAT;
	err = ask(p, account, &linger_s);
	bs_wr_str16(&wr, account, strlen(account));
	bs_wr_u16(&wr, (uint16_t)err);
	bs_wr_u32(&wr, (uint32_t)linger_s);
	err = wr.failed ? BS_ERR_INTERNAL : link_put(ch, LINK_LINGER, 0, payload, wr.len);
	return err == BS_OK ? chan_flush_wait(ch) : err;
}

int
policy_run(int fd, const struct keydconf *conf)
{
	struct policy p = { .conf = conf };
	struct chan ch;
	struct link_msg msg;

	chan_init(&ch, fd, LINK_LINGER_ROOM, LINK_LINGER_ROOM);
	while (link_wait(&ch, &msg) == BS_OK && serve_one(&p, &ch, &msg) == BS_OK)
		;
	chan_clear(&ch);
	bs_store_policy_close(p.store);
	return 0;
}
