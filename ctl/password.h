/*
 * password: reads one from standard input (a line) or asks the terminal, without echo. Never from argv.
 *
 * The text is in locked memory: the caller frees it by bs_secret_free(). It says itself what is wrong.
 *
 *     rc = ctl_read_password(ctl->args.given, CTL_PASSWORD, "New password", true, &password);
 */
#ifndef CTL_PASSWORD_H
#define CTL_PASSWORD_H

#include <stdbool.h>
#include <stdint.h>

/* With option (CTL_PASSWORD or CTL_OLD_PASSWORD) in given: the next line of standard input; else the terminal is asked,
 * twice if confirm. An exit status: CTL_FAILED where what was given can be no password (empty, too long, with a NUL), CTL_USAGE where
 * there was nothing to read. */
int ctl_read_password(uint64_t given, uint64_t option, const char *prompt, bool confirm, char **out);
/* The same, by CTL_PASSWORD, for what opens an account for a change: its password, a recovery code or an escrow key. */
int ctl_read_secret(uint64_t given, const char *address, char **out);
/* Says that keyd refused a secret, and which group of it, if it is a code, is mistyped. An exit status. */
int ctl_refused_secret(const char *address, const char *secret);

#endif
