#include "session.h"

#include <stdio.h>

#include "key.h"
#include "password.h"

static enum bs_err
attach(const struct ctl *ctl, const char *address, const char *service, const uint8_t token[BS_TOKEN_LEN], struct bs_keyclient **out,
    struct bs_record *record)
{
	struct bs_session_info info;
	char path[512];
	enum bs_err err;

	snprintf(path, sizeof(path), "%s/%s", ctl->settings.keyd, BS_SOCKET_MAIL);
	err = bs_keyclient_connect(path, (int)ctl->settings.timeout_ms, out);
	if (err == BS_OK)
		err = bs_keyclient_attach(*out, token, address, service, &info);
	return err == BS_OK ? bs_record_parse(info.record, info.record_len, record) : err;
}

int
ctl_open_session(struct ctl *ctl, char address[BS_ADDRESS_MAX + 1], const char *service, struct bs_keyclient **out,
    struct bs_record *record)
{
	uint8_t token[BS_TOKEN_LEN];
	char *secret = NULL;
	int rc = ctl_begin_change(ctl, address, &secret);
	enum bs_err err;

	if (rc != CTL_OK)
		return rc;
	err = bs_keyclient_open(ctl->keyd, address, secret, service, token);
	if (err != BS_OK)
		rc = ctl_key_failed(err, address, secret, "opening the account");
	bs_secret_free(secret);
	if (rc != CTL_OK)
		return rc;
	err = attach(ctl, address, service, token, out, record);
	bs_wipe(token, sizeof(token));
	return err == BS_OK ? CTL_OK : ctl_fail(err, "%s: no session at keyd's socket %s: %s", address, BS_SOCKET_MAIL, ctl_keyd_text(err));
}
