/*
 * plugin: what the plugin hangs on Dovecot's objects, and how its files find it.
 *
 * A mail user gets one struct basalt_user, from creation to deinit; it owns the session with basalt-keyd. A mail gets
 * one struct basalt_mail (read.c keeps it to itself). Dovecot is single-threaded: so is all of this.
 *
 *     struct basalt_user *bu = basalt_user_get(box->storage->user);   // NULL: Dovecot's internal raw user
 */
#ifndef BASALT_PLUGIN_H
#define BASALT_PLUGIN_H

#include "compat.h"

#include <mail-user.h>

#include "keyclient.h"

struct basalt_cache_keys;
struct basalt_hibernate;
struct mail;
struct mailbox;

/* How many unreadable mails a session remembers, so that each is logged once. */
#define BASALT_UNREADABLE_MAX 512
/* How many mails are open ahead of the one that is being read, and share a request for data keys. */
#define BASALT_AHEAD_MAX 16
/* Buffers that a session keeps for the next mail (room.h), and their size: nine mails of ten fit. */
#define BASALT_ROOMS 2
#define BASALT_ROOM_LEN (256 * 1024)

struct basalt_user {
	union mail_user_module_context module_ctx;
	struct mail_user *user;
	const char *account;  /* the lower-case address, as keyd knows it */
	const char *run_dir;  /* where keyd's sockets are */
	uint8_t site_pub[BS_SIGN_PUB_LEN];

	struct bs_keyclient *session; /* NULL: no token, or the session is lost */
	int64_t session_look_ms; /* when to look again whether it has ended */
	bool session_lost;
	struct basalt_bye *bye; /* NULL: never had a session */
	struct basalt_hibernate *hibernate; /* NULL: not in imap */
	bool exporting; /* imap exports its client's state (hibernate.c): nothing is cached */
	struct istream **raw; /* where to leave a mail's stored bytes as it is opened (export.c); NULL: it is read */
	bool carries;         /* its mail is copied to or from another mail user of the account, unopened (rawsync.h) */
	bool clear_before_keys; /* while it has no keys yet, its mail is stored as it comes */
	const char *locked;   /* NULL, or what the client of a locked mailbox is told: nothing sealed is opened */
	const struct bs_msg_prefix *expected[BASALT_AHEAD_MAX]; /* of mails whose keys will be wanted soon */
	unsigned int expected_count;
	uint8_t *rooms[BASALT_ROOMS]; /* NULL: none kept */

	bool record_given; /* the record in the userdb fields was looked at */
	struct bs_record record; /* verified, valid when record_until lies ahead */
	int64_t record_until_ms;

	uint8_t unreadable[BASALT_UNREADABLE_MAX][BS_ID_LEN];
	unsigned int unreadable_count; /* ever noted: the table is a ring */
	unsigned int no_files;         /* how many of them have no file that can be opened */
	int64_t trouble_logged_ms;     /* when transient trouble was logged last */
	bool clear_logged;             /* a mail that is not encrypted was */
	struct basalt_cache_keys *cache_keys; /* locked memory; NULL until wanted */
};

/* NULL for a user that this plugin leaves alone. */
struct basalt_user *basalt_user_get(struct mail_user *user);
/* The account that a mailbox's mail belongs to; NULL for a public namespace, which belongs to nobody. */
struct basalt_user *basalt_box_owner(struct mailbox *box);
/* Is its mail sealed? Also true when the record can't be had at the moment, and false for NULL. May ask keyd. */
bool basalt_is_sealed(struct basalt_user *bu);
/* True for storages that keep each mail's bytes as they are given (sdbox, mdbox, maildir). */
bool basalt_box_is_binary(struct mailbox *box);

#endif
