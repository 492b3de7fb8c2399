/*
 * dboxmeta: the lines that Dovecot keeps behind the message of an sdbox file (lib-storage/index/dbox-common/dbox-storage.h): a letter, and
 * its value up to the line's end; an empty line ends them.
 *
 * One of them, Z, is the text's length where that is not the length of what is stored. It alone depends on the form that a message is
 * stored in. Errors: BS_ERR_FORMAT, BS_ERR_IO (errno), BS_ERR_NOMEM. One thread.
 *
 *     err = dboxmeta_read(fd, mail.off + mail.len, file_size, &meta);
 *     err = dboxmeta_set_text_len(&meta, text_len);      // and write meta.bytes
 *     dboxmeta_clear(&meta);
 */
#ifndef CTL_DBOXMETA_H
#define CTL_DBOXMETA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define DBOXMETA_TEXT_LEN 'Z'
#define DBOXMETA_ATTACHMENTS 'X' /* parts of the text lie in other files */

struct dboxmeta {
	char *bytes; /* from the magic on that ends the message; owned */
	size_t len;
};

/* What lies from off to the file's end. */
enum bs_err dboxmeta_read(int fd, uint64_t off, uint64_t end, struct dboxmeta *out) BS_MUST_USE;
void dboxmeta_clear(struct dboxmeta *meta);
bool dboxmeta_has(const struct dboxmeta *meta, char letter);
/* In Z's place, or as the first line; 0: there is none. On failure all is as it was. */
enum bs_err dboxmeta_set_text_len(struct dboxmeta *meta, uint64_t text_len) BS_MUST_USE;

#endif
