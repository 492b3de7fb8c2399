#include "compat.h"

#include <istream.h>
#include <mail-storage-private.h>

#include "export.h"
#include "plugin.h"

__attribute__((visibility("default"))) int
basalt_plugin_export(struct mail *mail, struct istream **stream_r)
{
	struct basalt_user *bu = basalt_user_get(mail->box->storage->user);
	struct istream *opened;
	int ret;

	*stream_r = NULL;
	if (bu == NULL || !basalt_box_is_binary(mail->box)) {
		mail_storage_set_error(mail->box->storage, MAIL_ERROR_NOTPOSSIBLE, "Basalt has nothing to do with this mailbox");
		return -1;
	}
	bu->raw = stream_r;
	ret = mail_get_stream_because(mail, NULL, NULL, "export", &opened);
	bu->raw = NULL;
	if (ret == 0 && *stream_r != NULL)
		return 0;
	i_stream_unref(stream_r);
	if (ret == 0)
		mail_storage_set_error(mail->box->storage, MAIL_ERROR_NOTPOSSIBLE, "The message was open already");
	return -1;
}
