#include "compat.h"

#include <auth-common.h>
#include <auth-request.h>
#include <hex-binary.h>

#include "passdb_record.h"
#include "sock.h"
#include "wire.h"

#define RECORD_FIELD "userdb_basalt_record"

/* With its time: between RCPT and DATA a client may let minutes pass. */
static void
set_field(struct auth_request *request, const uint8_t *record, size_t len, int64_t asked_ms)
{
	auth_request_set_field(request, RECORD_FIELD,
	    t_strdup_printf("%jd,%s", (intmax_t)asked_ms, binary_to_hex(record, len)), NULL);
}

static bool
may_be_kept(const uint8_t *record, size_t len, const char *user)
{
	struct bs_record rec;

	return bs_record_parse(record, len, &rec) == BS_OK && strcmp(rec.name, user) == 0 &&
	    (rec.flags & BS_RECORD_FLAG_SEALED) != 0;
}

enum bs_err
passdb_record_take(struct bs_recent *recent, struct auth_request *request, const uint8_t *payload, size_t len,
    int64_t asked_ms)
{
	const char *user = t_str_lcase(request->fields.user);
	struct bs_rd rd = bs_rd_init(payload, len);
	size_t record_len;
	const uint8_t *record = bs_rd_str16(&rd, &record_len);

	if (!bs_rd_done(&rd) || record_len > BS_RECORD_MAX)
		return BS_ERR_FORMAT;
	set_field(request, record, record_len, asked_ms);
	if (recent != NULL && may_be_kept(record, record_len, user))
		bs_recent_put(recent, user, record, record_len, asked_ms);
	return BS_OK;
}

bool
passdb_record_recall(const struct bs_recent *recent, struct auth_request *request)
{
	uint8_t record[BS_RECORD_MAX];
	int64_t now_ms = bs_now_ms();
	size_t len = recent == NULL ? 0 : bs_recent_get(recent, t_str_lcase(request->fields.user), now_ms, record);

	/* It may be as old as that. */
	if (len > 0)
		set_field(request, record, len, now_ms - BS_RECENT_MS);
	return len > 0;
}
