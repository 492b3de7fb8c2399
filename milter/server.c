#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "sock.h"

#define READ_SIZE 4096
#define PAUSE_MS 100 /* after accept(2) failed for want of descriptors */

struct client {
	int fd; /* -1: free place */
	struct bs_buf *in;
	struct server_request request; /* request.job: one is under way */
	struct bs_buf *out;
	int64_t last_ms; /* of the last byte or reply */
};

struct server {
	const struct server_handler *handler;
	void *ctx;
	struct pool *pool;
	int listen_fd;
	int wake_fd; /* jobs that are done, and stop */
	atomic_bool stop;
	struct client *clients;
	struct pollfd *polls; /* listen_fd, wake_fd, then one for each client */
	int64_t accept_after_ms;
	pthread_t thread;
};

static void
drop(struct server *server, struct client *client)
{
	if (client->request.job != NULL)
		pool_release(server->pool, client->request.job);
	(void)close(client->fd);
	bs_buf_free(client->in);
	bs_buf_free(client->out);
	*client = (struct client){ .fd = -1 };
}

/* A free place, or that of the client that has been idle longest; NULL when all are busy. */
static struct client *
find_place(struct server *server)
{
	struct client *oldest = NULL;

	for (unsigned i = 0; i < server->handler->clients_max; i++) {
		struct client *client = &server->clients[i];

		if (client->fd < 0)
			return client;
		if (client->request.job == NULL && bs_buf_len(client->out) == 0 && bs_buf_len(client->in) == 0 &&
		    (oldest == NULL || client->last_ms < oldest->last_ms))
			oldest = client;
	}
	if (oldest != NULL)
		drop(server, oldest);
	return oldest;
}

static void
take_client(struct server *server, int fd)
{
	struct client *client = find_place(server);
	struct client fresh = { .fd = fd, .last_ms = bs_now_ms() };

	if (client == NULL) {
		bs_log(BS_LOG_WARNING, "%s: %u clients are busy: one more is turned away", server->handler->name,
		    server->handler->clients_max);
		(void)close(fd);
		return;
	}
	fresh.in = bs_buf_new(server->handler->request_max + READ_SIZE);
	fresh.out = bs_buf_new(server->handler->reply_max);
	if (fresh.in == NULL || fresh.out == NULL)
		drop(server, &fresh);
	*client = fresh;
}

static void
accept_all(struct server *server)
{
	int fd;

	while ((fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		take_client(server, fd);
	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
		bs_log(BS_LOG_ERROR, "%s: accepting a client: out of descriptors or memory", server->handler->name);
		server->accept_after_ms = bs_now_ms() + PAUSE_MS;
	}
}

/* False: the client is gone. */
static bool
send_some(struct client *client)
{
	ssize_t n;

	while (bs_buf_len(client->out) > 0) {
		n = send(client->fd, bs_buf_data(client->out), bs_buf_len(client->out), MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		bs_buf_consume(client->out, (size_t)n);
		client->last_ms = bs_now_ms();
	}
	return true;
}

/* Gives the connection away. False: for the server the client is gone. */
static bool
hand_over(struct server *server, struct client *client)
{
	int fd = fcntl(client->fd, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0)
		server->handler->take(server->ctx, fd, bs_buf_data(client->in), bs_buf_len(client->in));
	return false;
}

/* Begins the next request that is whole, if none is under way. False: the client breaks the protocol. */
static bool
begin_next(struct server *server, struct client *client)
{
	const struct server_handler *handler = server->handler;
	size_t start = 0, len = 0, used = 0;
	enum bs_err err = BS_OK;

	while (client->request.job == NULL && bs_buf_len(client->out) == 0 && bs_buf_len(client->in) > 0) {
		err = handler->frame(bs_buf_data(client->in), bs_buf_len(client->in), &start, &len, &used);
		if (err == BS_ERR_SHORT)
			return bs_buf_len(client->in) < handler->request_max;
		if (err != BS_OK)
			return false;
		client->request = (struct server_request){
			.data = bs_buf_data(client->in) + start,
			.len = len,
			.deadline_ms = bs_now_ms() + handler->request_ms,
			.notify_fd = server->wake_fd,
			.reply = client->out,
		};
		err = handler->begin(server->ctx, &client->request);
		client->request.data = NULL;
		bs_buf_consume(client->in, used);
		if (err == BS_OK && client->request.hand_over)
			return hand_over(server, client);
		if (err != BS_OK || !send_some(client))
			return false;
	}
	return true;
}

/* Reads what is there. False: the client is gone, or breaks the protocol. */
static bool
read_some(struct server *server, struct client *client)
{
	uint8_t *to;
	ssize_t n;

	if (bs_buf_room(client->in) < READ_SIZE)
		return true; /* one request is under way and more wait behind it: read on later */
	if (bs_buf_reserve(client->in, READ_SIZE, &to) != BS_OK)
		return false;
	n = recv(client->fd, to, READ_SIZE, 0);
	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	bs_buf_commit(client->in, (size_t)n);
	client->last_ms = bs_now_ms();
	return begin_next(server, client);
}

/* Ends the request that is under way when its job is done or late. False: drop the client. */
static bool
finish_job(struct server *server, struct client *client)
{
	enum bs_err err = BS_ERR_TIMEOUT;

	if (client->request.job == NULL)
		return true;
	if (!pool_done(server->pool, client->request.job, &err)) {
		if (bs_now_ms() < client->request.deadline_ms)
			return true;
		pool_gave_up(server->pool);
	}
	err = server->handler->finish(server->ctx, &client->request, err);
	client->request.job = NULL;
	return err == BS_OK && send_some(client) && begin_next(server, client);
}

static bool
is_idle_too_long(const struct server *server, const struct client *client)
{
	return client->request.job == NULL && bs_now_ms() - client->last_ms >= server->handler->idle_ms;
}

static void
serve_client(struct server *server, struct client *client, short events)
{
	bool alive = true;

	if ((events & POLLOUT) != 0)
		alive = send_some(client) && begin_next(server, client);
	if (alive && (events & POLLIN) != 0)
		alive = read_some(server, client);
	if (alive)
		alive = finish_job(server, client);
	if ((events & (POLLHUP | POLLERR)) != 0)
		alive = false; /* both directions are closed: nobody reads the reply */
	if (!alive || is_idle_too_long(server, client))
		drop(server, client);
}

static short
wanted_events(const struct client *client)
{
	if (bs_buf_len(client->out) > 0)
		return POLLOUT;
	return bs_buf_room(client->in) >= READ_SIZE ? POLLIN : 0;
}

/* Fills polls; returns the milliseconds until somebody's time is up. */
static int
prepare(struct server *server)
{
	int64_t now = bs_now_ms(), until = now + 60000;

	server->polls[0] = (struct pollfd){ .fd = now >= server->accept_after_ms ? server->listen_fd : -1,
		.events = POLLIN };
	if (now < server->accept_after_ms)
		until = server->accept_after_ms;
	server->polls[1] = (struct pollfd){ .fd = server->wake_fd, .events = POLLIN };
	for (unsigned i = 0; i < server->handler->clients_max; i++) {
		const struct client *client = &server->clients[i];
		int64_t end;

		server->polls[i + 2] = (struct pollfd){ .fd = client->fd };
		if (client->fd < 0)
			continue;
		server->polls[i + 2].events = wanted_events(client);
		end = client->request.job != NULL ? client->request.deadline_ms
		                                  : client->last_ms + server->handler->idle_ms;
		if (end < until)
			until = end;
	}
	return until > now ? (int)(until - now) : 0;
}

static void
drain_wake(struct server *server)
{
	uint64_t n;

	if (read(server->wake_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		bs_log(BS_LOG_ERROR, "%s: eventfd: cannot be read", server->handler->name);
}

static void *
thread_main(void *arg)
{
	struct server *server = arg;
	unsigned n = server->handler->clients_max;

	while (!atomic_load(&server->stop)) {
		int timeout = prepare(server);

		if (poll(server->polls, n + 2, timeout) < 0 && errno != EINTR)
			bs_log(BS_LOG_ERROR, "%s: poll failed", server->handler->name);
		if ((server->polls[1].revents & POLLIN) != 0)
			drain_wake(server);
		for (unsigned i = 0; i < n; i++)
			if (server->clients[i].fd >= 0)
				serve_client(server, &server->clients[i], server->polls[i + 2].revents);
		if ((server->polls[0].revents & POLLIN) != 0)
			accept_all(server);
	}
	return NULL;
}

static void
server_free(struct server *server)
{
	if (server->clients != NULL) {
		for (unsigned i = 0; i < server->handler->clients_max; i++)
			if (server->clients[i].fd >= 0)
				drop(server, &server->clients[i]);
	}
	if (server->listen_fd >= 0)
		(void)close(server->listen_fd);
	if (server->wake_fd >= 0)
		(void)close(server->wake_fd);
	free(server->clients);
	free(server->polls);
	free(server);
}

static enum bs_err
make_room(struct server *server)
{
	unsigned n = server->handler->clients_max;

	server->clients = calloc(n, sizeof(*server->clients));
	server->polls = calloc(n + 2, sizeof(*server->polls));
	if (server->clients == NULL || server->polls == NULL)
		return BS_ERR_NOMEM;
	for (unsigned i = 0; i < n; i++)
		server->clients[i].fd = -1;
	server->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return server->wake_fd >= 0 ? BS_OK : BS_ERR_IO;
}

enum bs_err
server_start(int listen_fd, const struct server_handler *handler, void *ctx, struct pool *pool, struct server **out)
{
	struct server *server = calloc(1, sizeof(*server));
	enum bs_err err;

	if (server == NULL) {
		(void)close(listen_fd);
		return BS_ERR_NOMEM;
	}
	server->listen_fd = listen_fd;
	server->wake_fd = -1;
	server->handler = handler;
	server->ctx = ctx;
	server->pool = pool;
	err = make_room(server);
	if (err == BS_OK && pthread_create(&server->thread, NULL, thread_main, server) != 0)
		err = BS_ERR_NOMEM;
	if (err != BS_OK) {
		server_free(server);
		return err;
	}
	*out = server;
	return BS_OK;
}

void
server_stop(struct server *server)
{
	uint64_t one = 1;

	if (server == NULL)
		return;
	atomic_store(&server->stop, true);
	if (write(server->wake_fd, &one, sizeof(one)) < 0)
		bs_log(BS_LOG_DEBUG, "%s: already awake", server->handler->name);
	(void)pthread_join(server->thread, NULL);
	server_free(server);
}
