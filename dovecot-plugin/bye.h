/*
 * bye: when keyd ends a session, or is gone, the session's client hears of it within a second, whatever it was doing, so that it
 * can log in again by itself.
 *
 * The event loop in which the mail user was made watches the connection with keyd; loops inside commands do not, so that nothing is
 * freed under a command. imap says "* BYE" and why, pop3 "-ERR [SYS/TEMP]": between two responses, never in the middle of one. A
 * client that takes nothing of the one under way for BASALT_BYE_LATE_MS is hung up on. A plain account's session goes on when keyd is
 * gone: its mail needs no key.
 *
 *     basalt_bye_watch(bu, fd);            // a session has begun
 *     basalt_bye_unwatch(bu);              // before fd is closed
 *     basalt_bye_begin(bu, why);           // it is over
 */
#ifndef BASALT_BYE_H
#define BASALT_BYE_H

#include "plugin.h"

struct io;
struct ostream;

#define BASALT_BYE_LATE_MS 30000

void basalt_bye_watch(struct basalt_user *bu, int fd);
void basalt_bye_unwatch(struct basalt_user *bu);
void basalt_bye_begin(struct basalt_user *bu, enum bs_ended why);
/* A hibernated session could not be begun again, by err: keyd is away, or does not know its token. */
void basalt_bye_not_resumed(struct basalt_user *bu, enum bs_err err);
/* The user goes by itself. */
void basalt_bye_cancel(struct basalt_user *bu);

/* What is under way of a client's end. */
struct basalt_bye_words {
	const char *client; /* what it is told, a line without its protocol's beginning */
	const char *log;    /* why, for Dovecot's "Disconnected: " */
	bool passing;       /* a fault that passes, not somebody's wish */
	bool said;
	bool late;          /* waits no longer */
	uint64_t sent;      /* bytes that the client had taken at the last step */
};

/* Says the line once it is between two responses, and reads no more of io. True: the client is to be destroyed now. */
bool basalt_bye_say(struct basalt_bye_words *words, const char *line, bool between, struct io **io, struct ostream *output);

/* One step: says it when that may be, and once it is sent frees the client, the mail user with it. To be called again until then. */
void basalt_bye_imap(struct mail_user *user, struct basalt_bye_words *words);
void basalt_bye_pop3(struct mail_user *user, struct basalt_bye_words *words);

#endif
