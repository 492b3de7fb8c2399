/*
 * fields: cuts the header of a message that comes in pieces into fields, in memory of fixed size.
 *
 * A line ends with LF, with or without CR; a field is a line and the lines behind it that begin with a blank or tab. A field
 * longer than FIELDS_HOLD comes in several pieces. What is no field (no colon) comes as one, with its own bytes: the
 * header ends at an empty line or at the end alone. All bytes come through field() and end(), in order, unchanged.
 * One thread. An error of a callback ends the feeding and is returned.
 *
 *     fields_init(f, on_field, on_end, ctx);
 *     err = fields_feed(f, data, len, &used);      // used < len: what is left is body
 *     err = fields_finish(f);                      // the message has ended; calls on_end() if it has not been
 */
#ifndef LMTP_FIELDS_H
#define LMTP_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define FIELDS_HOLD 65536

struct field_piece {
	const uint8_t *data;
	size_t len;
	bool first, last; /* of its field */
};

struct fields {
	enum bs_err (*on_field)(void *ctx, const struct field_piece *piece);
	enum bs_err (*on_end)(void *ctx, const uint8_t *blank_line, size_t len);
	void *ctx;
	bool ended;
	bool line_start;
	bool streaming; /* the field's first piece is out */
	size_t held;
	uint8_t hold[FIELDS_HOLD];
};

void fields_init(struct fields *f, enum bs_err (*on_field)(void *ctx, const struct field_piece *piece),
    enum bs_err (*on_end)(void *ctx, const uint8_t *blank_line, size_t len), void *ctx);
enum bs_err fields_feed(struct fields *f, const uint8_t *data, size_t len, size_t *used) BS_MUST_USE;
enum bs_err fields_finish(struct fields *f) BS_MUST_USE;

/* Is this the first piece of a field of this name? Letter case and blanks before the colon do not matter. */
bool field_is(const struct field_piece *piece, const char *name);
/* Where the value begins: behind the colon; len if there is none. */
size_t field_value_at(const struct field_piece *piece);

#endif
