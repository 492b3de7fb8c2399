/*
 * carrier: how dsync carries the bytes of a sealed file from one process without keys to another (docs/DOVECOT.md).
 *
 * dsync knows a mail as one stream of bytes. A carrier is such a stream: BS_CARRIER_LEN bytes that say what a process
 * without keys can't see (the plaintext's sizes), then the file as it is. A plaintext mail that happens to begin like a
 * carrier travels as BS_CARRIER_LITERAL, so that nothing in a mail is ever taken for one. Bytes in, bytes out.
 *
 *     at  bytes
 *      0      8  magic 89 42 53 43 0D 0A 1A 0A
 *      8      1  version: 1
 *      9      1  kind
 *     10      2  0
 *     12      8  physical size of the plaintext      LITERAL: 0
 *     20      8  virtual size, or 2^64 - 1: unknown  LITERAL: 0
 *     28      8  bytes that follow                   LITERAL: 0, up to the end of the stream
 */
#ifndef BS_CARRIER_H
#define BS_CARRIER_H

#include "msgfmt.h"

#define BS_CARRIER_LEN 36

enum bs_carrier_kind {
	BS_CARRIER_INTACT = 1,  /* a sealed file whose digest is right */
	BS_CARRIER_DAMAGED = 2, /* one of our files that was damaged where it comes from */
	BS_CARRIER_LITERAL = 3, /* a plaintext mail */
};

struct bs_carrier {
	enum bs_carrier_kind kind;
	uint64_t physical_len;
	uint64_t virtual_len; /* UINT64_MAX: unknown */
	uint64_t file_len;
};

/* True for carriers, also for one whose magic shows that it was mangled on its way. */
bool bs_carrier_begins(const void *data, size_t len);
void bs_carrier_write(const struct bs_carrier *head, uint8_t out[BS_CARRIER_LEN]);
/* BS_ERR_FORMAT, BS_ERR_VERSION. Sizes that no file of that length can have are BS_ERR_FORMAT. */
enum bs_err bs_carrier_parse(const uint8_t in[BS_CARRIER_LEN], struct bs_carrier *out) BS_MUST_USE;

/*
 * For who fills in a head by what a file's name or an index says: false for sizes that no such file can have, which would be
 * refused. The virtual size is compared with the physical one. Not of LITERAL.
 */
bool bs_carrier_physical_possible(const struct bs_carrier *head);
bool bs_carrier_virtual_possible(const struct bs_carrier *head);

/* Looks at the bytes of a file as they pass: is its footer's digest right? */
struct bs_passing;

struct bs_passing *bs_passing_new(uint64_t file_len);
void bs_passing_update(struct bs_passing *pass, const uint8_t *data, size_t len);
/* BS_ERR_SHORT: fewer or more bytes than announced. BS_ERR_FORMAT, BS_ERR_AUTH: the file is damaged. */
enum bs_err bs_passing_end(struct bs_passing *pass) BS_MUST_USE;
void bs_passing_free(struct bs_passing *pass);

#endif
