/*
 * cache_priv: what the files of the sealed index cache share (cache.h).
 */
#ifndef BASALT_CACHE_PRIV_H
#define BASALT_CACHE_PRIV_H

#include "cache.h"
#include "cacheblob.h"
#include "layer.h"
#include "sealed.h"

/* --- cache.c --- */

struct cache_box {
	union mailbox_module_context module_ctx;
	struct basalt_user *owner;
	bool sealed;           /* opened, of a sealed account: blobs instead of Dovecot's fields */
	unsigned int field[3]; /* Dovecot's numbers of our fields, by bs_cache_kind */
	enum { GUID_UNKNOWN, GUID_KNOWN, GUID_NONE } guid_state;
	guid_128_t guid;
	struct basalt_watch *watch; /* on the mail that is being saved */
};

/* The blobs of one mail, in memory of the data stack; len 0: none. By bs_cache_kind. */
struct cache_found {
	struct bs_cache_bytes bytes[3];
};

/* NULL: nothing sealed is cached here; _any: nor ever will. */
struct cache_box *basalt_cache_box_any(struct mailbox *box);
struct cache_box *basalt_cache_box(struct mailbox *box);
/* False when the mailbox has no GUID or UIDVALIDITY, or the account's id is not known. */
bool basalt_cache_place(struct mailbox *box, uint32_t uid_validity, uint32_t uid, struct bs_cache_place *place_r);
/* False when there are none. */
bool basalt_cache_find(struct mailbox_transaction_context *t, uint32_t seq, struct cache_found *found_r);
/* Seals and adds. Too large: the header is left out; still too large: nothing is added. */
bool basalt_cache_add(struct mailbox_transaction_context *t, uint32_t seq, enum bs_cache_kind kind,
    const uint8_t key[BS_KEY_LEN], const struct bs_cache_place *place, const struct bs_msg_prefix *prefix,
    const struct bs_cache_items *items);

/* --- cache_keys.c --- */

/* The account's cache subkey; false without a session. */
bool basalt_cache_subkey(struct basalt_user *bu, uint8_t key[BS_KEY_LEN]);
/* The data key of a mail whose storing left a blob with this prefix; those of the mails after it are asked for as well. */
bool basalt_cache_data_key(struct mail *mail, const struct bs_msg_prefix *prefix, uint8_t key[BS_KEY_LEN]);

/* --- cache_mail.c --- */

struct cache_mail {
	union mail_module_context module_ctx;
	bool looked;         /* for blobs of this mail */
	bool ahead;          /* the file is being opened ahead */
	bool whole;          /* a stream without the body will not do */
	bool read;           /* the file was read */
	bool foreign;        /* the blobs are of another file than the one that is there */
	uint32_t stored;     /* items in the message blob, a bit each */
	uint32_t kept;       /* items in the account blob */
	uint8_t numbers[2];  /* which numbers each of the two has: CACHE_HAS_* */
	enum bs_cache_kind header_in; /* where BS_CACHE_HEADER_TEXT stands; 0: nowhere */
	bool header_opened;
	struct bs_cache_bytes header; /* plaintext, in the mail's pool */
	uint8_t message_id[BS_ID_LEN], digest[BS_HASH_LEN], data_key[BS_KEY_LEN], blob_key[BS_KEY_LEN];
	const char *guid;
};

#define CACHE_HAS_SIZES 1
#define CACHE_HAS_RECEIVED 2
#define CACHE_HAS_SAVED 4
#define CACHE_HAS_SENT 8
#define CACHE_BIT(item) (1u << (item))

struct cache_mail *basalt_cache_mail(struct mail *mail);

/* --- cache_open.c --- */

/* Opens the mail's blobs, once. */
void basalt_cache_look(struct mail *mail, struct cache_mail *cm);
/* Header and MIME parts, too. True when there is a header. */
bool basalt_cache_look_header(struct mail *mail, struct cache_mail *cm);

/* --- cache_learn.c --- */

/* The numbers that a mail object knows. Returns CACHE_HAS_* bits. */
uint8_t basalt_cache_numbers(struct mail *mail, struct bs_cache_numbers *n);
/* The mail is about to be closed: what is known of it and stands in no blob is added. */
void basalt_cache_learn(struct mail *mail, struct cache_mail *cm);
/* Fills items with what Dovecot's mail object knows; memory is the data stack. False: it is better not kept. */
bool basalt_cache_collect(struct mail *mail, const struct bs_cache_bytes *header, struct bs_cache_items *items);

/* --- cache_save.c --- */

void basalt_cache_save_allocated(struct mailbox_vfuncs *v);

#endif
