/*
 * doveadm: what Dovecot's own tool (ctl.doveadm) is asked of an account that keeps its mail in an mdbox. The program runs as we do, and says itself
 * on standard error what went wrong. A signal that ends us ends it.
 *
 *     struct doveadm dove = { .ctl = ctl, .address = address };
 *     rc = doveadm_location(&dove, where, sizeof(where));           // "mdbox:~/mail"
 *     ok = doveadm_backup(&dove, NULL, "/home/of/alice/mail.new");
 *     ok = doveadm_print(&dove, "/home/of/alice/mail.new", &print); // to be compared
 */
#ifndef CTL_DOVEADM_H
#define CTL_DOVEADM_H

#include "ctl.h"
#include "crypto.h"
#include "owner.h"
#include "swap.h"

struct doveadm {
	const struct ctl *ctl;
	const char *address;
	const struct ctl_owner *owner; /* who we are meanwhile: it is run as root */
	int64_t deadline_ms;           /* 0: it may take its time */
};

/* Of all that Dovecot says of the mails, folders and subscriptions of a folder of mail, whatever the order. */
struct doveadm_print {
	uint8_t sum[BS_HASH_LEN];
};

/* The account's mail_location, unexpanded, and its home. False: it was said why. */
bool doveadm_location(const struct doveadm *dove, char *out, size_t size);
bool doveadm_home(const struct doveadm *dove, char *out, size_t size);
/* Makes the mdbox in folder to what the one in folder from holds; from NULL: nearly to what the account's own does, which is in use. */
bool doveadm_backup(const struct doveadm *dove, const char *from, const char *folder);
bool doveadm_print(const struct doveadm *dove, const char *folder, struct doveadm_print *out);
/* Ends its IMAP and POP3 sessions. */
void doveadm_kick(const struct doveadm *dove);

#endif
