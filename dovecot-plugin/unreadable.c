#include "compat.h"

#include <mailbox-list.h>
#include <mail-storage-private.h>

#include "home.h"
#include "layer.h"
#include "sock.h"
#include "substitute.h"
#include "unreadable.h"

#define TROUBLE_LOG_EVERY_MS 10000

const char *
basalt_unreadable_text(const struct basalt_user *bu, enum bs_err err)
{
	switch (err) {
	case BS_ERR_PERM:
		return bu->locked != NULL ? bu->locked
		                          : "Message is encrypted, and this process has no key (no login of its owner)";
	case BS_ERR_NOKEY:
		return "Message is encrypted with a key that this account does not hold";
	case BS_ERR_ACCOUNT:
		return "Message is encrypted for another account";
	case BS_ERR_VERSION:
		return "Message was stored by a newer version";
	case BS_ERR_IO:
		return "Message's file can't be read at the moment";
	default:
		if (bs_err_is_transient(err) && bu->session_lost)
			return "Message can't be decrypted at the moment: the login session has ended, log in again";
		return bs_err_is_transient(err) ? "Message can't be decrypted at the moment: the key service does not answer"
		                                : "Message is damaged";
	}
}

const char *
basalt_unreadable_kind(const struct basalt_user *bu, enum bs_err err)
{
	switch (err) {
	case BS_ERR_PERM:
		return bu->locked != NULL ? "locked" : "no-session";
	case BS_ERR_NOKEY:
		return "no-key";
	case BS_ERR_ACCOUNT:
		return "other-account";
	case BS_ERR_VERSION:
		return "newer-version";
	default:
		return bs_err_is_transient(err) ? "unavailable" : "damaged";
	}
}

static void
note(struct basalt_user *bu, const uint8_t *message_id)
{
	memcpy(bu->unreadable[bu->unreadable_count % BASALT_UNREADABLE_MAX], message_id, BS_ID_LEN);
	bu->unreadable_count++;
}

static bool
noted(const struct basalt_user *bu, const uint8_t *message_id)
{
	for (unsigned int i = 0; i < I_MIN(bu->unreadable_count, BASALT_UNREADABLE_MAX); i++) {
		if (memcmp(bu->unreadable[i], message_id, BS_ID_LEN) == 0)
			return true;
	}
	return false;
}

/* In the table of unreadable mails, of one that has no message id. */
static void
id_of_place(struct mail *mail, const char *about, uint8_t id[BS_HASH_LEN])
{
	const char *what = t_strdup_printf("%s %s %u", about, mailbox_get_path(mail->box), mail->uid);

	bs_sha256(what, strlen(what), id);
}

static bool
should_log(struct basalt_user *bu, const uint8_t *id, enum bs_err err)
{
	int64_t now = bs_now_ms();

	if (bs_err_is_transient(err)) {
		if (bu->trouble_logged_ms != 0 && now - bu->trouble_logged_ms < TROUBLE_LOG_EVERY_MS)
			return false;
		bu->trouble_logged_ms = now;
		return true;
	}
	if (noted(bu, id))
		return false;
	note(bu, id);
	return true;
}

/* For the log. */
static const char *
reason(const struct basalt_user *bu, enum bs_err err)
{
	if (err == BS_ERR_PERM)
		return bu->locked != NULL ? "the mailbox is locked" : "no key: this process has no login session";
	return bs_err_text(err);
}

/* pop3 calls everything but MAIL_ERROR_TEMP lasting; imap has a response code of its own for what is not there now. */
static enum mail_error
passing_error(const struct mail *mail)
{
	bool pop3 = strcmp(mail->box->storage->user->service, "pop3") == 0;

	return pop3 ? MAIL_ERROR_TEMP : MAIL_ERROR_UNAVAILABLE;
}

int
basalt_unreadable(struct mail *mail, struct basalt_user *bu, const uint8_t *message_id, const char *file, enum bs_err err)
{
	uint8_t place[BS_HASH_LEN];

	/* mdbox keeps many mails in one file, maildir's change their names. */
	id_of_place(mail, "mail", place);
	/* Of a locked mailbox all mails are unreadable: that is no news. */
	if (!(err == BS_ERR_PERM && bu->locked != NULL) && should_log(bu, message_id == NULL ? place : message_id, err))
		e_error(mail_event(mail), "basalt: can't read %s: %s", file, reason(bu, err));
	mail_storage_set_error(mail->box->storage,
	    bs_err_is_transient(err) ? passing_error(mail) : MAIL_ERROR_INVALIDDATA, basalt_unreadable_text(bu, err));
	basalt_substitute_note(mail, err);
	return -1;
}

static void
set_no_file(struct mail *mail)
{
	mail_storage_set_error(mail->box->storage, MAIL_ERROR_INVALIDDATA, "Message's file can't be opened");
	basalt_substitute_note(mail, BS_ERR_FORMAT);
}

/* All that a storage tells of why it could not open or read a file is the text of its error. */
static bool
tells_of(const char *text, const int *errors, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strstr(text, strerror(errors[i])) != NULL)
			return TRUE;
	}
	return FALSE;
}

bool
basalt_unreadable_file(struct mail *mail)
{
	static const int lasting[] = { EISDIR, ELOOP, ENOTDIR };
	static const int passing[] = { EACCES, EIO, ESTALE, EMFILE, ENFILE, ENXIO, ETIMEDOUT };
	struct basalt_user *bu = user_of(mail);
	enum mail_error error;
	const char *text = mailbox_get_last_internal_error(mail->box, &error);
	uint8_t id[BS_HASH_LEN];

	if (error != MAIL_ERROR_TEMP || mail->expunged)
		return FALSE;
	if (tells_of(text, passing, N_ELEMENTS(passing)))
		mail_storage_set_error(mail->box->storage, passing_error(mail), basalt_unreadable_text(bu, BS_ERR_IO));
	if (!tells_of(text, lasting, N_ELEMENTS(lasting)))
		return FALSE;
	id_of_place(mail, "file", id);
	note(bu, id);
	bu->no_files++;
	set_no_file(mail);
	return TRUE;
}

bool
basalt_unreadable_known(struct mail *mail)
{
	struct basalt_user *bu = user_of(mail);
	uint8_t id[BS_HASH_LEN];

	if (bu->no_files == 0)
		return FALSE;
	id_of_place(mail, "file", id);
	if (!noted(bu, id))
		return FALSE;
	set_no_file(mail);
	return TRUE;
}

void
basalt_in_the_clear(struct mail *mail, struct basalt_user *bu, const char *file)
{
	if (bu->clear_logged || (bu->record.flags & BS_RECORD_FLAG_SEALED) == 0)
		return;
	bu->clear_logged = true;
	e_warning(mail_event(mail), "basalt: %s is not encrypted, in a sealed account; copied, it will be. Others like it are not "
	    "logged before the next login", file);
}

void
basalt_unreadable_midway(struct basalt_sealed *sm, const char *file, enum bs_err err)
{
	struct basalt_user *bu = basalt_sealed_user(sm);
	const uint8_t *message_id = basalt_sealed_prefix(sm)->message_id;

	if (should_log(bu, message_id, err))
		e_error(bu->user->event, "basalt: can't read on in %s: %s", file, bs_err_text(err));
	if (err == BS_ERR_AUTH || err == BS_ERR_FORMAT || err == BS_ERR_SHORT)
		basalt_home_note_damaged(bu, message_id);
}
