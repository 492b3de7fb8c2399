/*
 * netstring: the framing of Postfix's socketmap protocol: "LENGTH:BYTES,".
 *
 * Bytes in, bytes out. Errors: BS_ERR_SHORT (not whole yet), BS_ERR_FORMAT, BS_ERR_LIMIT.
 *
 *     err = netstring_parse(data, len, 1024, &start, &payload_len, &used);
 *     err = netstring_append(buf, "OK alice@example.org", 20);
 */
#ifndef MILTER_NETSTRING_H
#define MILTER_NETSTRING_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

/* The payload is data[*start .. *start + *len), the whole frame *used bytes. A payload longer than max is BS_ERR_LIMIT. */
enum bs_err netstring_parse(const uint8_t *data, size_t data_len, size_t max, size_t *start, size_t *len, size_t *used)
    BS_MUST_USE;
enum bs_err netstring_append(struct bs_buf *buf, const void *data, size_t len) BS_MUST_USE;

#endif
