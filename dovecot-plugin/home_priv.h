/*
 * home_priv: how home's files reach the folder; nobody else includes it.
 *
 *     path = basalt_home_path(bu, "record");
 *     err = basalt_home_read(path, bytes, sizeof(bytes), &len);
 *     err = basalt_home_replace(path, bytes, len, &reason);
 */
#ifndef BASALT_HOME_PRIV_H
#define BASALT_HOME_PRIV_H

#include "home.h"

/* The path of a file in the folder (data stack); NULL when the user has no home. */
const char *basalt_home_path(struct basalt_user *bu, const char *name);
/* Up to max bytes of a regular file. BS_ERR_NOENT; BS_ERR_LIMIT when there are more; BS_ERR_IO. */
enum bs_err basalt_home_read(const char *path, uint8_t *buf, size_t max, size_t *len_r) BS_MUST_USE;
/* Whole and synced, or not at all: BS_ERR_IO. */
enum bs_err basalt_home_replace(const char *path, const void *data, size_t len, const char **reason_r) BS_MUST_USE;
/*
 * The keyset whose record these bytes are, from keyd: before the record is there. Within a session it is the copy, else it lies beside that. Transient
 * errors: it can't be had now, and nothing may be sealed by that record. BS_ERR_LIMIT: too many are there, which a session would look through.
 */
enum bs_err basalt_home_keep_ahead(struct basalt_user *bu, const uint8_t *record, size_t record_len, const char **reason_r) BS_MUST_USE;

#endif
