/*
 * confirm: asks back on the terminal before something that can't be undone.
 *
 * --yes answers everything; without it and without a terminal on standard input nothing is confirmed. What is refused is the
 * caller's to say.
 *
 *     const struct ctl_question asked[] = { { "Its mail is lost. Type the address to go on", address } };
 *     if (!ctl_confirmed(ctl->args.given, asked, 1)) ...
 */
#ifndef CTL_CONFIRM_H
#define CTL_CONFIRM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ctl_question {
	const char *prompt;
	const char *wanted; /* the one answer that is a yes; at most 255 bytes */
};

/* Each of them, in order. */
bool ctl_confirmed(uint64_t given, const struct ctl_question *asked, size_t n);

#endif
