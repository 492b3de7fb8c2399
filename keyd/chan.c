#include "chan.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "sock.h"

#define READ_LEN 65536

void
chan_init(struct chan *ch, int fd, size_t in_max, size_t out_max)
{
	int flags = fcntl(fd, F_GETFL);

	(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	*ch = (struct chan){ .fd = fd, .in_max = in_max, .out_max = out_max };
}

void
chan_clear(struct chan *ch)
{
	bs_buf_free(ch->in);
	bs_buf_free(ch->out);
	if (ch->fd >= 0)
		(void)close(ch->fd);
	*ch = (struct chan){ .fd = -1 };
}

static enum bs_err
append(struct bs_buf **buf, size_t max, const void *data, size_t len)
{
	if (*buf == NULL)
		*buf = bs_buf_new(max);
	if (*buf == NULL)
		return BS_ERR_NOMEM;
	return bs_buf_append(*buf, data, len);
}

static void
consume(struct bs_buf **buf, size_t len)
{
	if (*buf == NULL)
		return;
	bs_buf_consume(*buf, len);
	if (bs_buf_len(*buf) == 0) {
		bs_buf_free(*buf);
		*buf = NULL;
	}
}

enum bs_err
chan_read(struct chan *ch)
{
	uint8_t scratch[READ_LEN];
	size_t room = ch->in == NULL ? ch->in_max : bs_buf_room(ch->in);
	ssize_t n;
	enum bs_err err;

	if (room == 0)
		return BS_ERR_SHORT;
	do
		n = read(ch->fd, scratch, room < sizeof(scratch) ? room : sizeof(scratch));
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return BS_ERR_SHORT;
	if (n <= 0)
		return BS_ERR_IO;
	err = append(&ch->in, ch->in_max, scratch, (size_t)n);
	explicit_bzero(scratch, (size_t)n); /* passwords pass here */
	return err;
}

const uint8_t *
chan_in(const struct chan *ch, size_t *len)
{
	static const uint8_t empty[1];

	*len = ch->in == NULL ? 0 : bs_buf_len(ch->in);
	return ch->in == NULL ? empty : bs_buf_data(ch->in);
}

void
chan_consume(struct chan *ch, size_t len)
{
	consume(&ch->in, len);
}

enum bs_err
chan_unread(struct chan *ch, const void *data, size_t len)
{
	return append(&ch->in, ch->in_max, data, len);
}

enum bs_err
chan_write(struct chan *ch, const void *data, size_t len)
{
	return append(&ch->out, ch->out_max, data, len);
}

size_t
chan_queued(const struct chan *ch)
{
	return ch->out == NULL ? 0 : bs_buf_len(ch->out);
}

const uint8_t *
chan_out(const struct chan *ch)
{
	return ch->out == NULL ? NULL : bs_buf_data(ch->out);
}

enum bs_err
chan_flush(struct chan *ch)
{
	ssize_t n;

	while (chan_queued(ch) > 0) {
		n = write(ch->fd, bs_buf_data(ch->out), bs_buf_len(ch->out));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? BS_OK : BS_ERR_IO;
		consume(&ch->out, (size_t)n);
	}
	return BS_OK;
}

static void
sleep_until(int fd, short events)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	(void)poll(&pfd, 1, -1); /* the other end is our own vault: its death wakes us */
}

enum bs_err
chan_read_wait(struct chan *ch)
{
	enum bs_err err;

	while ((err = chan_read(ch)) == BS_ERR_SHORT)
		sleep_until(ch->fd, POLLIN);
	return err;
}

enum bs_err
chan_flush_wait(struct chan *ch)
{
	enum bs_err err;

	while ((err = chan_flush(ch)) == BS_OK && chan_queued(ch) > 0)
		sleep_until(ch->fd, POLLOUT);
	return err;
}

enum bs_err
chan_flush_until(struct chan *ch, int64_t deadline_ms)
{
	enum bs_err err;

	while ((err = chan_flush(ch)) == BS_OK && chan_queued(ch) > 0) {
		err = bs_sock_wait(ch->fd, POLLOUT, deadline_ms);
		if (err != BS_OK)
			return err;
	}
	return err;
}
