/*
 * verdict_header: the sealed header field that carries each recipient's verdict from the milter to basalt-lmtp, in the one
 * queue file of a message (docs/FORMAT.verdict.md). Bytes in, bytes out; it knows no dialogue and no mailbox.
 *
 * The writer is told of every final recipient and gives the field's value; the reader opens a value and is asked by
 * recipient. Addresses are compared in one form: lower-case, without +extension. A writer or verdict belongs to one thread;
 * keys to any.
 * Errors: BS_ERR_ARG (an address or part that the format does not take), BS_ERR_LIMIT (no room; the writer is unchanged),
 * BS_ERR_NOENT (no key; recipient not listed), and of a value that does not open: BS_ERR_FORMAT, BS_ERR_VERSION,
 * BS_ERR_NOENT (unknown key id), BS_ERR_AUTH, BS_ERR_EXPIRED.
 *
 *     err = bs_verdict_writer_new(keys, time(NULL), &w);
 *     err = bs_verdict_writer_add(w, "alice@example.org", &(struct bs_verdict_part){ .what = BS_VERDICT_DROP });
 *     err = bs_verdict_writer_value(w, value);             // insert BS_VERDICT_FIELD at index 0
 *
 *     err = bs_verdict_open(keys, value, value_len, time(NULL), &v);
 *     err = bs_verdict_find(v, "Alice+list@example.org", &part);
 */
#ifndef BS_VERDICT_HEADER_H
#define BS_VERDICT_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "verdict_keys.h"

#define BS_VERDICT_FIELD "X-Basalt-Verdict"
#define BS_VERDICT_LABEL_FIELD "X-Basalt-Label"
#define BS_VERDICT_NOTE_FIELD "X-Basalt-Note"
#define BS_VERDICT_FIELD_MAX 32768 /* the whole field as SMTP carries it: name, folds, line ends */
#define BS_VERDICT_ID_MAX 33       /* bs_verdict_id() with its NUL */

enum bs_verdict_what { BS_VERDICT_DELIVER = 1, BS_VERDICT_DROP = 2, BS_VERDICT_REJECT = 3 };

/*
 * What is done for one recipient. Texts are UTF-8 without control characters; "" is none. folder, label, note and
 * keep_detail count for BS_VERDICT_DELIVER, code, status and text for BS_VERDICT_REJECT.
 */
struct bs_verdict_part {
	enum bs_verdict_what what;
	char folder[129];   /* bs_verdict_folder_ok() */
	char label[65];
	bool label_subject; /* the label goes into Subject; else into BS_VERDICT_LABEL_FIELD */
	bool keep_detail;   /* mail to user+detail goes to the folder "detail", unless folder says otherwise */
	char note[201];     /* BS_VERDICT_NOTE_FIELD of this recipient alone */
	char code[4];       /* "550" */
	char status[12];    /* "5.7.1" */
	char text[201];     /* printable ASCII */
};

/* May a folder have this name? Printable ASCII with few exceptions: docs/POSTFIX.md, "Folders". */
bool bs_verdict_folder_ok(const char *folder);

struct bs_verdict_writer;

/* Takes the key that seals now. BS_ERR_NOENT: none does. */
enum bs_err bs_verdict_writer_new(struct bs_verdict_keys *keys, int64_t now_s, struct bs_verdict_writer **out) BS_MUST_USE;
void bs_verdict_writer_free(struct bs_verdict_writer *w);
/* Of an address that comes twice, the first part counts. */
enum bs_err bs_verdict_writer_add(struct bs_verdict_writer *w, const char *address, const struct bs_verdict_part *part)
    BS_MUST_USE;
/* How many more fit when each has the longest part there is, unlike all others. Equal parts and texts are kept once. */
size_t bs_verdict_writer_room(const struct bs_verdict_writer *w);
/* Appends the value: leading blank, folds as "\n\t", no line end. out needs room for BS_VERDICT_FIELD_MAX. */
enum bs_err bs_verdict_writer_value(struct bs_verdict_writer *w, struct bs_buf *out) BS_MUST_USE;
/* The message id that the reader will see; as bs_verdict_id(). */
const char *bs_verdict_writer_id(const struct bs_verdict_writer *w);

struct bs_verdict;

/* value as it stands behind the colon, folded in any way. */
enum bs_err bs_verdict_open(struct bs_verdict_keys *keys, const char *value, size_t len, int64_t now_s, struct bs_verdict **out)
    BS_MUST_USE;
void bs_verdict_free(struct bs_verdict *v);
/* Takes any text for an address. */
enum bs_err bs_verdict_find(const struct bs_verdict *v, const char *address, struct bs_verdict_part *out) BS_MUST_USE;
/* 16 random bytes of this message as hex digits: for logs on both sides. */
const char *bs_verdict_id(const struct bs_verdict *v);
/* When it was sealed. */
int64_t bs_verdict_time(const struct bs_verdict *v);

#endif
