#include "compat.h"

#include <ioloop.h>
#include <llist.h>
#include <net.h>

#include <unistd.h>

#include "buf.h"
#include "passdb_client.h"

#define REPLY_MAX 4096          /* a reply on the auth socket is a few dozen bytes */
#define PENDING_MAX (256 * 1024) /* bytes of requests that keyd has not taken yet */
#define UNDERWAY_MAX 1000

struct request {
	struct request *prev, *next;
	struct passdb_client *client;
	uint32_t id;
	struct timeout *to;
	passdb_client_fn fn;
	void *ctx;
	enum bs_err failed; /* decided at once, told from the event loop */
};

struct passdb_client {
	char *path;
	int fd; /* -1: not connected */
	struct io *io_in, *io_out;
	struct bs_buf *in, *out;
	struct request *requests;
	unsigned int request_count;
	uint32_t last_id;
};

/* --- requests --- */

static void
request_finish(struct request *req, enum bs_err status, const uint8_t *payload, size_t len)
{
	struct passdb_client *client = req->client;

	DLLIST_REMOVE(&client->requests, req);
	client->request_count--;
	timeout_remove(&req->to);
	req->fn(req->ctx, status, status == BS_OK ? payload : NULL, status == BS_OK ? len : 0);
	i_free(req);
}

static void
request_timeout(struct request *req)
{
	request_finish(req, req->failed != BS_OK ? req->failed : BS_ERR_TIMEOUT, NULL, 0);
}

static struct request *
request_find(struct passdb_client *client, uint32_t id)
{
	struct request *req = client->requests;

	while (req != NULL && req->id != id)
		req = req->next;
	return req;
}

/* Told from the event loop, not from under the caller. */
static void
request_fail_soon(struct request *req, enum bs_err err)
{
	req->failed = err;
	timeout_remove(&req->to);
	req->to = timeout_add_short(0, request_timeout, req);
}

/* --- connection --- */

static void
client_disconnect(struct passdb_client *client)
{
	io_remove(&client->io_in);
	io_remove(&client->io_out);
	i_close_fd(&client->fd);
	bs_buf_reset(client->in);
	bs_buf_reset(client->out);
	for (struct request *req = client->requests; req != NULL; req = req->next) {
		if (req->failed == BS_OK)
			request_fail_soon(req, BS_ERR_UNAVAIL);
	}
}

static void
client_output(struct passdb_client *client)
{
	while (bs_buf_len(client->out) > 0) {
		ssize_t n = write(client->fd, bs_buf_data(client->out), bs_buf_len(client->out));
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0) {
			client_disconnect(client);
			return;
		}
		bs_buf_consume(client->out, (size_t)n);
	}
	if (bs_buf_len(client->out) == 0)
		io_remove(&client->io_out);
	else if (client->io_out == NULL)
		client->io_out = io_add(client->fd, IO_WRITE, client_output, client);
}

/* Takes one whole frame off and gives it to its request, which may send the next one at once: hence the copy. */
static void
client_take(struct passdb_client *client, const struct bs_frame *frame)
{
	struct request *req = request_find(client, frame->request_id);
	enum bs_err status = bs_keyproto_status(frame->status);
	size_t len = frame->payload_len;
	uint8_t payload[REPLY_MAX];

	memcpy(payload, frame->payload, len);
	bs_buf_consume(client->in, frame->len);
	/* A request that timed out is gone; its late answer is dropped. */
	if (req != NULL && req->failed == BS_OK)
		request_finish(req, status, payload, len);
	bs_wipe(payload, len);
}

static enum bs_err
client_parse(struct passdb_client *client)
{
	struct bs_frame frame;
	enum bs_err err;

	while ((err = bs_keyproto_parse(bs_buf_data(client->in), bs_buf_len(client->in), REPLY_MAX, &frame)) == BS_OK)
		client_take(client, &frame);
	return err;
}

static void
client_input(struct passdb_client *client)
{
	uint8_t *room;
	ssize_t n;

	if (bs_buf_reserve(client->in, bs_buf_room(client->in), &room) != BS_OK) {
		client_disconnect(client);
		return;
	}
	n = read(client->fd, room, bs_buf_room(client->in));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_disconnect(client);
		return;
	}
	bs_buf_commit(client->in, (size_t)n);
	if (client_parse(client) != BS_ERR_SHORT)
		client_disconnect(client);
}

static enum bs_err
client_connect(struct passdb_client *client)
{
	if (client->fd != -1)
		return BS_OK;
	client->fd = net_connect_unix(client->path);
	if (client->fd == -1)
		return BS_ERR_UNAVAIL;
	net_set_nonblock(client->fd, TRUE);
	client->io_in = io_add(client->fd, IO_READ, client_input, client);
	return BS_OK;
}

static enum bs_err
client_queue(struct passdb_client *client, enum bs_op op, uint32_t id, const void *payload, size_t len)
{
	size_t size = BS_FRAME_HEADER_LEN + len;
	uint8_t *room;
	enum bs_err err = client_connect(client);

	if (err != BS_OK)
		return err;
	if (client->request_count > UNDERWAY_MAX || bs_buf_reserve(client->out, size, &room) != BS_OK)
		return BS_ERR_BUSY;
	size = bs_keyproto_frame(room, size, (uint8_t)op, BS_OK, id, payload, len);
	bs_buf_commit(client->out, size);
	client_output(client);
	return BS_OK;
}

void
passdb_client_send(struct passdb_client *client, enum bs_op op, const void *payload, size_t len, unsigned int timeout_ms,
    passdb_client_fn fn, void *ctx)
{
	struct request *req = i_new(struct request, 1);
	enum bs_err err;

	req->client = client;
	req->id = ++client->last_id;
	req->fn = fn;
	req->ctx = ctx;
	/* timeout_add() insists on a constant; the two are one function. */
	req->to = timeout_add_short(timeout_ms, request_timeout, req);
	DLLIST_PREPEND(&client->requests, req);
	client->request_count++;
	err = client_queue(client, op, req->id, payload, len);
	if (err != BS_OK)
		request_fail_soon(req, err);
}

bool
passdb_client_is_connected(const struct passdb_client *client)
{
	return client->fd != -1;
}

struct passdb_client *
passdb_client_new(const char *path)
{
	struct passdb_client *client = i_new(struct passdb_client, 1);

	client->path = i_strdup(path);
	client->fd = -1;
	client->in = bs_buf_new(REPLY_MAX);
	client->out = bs_buf_new(PENDING_MAX);
	if (client->in == NULL || client->out == NULL)
		i_fatal("basalt: out of memory");
	return client;
}

void
passdb_client_free(struct passdb_client *client)
{
	if (client == NULL)
		return;
	client_disconnect(client);
	while (client->requests != NULL)
		request_finish(client->requests, BS_ERR_UNAVAIL, NULL, 0);
	bs_buf_free(client->in);
	bs_buf_free(client->out);
	i_free(client->path);
	i_free(client);
}
