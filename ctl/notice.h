/*
 * notice: tells an account's owner by mail what was changed of its keys. keyd has no network: who changes, tells.
 *
 * The message goes to the program of ctl.notify on standard input, the address as its last argument behind `--`. It names no secret. What
 * is done stays done when the mail fails: that is said on standard error, and changes no exit status.
 *
 *     ctl_notice(ctl, address, "A recovery code was added", label);
 */
#ifndef CTL_NOTICE_H
#define CTL_NOTICE_H

#include <stdbool.h>

struct ctl;

/* what: a sentence without its full stop. detail: more of it, or NULL or empty. False: the mail failed, which was said. */
bool ctl_notice(const struct ctl *ctl, const char *address, const char *what, const char *detail);

#endif
