#include "err.h"

#include <stddef.h>

static const char *const texts[BS_ERR_COUNT] = {
	[BS_OK] = "success",
	[BS_ERR_NOMEM] = "out of memory",
	[BS_ERR_IO] = "input/output error",
	[BS_ERR_TIMEOUT] = "timed out",
	[BS_ERR_BUSY] = "too busy",
	[BS_ERR_UNAVAIL] = "service not available",
	[BS_ERR_CONFLICT] = "changed by somebody else meanwhile",
	[BS_ERR_SHORT] = "truncated",
	[BS_ERR_FORMAT] = "malformed",
	[BS_ERR_VERSION] = "unknown version or suite",
	[BS_ERR_LIMIT] = "too large",
	[BS_ERR_AUTH] = "damaged or forged",
	[BS_ERR_NOKEY] = "sealed to a key that the account does not hold",
	[BS_ERR_ACCOUNT] = "belongs to another account",
	[BS_ERR_DENIED] = "user name or password is wrong",
	[BS_ERR_NOENT] = "does not exist",
	[BS_ERR_EXISTS] = "exists already",
	[BS_ERR_PERM] = "not permitted here",
	[BS_ERR_TOKEN] = "login token is unknown, used or expired",
	[BS_ERR_ROLLBACK] = "older than what was seen before",
	[BS_ERR_WEAK] = "password is too weak",
	[BS_ERR_CONF] = "configuration error",
	[BS_ERR_CRYPTO] = "cryptographic library failed",
	[BS_ERR_INTERNAL] = "internal error",
	[BS_ERR_ARG] = "invalid argument",
	[BS_ERR_EXPIRED] = "outside of its time",
};

const char *
bs_err_text(enum bs_err err)
{
	if ((int)err < 0 || err >= BS_ERR_COUNT || texts[err] == NULL)
		return "unknown error";
	return texts[err];
}

bool
bs_err_is_transient(enum bs_err err)
{
	return err >= BS_ERR_NOMEM && err <= BS_ERR_CONFLICT;
}
