#include "compat.h"

#include <mail-storage-private.h>

#include "expunge.h"
#include "layer.h"
#include "plugin.h"

struct expunge_mail {
	union mail_module_context module_ctx;
	const char *guid; /* while the mail is being expunged */
};

static MODULE_CONTEXT_DEFINE_INIT(expunge_mail_module, &mail_module_register);
#define EXPUNGE_MAIL(obj) MODULE_CONTEXT_REQUIRE(obj, expunge_mail_module)

static struct expunge_mail *
of(struct mail *mail)
{
	return EXPUNGE_MAIL(private_of(mail));
}

/* An account whose mail is in the clear pays no more for an expunge than it does without Basalt. */
static bool
is_wanted(struct mail *mail)
{
	const struct basalt_user *bu = user_of(mail);

	return mail->box->mail_cache_disabled || (bu->record.flags & BS_RECORD_FLAG_SEALED) != 0;
}

static void
expunge_expunge(struct mail *mail)
{
	struct expunge_mail *em = of(mail);

	T_BEGIN {
		if (is_wanted(mail) && mail->lookup_abort == MAIL_LOOKUP_ABORT_NEVER &&
		    mail_get_special(mail, MAIL_FETCH_GUID, &em->guid) < 0)
			em->guid = NULL;
		em->module_ctx.super.expunge(mail);
		em->guid = NULL;
	} T_END;
}

static int
expunge_get_special(struct mail *mail, enum mail_fetch_field field, const char **value_r)
{
	struct expunge_mail *em = of(mail);

	if (field != MAIL_FETCH_GUID || em->guid == NULL)
		return em->module_ctx.super.get_special(mail, field, value_r);
	*value_r = em->guid;
	return 0;
}

void
basalt_expunge_mail_allocated(struct mail *mail)
{
	struct mail_private *pmail = private_of(mail);
	struct mail_vfuncs *v = pmail->vlast;
	struct expunge_mail *em;

	if (user_of(mail) == NULL)
		return;
	em = p_new(pmail->pool, struct expunge_mail, 1);
	em->module_ctx.super = *v;
	pmail->vlast = &em->module_ctx.super;
	v->expunge = expunge_expunge;
	v->get_special = expunge_get_special;
	MODULE_CONTEXT_SET(pmail, expunge_mail_module, em);
}
