/*
 * export: a mail's bytes as they are stored, for doveadm.c, which is a module of its own and finds this function by name.
 *
 *     basalt_export_fn *open = dlsym(RTLD_DEFAULT, BASALT_EXPORT_SYMBOL);    // NULL: the mail plugin is not loaded
 *     if (open != NULL && open(mail, &input) == 0) ...
 */
#ifndef BASALT_EXPORT_H
#define BASALT_EXPORT_H

#include "compat.h"

struct istream;
struct mail;

#define BASALT_EXPORT_SYMBOL "basalt_plugin_export"

/*
 * The message without the frame of its storage, neither decrypted nor checked; it ends where the file does, if that was cut.
 * mail must not have been opened before, and is good for nothing else until it is closed. The stream is the caller's, to be
 * given back (i_stream_unref) before that.
 * -1: with the error of its mailbox set; also when the user is none of ours.
 */
typedef int basalt_export_fn(struct mail *mail, struct istream **stream_r);
basalt_export_fn basalt_plugin_export;

#endif
