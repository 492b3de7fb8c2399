/*
 * records: what a process asks keyd without a session: public records, and whole keysets, all sealed. Over one connection, to keyd's delivery socket
 * (imap and pop3: the mail socket), which the process keeps from one mail user to the next: to connect costs more than to ask. So does it remember
 * that the log was told of an older keyd.
 *
 *     err = basalt_records_record(bu, bytes, &len);
 *     err = basalt_records_keyset(bu, &blob, &blob_len);
 */
#ifndef BASALT_RECORDS_H
#define BASALT_RECORDS_H

#include "plugin.h"

/* imap or pop3. */
bool basalt_records_is_login(const struct basalt_user *bu);
/* keyd's errors; nothing is verified yet. */
enum bs_err basalt_records_record(struct basalt_user *bu, uint8_t bytes[BS_RECORD_MAX], size_t *len_r) BS_MUST_USE;
/*
 * *blob_r is malloced. Never of imap and pop3, which keyd tells of their own session's account alone: BS_ERR_UNAVAIL. BS_ERR_PERM: an older keyd, which
 * a line in the log has said once.
 */
enum bs_err basalt_records_keyset(struct basalt_user *bu, uint8_t **blob_r, size_t *len_r) BS_MUST_USE;
/* Closes the connection. */
void basalt_records_deinit(void);

#endif
