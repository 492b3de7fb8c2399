#include "keyclient_sessions.h"

#include <stdlib.h>

#include "keyclient_priv.h"

static enum bs_err
read_account(struct bs_rd *rd, bs_open_account_fn fn, void *ctx)
{
	struct bs_open_account account;
	struct bs_open_session *listed;
	enum bs_err err = BS_ERR_FORMAT;

	bs_rd_cstr16(rd, account.user, sizeof(account.user));
	account.since = bs_rd_u64(rd);
	account.used = bs_rd_u64(rd);
	account.linger_left_s = bs_rd_u32(rd);
	account.tokens = bs_rd_u16(rd);
	account.sessions = bs_rd_u16(rd);
	account.listed_count = bs_rd_u16(rd);
	listed = calloc(account.listed_count + 1, sizeof(*listed));
	if (listed == NULL)
		return BS_ERR_NOMEM;
	for (size_t i = 0; i < account.listed_count && !rd->failed; i++) {
		bs_rd_cstr16(rd, listed[i].service, sizeof(listed[i].service));
		listed[i].since = bs_rd_u64(rd);
		listed[i].pid = bs_rd_u32(rd);
	}
	account.listed = listed;
	if (!rd->failed)
		err = fn(ctx, &account);
	free(listed);
	return err;
}

/* One reply. *from: where the next one begins; 0: that was all. */
static enum bs_err
read_page(struct bs_keyclient *kc, const char *user, uint32_t *from, bs_open_account_fn fn, void *ctx)
{
	uint8_t request[REQUEST_MAX];
	struct bs_wr wr = bs_wr_init(request, sizeof(request));
	struct bs_rd rd;
	uint32_t next;
	unsigned n;
	enum bs_err err, end;

	bs_keyclient_write_name(&wr, user);
	bs_wr_u32(&wr, *from);
	err = bs_keyclient_call_written(kc, BS_OP_SESSIONS, &wr, &rd);
	if (err != BS_OK)
		return err;
	next = bs_rd_u32(&rd);
	n = bs_rd_u16(&rd);
	for (; n > 0 && err == BS_OK; n--)
		err = read_account(&rd, fn, ctx);
	if (next != 0 && next <= *from) /* a list without an end */
		err = BS_ERR_FORMAT;
	end = bs_keyclient_end_call(kc, &rd);
	*from = next;
	return err != BS_OK ? err : end;
}

enum bs_err
bs_keyclient_sessions(struct bs_keyclient *kc, const char *user, bs_open_account_fn fn, void *ctx)
{
	uint32_t from = 0;
	enum bs_err err;

	do
		err = read_page(kc, user, &from, fn, ctx);
	while (err == BS_OK && from != 0);
	return err;
}

enum bs_err
bs_keyclient_end_sessions(struct bs_keyclient *kc, const char *user, unsigned *ended)
{
	struct bs_rd rd;
	enum bs_err err = bs_keyclient_call_user(kc, BS_OP_END_SESSIONS, user, &rd);
	unsigned n;

	if (err != BS_OK)
		return err;
	n = bs_rd_u16(&rd);
	n += bs_rd_u16(&rd);
	err = bs_keyclient_end_call(kc, &rd);
	if (err == BS_OK)
		*ended = n;
	return err;
}
