#include "mailtally.h"

#include "mailfile.h"
#include "sealed.h"

#define SUITE_AT (BS_MSG_MAGIC_LEN + 1) /* docs/FORMAT.message.md */

static enum bs_err
look_into(struct mailtally *tally, const struct ctl_mail *mail)
{
	struct ctl_look look;
	enum bs_err err = ctl_sealed_look(tally->fd, mail, &look);

	if (err != BS_OK)
		return err;
	tally->damaged += look.damage != NULL;
	tally->other += !look.have_prefix || !ctl_sealed_to(&look.prefix, tally->record);
	return BS_OK;
}

/* ctl_mail_fn */
static enum bs_err
count_mail(void *ctx, const struct ctl_mail *mail)
{
	struct mailtally *tally = ctx;
	uint8_t head[SUITE_AT + 1] = { 0 };
	size_t got = 0;
	enum bs_err err = ctl_pread(tally->fd, mail->off, head, mail->len < sizeof(head) ? (size_t)mail->len : sizeof(head), &got);

	if (err != BS_OK)
		return err;
	if (got < sizeof(head) || !bs_msg_is_sealed(head, got) || head[SUITE_AT] == BS_MSG_SUITE_PLAIN) {
		tally->plain++;
		return BS_OK;
	}
	tally->sealed++;
	return tally->record != NULL ? look_into(tally, mail) : BS_OK;
}

void
mailtally_add(struct mailtally *tally, const char *path)
{
	enum bs_err err = ctl_mailfile_look(path, &tally->fd, count_mail, tally);

	tally->unknown += err != BS_OK && err != BS_ERR_NOENT;
}
