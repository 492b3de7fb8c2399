/*
 * layer: what a layer of functions over Dovecot's mail object begins with: the object's other faces, and its user.
 *
 *     bm = BASALT_MAIL(private_of(mail));
 */
#ifndef BASALT_LAYER_H
#define BASALT_LAYER_H

#include "plugin.h"

#include <index-mail.h>
#include <mail-storage-private.h>

static inline struct mail_private *
private_of(struct mail *mail)
{
	return container_of(mail, struct mail_private, mail);
}

/* What Dovecot knows of the mail. */
static inline struct index_mail_data *
data_of(struct mail *mail)
{
	struct index_mail *imail = INDEX_MAIL(mail);

	return &imail->data;
}

/* Of the session, who need not be the mailbox's owner; NULL as basalt_user_get(). */
static inline struct basalt_user *
user_of(struct mail *mail)
{
	return basalt_user_get(mail->box->storage->user);
}

#endif
