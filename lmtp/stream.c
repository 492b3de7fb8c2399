#include "stream.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sock.h"

#define FLUSH_MAX 64 /* streams of one stream_flush_all() */

struct stream {
	int fd;
	bool failed; /* output was lost */
	size_t in_at, in_end;
	size_t out_at, out_end;
	uint8_t in[STREAM_IN];
	uint8_t out[STREAM_OUT];
};

enum bs_err
stream_new(int fd, struct stream **out)
{
	struct stream *s = malloc(sizeof(*s));

	if (s == NULL) {
		(void)close(fd);
		return BS_ERR_NOMEM;
	}
	s->fd = fd;
	s->failed = false;
	s->in_at = s->in_end = s->out_at = s->out_end = 0;
	*out = s;
	return BS_OK;
}

void
stream_free(struct stream *s)
{
	if (s == NULL)
		return;
	(void)close(s->fd);
	free(s);
}

static enum bs_err
wait_either(int fd, int stop_fd, int64_t deadline_ms)
{
	struct pollfd fds[2] = { { .fd = fd, .events = POLLIN }, { .fd = stop_fd, .events = POLLIN } };

	for (;;) {
		int64_t left = deadline_ms - bs_now_ms();
		int n = poll(fds, 2, left <= 0 ? 0 : left > 3600000 ? 3600000 : (int)left);

		if (n > 0)
			return fds[0].revents != 0 ? BS_OK : BS_ERR_UNAVAIL;
		if (n == 0 && left <= 0)
			return BS_ERR_TIMEOUT;
		if (n < 0 && errno != EINTR)
			return BS_ERR_IO;
	}
}

/* More input behind what is there. The buffer has room. */
static enum bs_err
fill(struct stream *s, int64_t deadline_ms)
{
	size_t n = 0;
	enum bs_err err;

	if (s->in_at > 0) {
		memmove(s->in, s->in + s->in_at, s->in_end - s->in_at);
		s->in_end -= s->in_at;
		s->in_at = 0;
	}
	err = bs_sock_read_some(s->fd, s->in + s->in_end, sizeof(s->in) - s->in_end, deadline_ms, &n);
	if (err == BS_OK && n == 0)
		return BS_ERR_IO;
	s->in_end += n;
	return err;
}

enum bs_err
stream_wait(struct stream *s, int stop_fd, int64_t deadline_ms)
{
	enum bs_err err = BS_OK;

	if (s->in_at < s->in_end)
		return BS_OK;
	if (stop_fd >= 0)
		err = wait_either(s->fd, stop_fd, deadline_ms);
	return err == BS_OK ? fill(s, deadline_ms) : err;
}

/* Passes over the rest of a line that is too long. */
static enum bs_err
skip_line(struct stream *s, int64_t deadline_ms)
{
	for (;;) {
		const uint8_t *end = memchr(s->in + s->in_at, '\n', s->in_end - s->in_at);
		enum bs_err err;

		if (end != NULL) {
			s->in_at = (size_t)(end - s->in) + 1;
			return BS_ERR_LIMIT;
		}
		s->in_at = s->in_end;
		err = fill(s, deadline_ms);
		if (err != BS_OK)
			return err;
	}
}

enum bs_err
stream_line(struct stream *s, char *line, size_t size, int64_t deadline_ms)
{
	const uint8_t *end;
	size_t len;

	while ((end = memchr(s->in + s->in_at, '\n', s->in_end - s->in_at)) == NULL) {
		enum bs_err err;

		if (s->in_end - s->in_at >= size)
			return skip_line(s, deadline_ms);
		err = fill(s, deadline_ms);
		if (err != BS_OK)
			return err;
	}
	len = (size_t)(end - (s->in + s->in_at));
	if (len >= size)
		return skip_line(s, deadline_ms);
	memcpy(line, s->in + s->in_at, len);
	s->in_at += len + 1;
	if (len > 0 && line[len - 1] == '\r')
		len--;
	line[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (line[i] == '\0')
			line[i] = '?';
	return BS_OK;
}

void
stream_input(const struct stream *s, const uint8_t **data, size_t *len)
{
	*data = s->in + s->in_at;
	*len = s->in_end - s->in_at;
}

void
stream_take(struct stream *s, size_t len)
{
	s->in_at += len;
}

size_t
stream_room(const struct stream *s)
{
	return sizeof(s->out) - (s->out_end - s->out_at);
}

void
stream_put_bytes(struct stream *s, const void *data, size_t len)
{
	if (s->out_at > 0 && sizeof(s->out) - s->out_end < len) {
		memmove(s->out, s->out + s->out_at, s->out_end - s->out_at);
		s->out_end -= s->out_at;
		s->out_at = 0;
	}
	if (sizeof(s->out) - s->out_end < len) {
		s->failed = true;
		return;
	}
	memcpy(s->out + s->out_end, data, len);
	s->out_end += len;
}

void
stream_put(struct stream *s, const char *fmt, ...)
{
	char text[4096];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(text))
		s->failed = true;
	else
		stream_put_bytes(s, text, (size_t)n);
}

/* Writes what goes without waiting. */
static enum bs_err
write_some(struct stream *s)
{
	while (s->out_at < s->out_end) {
		ssize_t n = send(s->fd, s->out + s->out_at, s->out_end - s->out_at, MSG_NOSIGNAL);

		if (n > 0)
			s->out_at += (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			return BS_OK;
		else if (n == 0 || errno != EINTR)
			return BS_ERR_IO;
	}
	return BS_OK;
}

void
stream_flush_all(struct stream *const *streams, enum bs_err *errs, size_t n, int64_t deadline_ms)
{
	for (;;) {
		struct pollfd fds[FLUSH_MAX];
		nfds_t waiting = 0;
		int64_t left = deadline_ms - bs_now_ms();

		for (size_t i = 0; i < n && i < FLUSH_MAX; i++) {
			struct stream *s = streams[i];

			if (s == NULL || errs[i] != BS_OK)
				continue;
			errs[i] = s->failed ? BS_ERR_LIMIT : write_some(s);
			if (errs[i] == BS_OK && s->out_at < s->out_end) {
				if (left <= 0)
					errs[i] = BS_ERR_TIMEOUT;
				else
					fds[waiting++] = (struct pollfd){ .fd = s->fd, .events = POLLOUT };
			}
		}
		if (waiting == 0)
			return;
		(void)poll(fds, waiting, left > 3600000 ? 3600000 : (int)left);
	}
}

enum bs_err
stream_flush(struct stream *s, int64_t deadline_ms)
{
	enum bs_err err = BS_OK;

	stream_flush_all(&s, &err, 1, deadline_ms);
	return err;
}
