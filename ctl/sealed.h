/*
 * sealed: what a sealed message says without a key, and whether its bytes are those that were written.
 *
 * The message lies at an offset of an open file (mailfile.h). Errors: BS_ERR_IO (errno), BS_ERR_NOMEM. Any thread.
 *
 *     err = ctl_sealed_look(fd, &mail, &look);
 *     if (err == BS_OK && look.what == CTL_SEALED && look.damage != NULL)
 *         ...
 */
#ifndef CTL_SEALED_H
#define CTL_SEALED_H

#include "keyset.h"
#include "mailfile.h"
#include "msgfmt.h"

enum ctl_sealed_what {
	CTL_PLAINTEXT, /* not one of our files */
	CTL_SEALED,    /* or what is left of one */
};

struct ctl_look {
	enum ctl_sealed_what what;
	const char *damage; /* static text, NULL: none */
	bool blank;         /* plaintext that is empty or begins with zeros, as no mail does */
	/* Of a sealed message whose prefix could be read: */
	bool have_prefix;
	struct bs_msg_prefix prefix; /* its pointers lead into bytes */
	uint8_t bytes[BS_MSG_PREFIX_MAX];
	/* And whose footer could be: */
	bool have_footer;
	uint64_t trailer_off; /* from the message's first byte */
	uint32_t trailer_len;
};

/* Reads all of the message: the digest covers every byte. */
enum bs_err ctl_sealed_look(int fd, const struct ctl_mail *mail, struct ctl_look *out) BS_MUST_USE;

/* To the account's active key. */
bool ctl_sealed_to(const struct bs_msg_prefix *prefix, const struct bs_record *record);

/* One chunk, as its clear header says; nothing of it is authenticated without a key. */
struct ctl_chunk {
	uint8_t kind;   /* 1 header, 2 body */
	bool final;
	bool compressed;
	uint64_t off;   /* of its header, from the message's first byte */
	uint32_t plain_len;
	uint32_t stored_len;
};
typedef enum bs_err (*ctl_chunk_fn)(void *ctx, const struct ctl_chunk *chunk);
/* look has prefix and footer. BS_ERR_FORMAT when the chunks do not end where the trailer begins. */
enum bs_err ctl_sealed_chunks(int fd, const struct ctl_mail *mail, const struct ctl_look *look, ctl_chunk_fn fn,
    void *ctx) BS_MUST_USE;

#endif
