/*
 * convert_file: one mail file of a Maildir or sdbox that holds text, sealed in its place for its account; and the way back (swap.h).
 *
 * Sealing needs the account's public record alone, which the caller has verified. The text stays as it is, byte for byte, and so do its
 * sizes, in dbox's metadata too; what was written is read back and opened before it counts.
 *
 *     err = convert_seal(&convert, &file);
 */
#ifndef CTL_CONVERT_FILE_H
#define CTL_CONVERT_FILE_H

#include "keyclient.h"
#include "record.h"
#include "swap.h"

struct convert {
	struct bs_record record;
	struct bs_keyclient *session; /* of convert_open() alone: the account's */
};

/*
 * Not done: it is sealed already, or (open) it is not. BS_ERR_ARG: file->left says why it is left as it is. BS_ERR_ACCOUNT: it is another
 * account's. BS_ERR_AUTH, _FORMAT, _SHORT, _VERSION: damaged, or not a file that we know. Others: swap.h's, and of open keyd's.
 */
enum bs_err convert_seal(struct convert *convert, struct swap_file *file) BS_MUST_USE;
enum bs_err convert_open(struct convert *convert, struct swap_file *file) BS_MUST_USE;

#endif
