/*
 * verified: a memory of the public records that this process has verified. An lmtp process makes a mail user for each
 * delivery, and Ed25519 costs more than the rest of sealing a small mail: the same bytes are not verified twice.
 *
 *     err = basalt_verified_open(bytes, len, site_pub, account, &rec);    // in place of bs_record_open()
 */
#ifndef BASALT_VERIFIED_H
#define BASALT_VERIFIED_H

#include "record.h"

/* As bs_record_open(), with a name. */
enum bs_err basalt_verified_open(const uint8_t *bytes, size_t len, const uint8_t site_pub[BS_SIGN_PUB_LEN],
    const char *account, struct bs_record *out) BS_MUST_USE;

#endif
