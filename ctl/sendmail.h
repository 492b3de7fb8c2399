/*
 * sendmail: gives a message to the program of ctl.notify, on standard input, the address as its last argument behind `--`. The program gets no
 * environment but PATH and LANG, and thirty seconds.
 *
 *     const char *why = ctl_sendmail(ctl, address, text, len);      // ctl.notify is not empty
 */
#ifndef CTL_SENDMAIL_H
#define CTL_SENDMAIL_H

#include <stddef.h>

struct ctl;

/* NULL: it took the message. Else why not, static. text: at most what a pipe holds (64 KiB), lines end in LF. */
const char *ctl_sendmail(const struct ctl *ctl, const char *address, const char *text, size_t len);

#endif
