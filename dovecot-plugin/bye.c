#include "compat.h"

#include <ioloop.h>
#include <ostream.h>

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "bye.h"
#include "session.h"
#include "sock.h"

#define STEP_MS 50

struct basalt_bye {
	struct ioloop *loop;
	struct io *io;           /* on the session's connection */
	struct timeout *to_step; /* while the client is being told */
	int64_t late_ms;
	uint64_t sent;
	struct basalt_bye_words words;
};

static const struct basalt_bye_words words_of[] = {
	[BS_ENDED_GONE] = { "The key service was restarted or does not answer, log in again", "basalt-keyd is gone", true, false, false },
	[BS_ENDED_BY_ADMIN] = { "Session ended by an administrator, log in again", "session ended by an administrator", false, false, false },
	[BS_ENDED_KEYS] = { "The account's keys have changed, log in again", "the account's keys have changed", false, false, false },
	[BS_ENDED_REMOVED] = { "The account was removed", "the account was removed", false, false, false },
};

static const struct basalt_bye_words not_resumed = {
	.client = "The session ended while it was idle, log in again",
	.log = "the session ended while it was hibernated",
};

static void
prepare(struct basalt_user *bu)
{
	if (bu->bye == NULL)
		bu->bye = p_new(bu->user->pool, struct basalt_bye, 1);
	bu->bye->loop = current_ioloop;
}

void
basalt_bye_watch(struct basalt_user *bu, int fd)
{
	prepare(bu);
	bu->bye->io = io_add_to(bu->bye->loop, fd, IO_READ, basalt_session_readable, bu);
}

void
basalt_bye_unwatch(struct basalt_user *bu)
{
	if (bu->bye != NULL)
		io_remove(&bu->bye->io);
}

void
basalt_bye_cancel(struct basalt_user *bu)
{
	basalt_bye_unwatch(bu);
	if (bu->bye != NULL)
		timeout_remove(&bu->bye->to_step);
}

/* How many bytes the client has taken so far: written, and not in the kernel's queue any more. */
static uint64_t
sent_so_far(struct ostream *output)
{
	int queued = 0, fd = o_stream_get_fd(output);

	if (fd < 0 || ioctl(fd, SIOCOUTQ, &queued) < 0)
		queued = 0;
	return output->offset - (uint64_t)queued;
}

bool
basalt_bye_say(struct basalt_bye_words *words, const char *line, bool between, struct io **io, struct ostream *output)
{
	if (between && !words->said) {
		/* No command says anything after this. */
		io_remove(io);
		o_stream_unset_flush_callback(output);
		o_stream_nsend_str(output, line);
		words->said = true;
	}
	words->sent = sent_so_far(output);
	return words->late || (words->said && o_stream_flush(output) != 0);
}

static void
step(struct basalt_user *bu)
{
	struct basalt_bye_words *words = &bu->bye->words;

	if (words->sent != bu->bye->sent) {
		bu->bye->sent = words->sent;
		bu->bye->late_ms = bs_now_ms() + BASALT_BYE_LATE_MS;
	}
	words->late = bs_now_ms() >= bu->bye->late_ms;
	if (strcmp(bu->user->service, "pop3") == 0)
		basalt_bye_pop3(bu->user, words);
	else
		basalt_bye_imap(bu->user, words);
	/* bu may be gone. */
}

static void
begin(struct basalt_user *bu, const struct basalt_bye_words *words)
{
	struct basalt_bye *bye = bu->bye;

	if (bye == NULL || bye->to_step != NULL)
		return;
	bye->words = *words;
	bye->late_ms = bs_now_ms() + BASALT_BYE_LATE_MS;
	bye->to_step = timeout_add_short_to(bye->loop, STEP_MS, step, bu);
}

void
basalt_bye_begin(struct basalt_user *bu, enum bs_ended why)
{
	if (why != BS_ENDED_GONE || basalt_session_kind(bu) != BASALT_ACCOUNT_PLAIN)
		begin(bu, &words_of[why]);
}

void
basalt_bye_not_resumed(struct basalt_user *bu, enum bs_err err)
{
	prepare(bu);
	if (bs_err_is_transient(err))
		basalt_bye_begin(bu, BS_ENDED_GONE);
	else
		begin(bu, &not_resumed);
}
