#include "compat.h"

#include "records.h"

#define TIMEOUT_MS 10000

static struct bs_keyclient *records;
static char *records_path;
static bool told_older;

/* A record, or a whole keyset where that is wanted. */
struct question {
	const char *account;
	uint8_t *record;
	uint8_t **keyset; /* NULL: the record */
	size_t *len;
};

static void
records_close(void)
{
	bs_keyclient_free(records);
	records = NULL;
	i_free_and_null(records_path);
}

void
basalt_records_deinit(void)
{
	records_close();
}

static enum bs_err
ask_once(const char *path, const struct question *q)
{
	enum bs_err err;

	if (records != NULL && null_strcmp(records_path, path) != 0)
		records_close();
	if (records == NULL) {
		err = bs_keyclient_connect(path, TIMEOUT_MS, &records);
		if (err != BS_OK)
			return err;
		records_path = i_strdup(path);
	}
	err = q->keyset == NULL ? bs_keyclient_record(records, q->account, q->record, q->len)
	                        : bs_keyclient_keyset_of(records, q->account, q->keyset, q->len);
	if (bs_keyclient_is_dead(records) || err == BS_ERR_PERM)
		records_close();
	return err;
}

/* keyd may have closed the kept connection meanwhile. */
static enum bs_err
ask(const char *path, const struct question *q)
{
	bool fresh = records == NULL;
	enum bs_err err = ask_once(path, q);

	if (!fresh && records == NULL && (err == BS_ERR_IO || err == BS_ERR_UNAVAIL))
		err = ask_once(path, q);
	return err;
}

bool
basalt_records_is_login(const struct basalt_user *bu)
{
	return strcmp(bu->user->service, "imap") == 0 || strcmp(bu->user->service, "pop3") == 0;
}

enum bs_err
basalt_records_record(struct basalt_user *bu, uint8_t bytes[BS_RECORD_MAX], size_t *len_r)
{
	const struct question q = { .account = bu->account, .record = bytes, .len = len_r };

	return ask(t_strconcat(bu->run_dir, basalt_records_is_login(bu) ? "/" BS_SOCKET_MAIL : "/" BS_SOCKET_DELIVERY, NULL), &q);
}

enum bs_err
basalt_records_keyset(struct basalt_user *bu, uint8_t **blob_r, size_t *len_r)
{
	const struct question q = { .account = bu->account, .keyset = blob_r, .len = len_r };
	enum bs_err err = basalt_records_is_login(bu) ? BS_ERR_UNAVAIL : ask(t_strconcat(bu->run_dir, "/" BS_SOCKET_DELIVERY, NULL), &q);

	if (err == BS_ERR_PERM && !told_older) {
		e_warning(bu->user->event, "basalt: basalt-keyd is older than this plugin and gives no keysets to deliveries: until it is restarted, mail "
		    "homes get the keys of new mail at the next login only");
		told_older = true;
	}
	return err;
}
