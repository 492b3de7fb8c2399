/*
 * passdb_record: the public record that travels with the answer "there is such a user", so that the process which stores the mail
 * need not ask keyd as well; and the auth module's memory of records: of a burst of mail to one account the first asks keyd.
 *
 * Kept for BS_RECENT_MS, and only of sealed accounts: of another each mail must ask whether it is one by now. Who uses the
 * memory sees to it that keyd is there.
 *
 *     if (passdb_record_recall(recent, request)) answer at once;
 *     err = passdb_record_take(recent, request, payload, len, asked_ms);    // what keyd answered
 */
#ifndef BASALT_PASSDB_RECORD_H
#define BASALT_PASSDB_RECORD_H

#include "recent.h"

struct auth_request;

/* The reply to RECORD becomes a field of the userdb. BS_ERR_FORMAT. recent may be NULL in both. */
enum bs_err passdb_record_take(struct bs_recent *recent, struct auth_request *request, const uint8_t *payload, size_t len,
    int64_t asked_ms) BS_MUST_USE;
/* The same from memory; false: ask keyd. */
bool passdb_record_recall(const struct bs_recent *recent, struct auth_request *request);

#endif
