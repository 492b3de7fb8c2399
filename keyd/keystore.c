#include "keystore.h"

#include <stdlib.h>
#include <string.h>

#include "keyset.h"
#include "link.h"
#include "sock.h"
#include "store_keys.h"

#define REOPEN_MS 500 /* between two tries to open a database that is away */

struct keystore {
	const struct keydconf *conf;
	struct bs_store_keys *store; /* NULL: not open */
	int64_t next_try_ms;
	bool complained;
	enum bs_err write_err; /* of the last write */
};

/* One question, as it came. blob leads into the message. */
struct question {
	uint8_t type;
	char account[BS_ACCOUNT_NAME_MAX + 1];
	uint64_t generation;
	const uint8_t *blob;
	size_t blob_len;
};

struct answer {
	uint64_t number;
	uint8_t *blob; /* malloced or NULL */
	size_t blob_len;
};

static enum bs_err
open_store(struct keystore *ks)
{
	const struct keydconf *conf = ks->conf;
	enum bs_err err;

	if (ks->store != NULL)
		return BS_OK;
	if (bs_now_ms() < ks->next_try_ms)
		return BS_ERR_UNAVAIL;
	err = bs_store_keys_open(conf->database, conf->database_password_file, (int)conf->database_timeout_ms, &ks->store);
	if (err == BS_OK) {
		bs_log(BS_LOG_INFO, "keys database is open");
		ks->complained = false;
		return BS_OK;
	}
	ks->next_try_ms = bs_now_ms() + REOPEN_MS;
	if (!ks->complained)
		bs_log(BS_LOG_ERROR, "keys database %s cannot be opened: %s; it is tried again at every request", conf->database,
		    bs_store_keys_errmsg(NULL));
	ks->complained = true;
	return err;
}

static enum bs_err
run(struct bs_store_keys *store, const struct question *q, struct answer *a)
{
	switch (q->type) {
	case LINK_GET:
		return bs_store_keys_get(store, q->account, &a->blob, &a->blob_len, &a->number);
	case LINK_PUT:
		return bs_store_keys_put(store, q->account, q->generation, q->blob, q->blob_len);
	case LINK_PUT_PAST:
		return bs_store_keys_put_past(store, q->account, q->generation, q->blob, q->blob_len);
	case LINK_PRUNE:
		return bs_store_keys_prune(store, q->account, q->generation);
	case LINK_REMOVE:
		return bs_store_keys_remove(store, q->account);
	case LINK_COUNT:
		return bs_store_keys_count(store, &a->number);
	default:
		return BS_ERR_FORMAT;
	}
}

static bool
is_plain_answer(enum bs_err err)
{
	return err == BS_OK || err == BS_ERR_NOENT || err == BS_ERR_EXISTS || err == BS_ERR_CONFLICT;
}

static bool
writes(uint8_t type)
{
	return type != LINK_GET && type != LINK_COUNT;
}

/* A full disk can still be read: whoever asks for the count, for the status, hears of it until a write succeeds. */
static enum bs_err
remember(struct keystore *ks, uint8_t type, enum bs_err err)
{
	if (writes(type))
		ks->write_err = is_plain_answer(err) ? BS_OK : err;
	return type == LINK_COUNT && err == BS_OK ? ks->write_err : err;
}

static enum bs_err
ask(struct keystore *ks, const struct question *q, struct answer *a)
{
	enum bs_err err = open_store(ks);

	if (err != BS_OK)
		return bs_err_is_transient(err) ? err : BS_ERR_UNAVAIL;
	err = run(ks->store, q, a);
	if (!is_plain_answer(err))
		bs_log(BS_LOG_ERROR, "keys database: %s: %s", bs_err_text(err), bs_store_keys_errmsg(ks->store));
	return remember(ks, q->type, err);
}

static enum bs_err
parse(const struct link_msg *msg, struct question *q)
{
	struct bs_rd rd = bs_rd_init(msg->payload, msg->len);

	q->type = msg->type;
	bs_rd_cstr16(&rd, q->account, sizeof(q->account));
	q->generation = bs_rd_u64(&rd);
	q->blob = bs_rd_str32(&rd, &q->blob_len);
	return bs_rd_done(&rd) ? BS_OK : BS_ERR_FORMAT;
}

static enum bs_err
reply(struct chan *ch, uint8_t type, uint64_t id, enum bs_err result, const struct answer *a)
{
	size_t size = 2 + 8 + 4 + a->blob_len;
	uint8_t *payload = malloc(size);
	struct bs_wr wr = bs_wr_init(payload, payload == NULL ? 0 : size);
	enum bs_err err;

	if (payload == NULL)
		return BS_ERR_NOMEM;
	bs_wr_u16(&wr, (uint16_t)result);
	bs_wr_u64(&wr, a->number);
	bs_wr_str32(&wr, a->blob, a->blob_len);
	err = wr.failed ? BS_ERR_INTERNAL : link_put(ch, type, id, payload, wr.len);
	free(payload);
	return err == BS_OK ? chan_flush_wait(ch) : err;
}

static enum bs_err
serve_one(struct keystore *ks, struct chan *ch, const struct link_msg *msg)
{
	struct question q;
	struct answer a = { 0 };
	uint64_t id = msg->id;
	uint8_t type = msg->type;
	enum bs_err err = parse(msg, &q);

	if (err == BS_OK)
		err = ask(ks, &q, &a);
	link_take(ch, msg);
	/* What is too large for any keyset was not written by us. */
	if (a.blob_len > BS_KEYSET_MAX) {
		err = BS_ERR_LIMIT;
		free(a.blob);
		a = (struct answer){ 0 };
	}
	err = reply(ch, type, id, err, &a);
	free(a.blob);
	return err;
}

struct keystore *
keystore_new(const struct keydconf *conf, bool heir)
{
	struct keystore *ks = calloc(1, sizeof(*ks));
	enum bs_err err;

	if (ks == NULL)
		return NULL;
	ks->conf = conf;
	err = open_store(ks);
	/* A wrong URL or a schema from the future does not heal by waiting; and an heir is not needed until it can work. */
	if (err == BS_OK || (bs_err_is_transient(err) && !heir))
		return ks;
	bs_log(BS_LOG_FATAL, "keyd.database = \"%s\": %s", conf->database, bs_store_keys_errmsg(NULL));
	free(ks);
	return NULL;
}

int
keystore_run(struct keystore *ks, int fd)
{
	struct chan ch;
	struct link_msg msg;

	chan_init(&ch, fd, 2 * LINK_MAX, LINK_MAX);
	while (link_wait(&ch, &msg) == BS_OK && serve_one(ks, &ch, &msg) == BS_OK)
		;
	chan_clear(&ch);
	bs_store_keys_close(ks->store);
	free(ks);
	return 0;
}
