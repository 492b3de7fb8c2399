/*
 * rewrite: what one group of recipients sees of a header: a label in the subject or in a field of its own, a note. All else
 * stays byte for byte.
 *
 * Labels and notes of ASCII stand as they are; others as encoded-words (RFC 2047) of their own. A subject that begins with the
 * label already is left alone. Output goes to out(); its error is returned. One thread.
 *
 *     rewrite_init(&r, "[SPAM]", true, "score 7.1");
 *     err = rewrite_begin(&r, out, ctx);                   // what stands above all
 *     err = rewrite_field(&r, &piece, out, ctx);           // for each piece
 *     err = rewrite_end(&r, out, ctx);                     // before the empty line
 */
#ifndef LMTP_REWRITE_H
#define LMTP_REWRITE_H

#include "fields.h"
#include "verdict_header.h"

#define REWRITE_TEXT_MAX 512 /* a label or note as it stands in a header */

typedef enum bs_err (*rewrite_out)(void *ctx, const void *data, size_t len);

struct rewrite {
	char label[REWRITE_TEXT_MAX]; /* as it stands in a header; "" : none */
	char note[REWRITE_TEXT_MAX];
	char joined[REWRITE_TEXT_MAX]; /* the label with a blank inside, for a subject that begins with an encoded-word */
	bool in_subject;
	bool done; /* the label has its place */
};

void rewrite_init(struct rewrite *r, const char *label, bool in_subject, const char *note);
enum bs_err rewrite_begin(struct rewrite *r, rewrite_out out, void *ctx) BS_MUST_USE;
enum bs_err rewrite_field(struct rewrite *r, const struct field_piece *piece, rewrite_out out, void *ctx) BS_MUST_USE;
enum bs_err rewrite_end(struct rewrite *r, rewrite_out out, void *ctx) BS_MUST_USE;

/* text as it stands in a header; folds as CR LF blank. tail: one blank more at its end, inside the last word. */
void rewrite_encode(const char *text, bool tail, char out[REWRITE_TEXT_MAX]);

#endif
