/*
 * The native engine: a thread for each connection over milter_conn, and the caller's thread, which accepts, gives signs of
 * life for messages that take long, and ends all. A socket blocks, and the kernel keeps its deadlines (SO_RCVTIMEO,
 * SO_SNDTIMEO): a packet costs one recv(2) or less, an answer one send(2).
 */
#include "cond.h"
#include "transport.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "log.h"
#include "milter_conn.h"
#include "milter_wire.h"
#include "sock.h"
#include "threads.h"
#include "transport_listen.h"

#define IDLE_MS 7210000    /* beyond any SMTP timeout */
#define PACKET_MS 60000    /* from a packet's first byte to its last */
#define SEND_MS 10000      /* an answer */
#define PROGRESS_MS 1000   /* between two signs of life */
#define PROGRESS_MAX_MS 300000 /* then a message is given up: the server's own timeout ends it */
#define END_MS 2000        /* for threads to notice that their connection was shut */
#define PAUSE_MS 100       /* after accept(2) failed for want of descriptors or threads */
#define FULL_SAID_MS 60000 /* between two complaints that all places are taken */
#define READ_SIZE 16384
#define INPUT_MAX (MILTER_PACKET_MAX + 4 + READ_SIZE)
#define STACK_SIZE ((size_t)1024 * 1024) /* touched as far as it is used */
#define IDLE_MAX 32 /* threads that wait for a connection */

/* One connection. */
struct link {
	struct transport_engine *engine;
	struct link *prev, *next;
	int fd;
	struct milter_conn *conn;
	struct bs_buf *input;
	bool grown;        /* input holds more memory than an idle connection should */
	bool message_over; /* its answer is in the output */
	bool in_message;   /* under the engine's lock */

	pthread_mutex_t lock;  /* of the rest */
	int64_t ending_ms;     /* since when the end of a message is thought about; 0: it is not */
	int64_t progress_ms;   /* of the last sign of life */
};

struct transport_engine {
	const struct transport_settings *settings;
	const struct transport_events *events;
	void *app;
	int listen_fd;
	int wake_fd;
	struct bs_threads *threads;
	pthread_mutex_t lock; /* of the rest */
	pthread_cond_t left;  /* a connection ended */
	struct link *links;
	unsigned count;
	bool stopping;
	bool full; /* somebody waits for a place */
	int64_t full_said_ms; /* when the log last said so */
};

static void
wake(struct transport_engine *engine)
{
	uint64_t one = 1;

	if (write(engine->wake_fd, &one, sizeof(one)) < 0)
		return; /* it is awake already */
}

/* --- what the connection asks of its thread --- */

static bool
on_begin(void *ctx)
{
	struct link *link = ctx;

	pthread_mutex_lock(&link->engine->lock);
	link->in_message = !link->engine->stopping;
	pthread_mutex_unlock(&link->engine->lock);
	return link->in_message;
}

static void
on_done(void *ctx)
{
	struct link *link = ctx;

	link->message_over = true;
}

static void
on_ending(void *ctx, bool now)
{
	struct link *link = ctx;

	pthread_mutex_lock(&link->lock);
	link->ending_ms = link->progress_ms = now ? bs_now_ms() : 0;
	pthread_mutex_unlock(&link->lock);
}

/* From either thread. Five bytes that do not fit mean that nobody reads: then there is nobody to be told. */
static enum bs_err
give_sign(struct link *link)
{
	static const uint8_t packet[] = { 0, 0, 0, 1, MILTER_PROGRESS };
	int64_t now = bs_now_ms();
	enum bs_err err = BS_OK;

	pthread_mutex_lock(&link->lock);
	if (link->ending_ms != 0 && now - link->progress_ms >= PROGRESS_MS && now - link->ending_ms < PROGRESS_MAX_MS) {
		link->progress_ms = now;
		if (send(link->fd, packet, sizeof(packet), MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof(packet)) {
			(void)shutdown(link->fd, SHUT_RDWR);
			err = BS_ERR_IO;
		}
	}
	pthread_mutex_unlock(&link->lock);
	return err;
}

static enum bs_err
on_progress(void *ctx)
{
	return give_sign(ctx);
}

static const struct milter_conn_hooks hooks = {
	.begin = on_begin,
	.done = on_done,
	.ending = on_ending,
	.progress = on_progress,
};

/* --- one connection's thread --- */

static bool
send_all(struct link *link)
{
	struct bs_buf *output = milter_conn_output(link->conn);
	int64_t deadline = bs_now_ms() + SEND_MS;

	while (bs_buf_len(output) > 0) {
		ssize_t n = send(link->fd, bs_buf_data(output), bs_buf_len(output), MSG_NOSIGNAL);

		if (n <= 0 && errno != EINTR)
			return false;
		if (n > 0)
			bs_buf_consume(output, (size_t)n);
		if (bs_buf_len(output) > 0 && bs_now_ms() > deadline)
			return false;
	}
	return true;
}

/* After a message's answer is out: the thread may be ended between two messages. False: it is to end. */
static bool
leave_message(struct link *link)
{
	bool stopping;

	link->message_over = false;
	if (link->grown && bs_buf_len(link->input) == 0) {
		bs_buf_free(link->input);
		link->input = bs_buf_new(INPUT_MAX);
		link->grown = false;
	}
	pthread_mutex_lock(&link->engine->lock);
	link->in_message = false;
	stopping = link->engine->stopping;
	pthread_mutex_unlock(&link->engine->lock);
	return !stopping && link->input != NULL;
}

/* Every whole packet of the input. BS_ERR_SHORT: more is to be read. Any other: the connection ends. */
static enum bs_err
take_packets(struct link *link)
{
	struct milter_packet packet;
	size_t used;
	enum bs_err err;

	while ((err = milter_wire_next(bs_buf_data(link->input), bs_buf_len(link->input), &packet, &used)) == BS_OK) {
		err = milter_conn_packet(link->conn, &packet);
		bs_buf_consume(link->input, used);
		if (err != BS_OK)
			return err;
		if (milter_conn_is_over(link->conn) || !send_all(link))
			return BS_ERR_IO;
		if (link->message_over && !leave_message(link))
			return BS_ERR_IO;
	}
	return err;
}

/* How much to ask the kernel for: the rest of a packet that has begun, or what there is. */
static size_t
read_size(const struct link *link)
{
	const uint8_t *p = bs_buf_data(link->input);
	size_t len = bs_buf_len(link->input), need;

	if (len < 4)
		return READ_SIZE;
	need = 4 + (((size_t)p[0] << 24) | ((size_t)p[1] << 16) | ((size_t)p[2] << 8) | p[3]) - len;
	return need > READ_SIZE && need <= MILTER_PACKET_MAX ? need : READ_SIZE;
}

/* Half a packet is there: the rest must come in time. False: it does not. */
static bool
wait_for_rest(const struct link *link, int64_t deadline)
{
	struct pollfd pfd = { .fd = link->fd, .events = POLLIN };
	int64_t left = deadline - bs_now_ms();

	return left > 0 && poll(&pfd, 1, (int)left) > 0;
}

static bool
read_some(struct link *link)
{
	size_t size = read_size(link);
	uint8_t *to;
	ssize_t n;

	if (bs_buf_reserve(link->input, size, &to) != BS_OK)
		return false;
	link->grown = link->grown || size > READ_SIZE;
	do
		n = recv(link->fd, to, size, 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false; /* closed, or its time is up */
	bs_buf_commit(link->input, (size_t)n);
	return true;
}

static void
converse(struct link *link)
{
	int64_t deadline = 0; /* of the packet that has begun */
	enum bs_err err = BS_ERR_SHORT;

	while (err == BS_ERR_SHORT) {
		if (bs_buf_len(link->input) == 0)
			deadline = 0;
		else if (deadline == 0)
			deadline = bs_now_ms() + PACKET_MS;
		if ((deadline != 0 && !wait_for_rest(link, deadline)) || !read_some(link))
			return;
		err = take_packets(link);
	}
	if (err != BS_ERR_IO)
		bs_log(BS_LOG_WARNING, "milter: a connection is closed: %s", bs_err_text(err));
}

static void
free_link(struct link *link)
{
	milter_conn_free(link->conn);
	bs_buf_free(link->input);
	(void)close(link->fd);
	(void)pthread_mutex_destroy(&link->lock);
	free(link);
}

/* Out of the engine's list first: from then on nobody else touches it. */
static void
unlink_and_free(struct link *link)
{
	struct transport_engine *engine = link->engine;

	pthread_mutex_lock(&engine->lock);
	if (link->prev != NULL)
		link->prev->next = link->next;
	else
		engine->links = link->next;
	if (link->next != NULL)
		link->next->prev = link->prev;
	pthread_mutex_unlock(&engine->lock);
	free_link(link);
	pthread_mutex_lock(&engine->lock);
	engine->count--;
	if (engine->full)
		wake(engine);
	(void)pthread_cond_signal(&engine->left);
	pthread_mutex_unlock(&engine->lock);
}

static void
serve(void *arg)
{
	struct link *link = arg;

	converse(link);
	unlink_and_free(link);
}

/* --- the engine's thread --- */

static bool
set_deadlines(int fd)
{
	const struct timeval idle = { .tv_sec = IDLE_MS / 1000 }, sending = { .tv_sec = SEND_MS / 1000 };

	return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &sending, sizeof(sending)) == 0;
}

static struct link *
new_link(struct transport_engine *engine, int fd)
{
	struct link *link = calloc(1, sizeof(*link));

	if (link == NULL)
		return NULL;
	link->engine = engine;
	link->fd = fd;
	(void)pthread_mutex_init(&link->lock, NULL);
	link->input = bs_buf_new(INPUT_MAX);
	if (link->input == NULL || milter_conn_new(engine->events, engine->app, &hooks, link, &link->conn) != BS_OK) {
		link->fd = -1;
		free_link(link);
		return NULL;
	}
	return link;
}

static void
insert(struct link *link)
{
	struct transport_engine *engine = link->engine;

	pthread_mutex_lock(&engine->lock);
	link->next = engine->links;
	if (link->next != NULL)
		link->next->prev = link;
	engine->links = link;
	engine->count++;
	pthread_mutex_unlock(&engine->lock);
}

/* False: no room for it; who connected is told by the close, and the server defers. */
static bool
serve_client(struct transport_engine *engine, int fd)
{
	struct link *link = set_deadlines(fd) && transport_tune(fd) ? new_link(engine, fd) : NULL;

	if (link == NULL) {
		(void)close(fd);
		return false;
	}
	insert(link);
	if (!bs_threads_run(engine->threads, serve, link)) {
		unlink_and_free(link);
		return false;
	}
	return true;
}

/* True when a place is free. Who finds none waits in the backlog and is counted. */
static bool
has_place(struct transport_engine *engine)
{
	bool full, first;

	pthread_mutex_lock(&engine->lock);
	full = engine->count >= engine->settings->sessions_max;
	first = full && !engine->full;
	engine->full = full;
	pthread_mutex_unlock(&engine->lock);
	if (!first)
		return !full;
	atomic_fetch_add(engine->settings->waited, 1);
	if (engine->full_said_ms == 0 || bs_now_ms() - engine->full_said_ms >= FULL_SAID_MS) {
		engine->full_said_ms = bs_now_ms();
		bs_log(BS_LOG_WARNING, "milter.sessions_max: all %u sessions are taken: one more waits",
		    engine->settings->sessions_max);
	}
	return false;
}

/* Returns the time before which accepting is of no use. */
static int64_t
accept_client(struct transport_engine *engine)
{
	int fd = accept4(engine->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0)
		return serve_client(engine, fd) ? 0 : bs_now_ms() + PAUSE_MS;
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return 0;
	bs_log(BS_LOG_ERROR, "milter: accepting a connection: %s", strerror(errno));
	return bs_now_ms() + PAUSE_MS;
}

static bool
is_stopping(struct transport_engine *engine)
{
	bool stopping;

	pthread_mutex_lock(&engine->lock);
	stopping = engine->stopping;
	pthread_mutex_unlock(&engine->lock);
	return stopping;
}

static void
give_signs(struct transport_engine *engine)
{
	pthread_mutex_lock(&engine->lock);
	for (struct link *link = engine->links; link != NULL; link = link->next)
		(void)give_sign(link);
	pthread_mutex_unlock(&engine->lock);
}

static void
drain_wake(struct transport_engine *engine)
{
	uint64_t n;

	if (read(engine->wake_fd, &n, sizeof(n)) < 0)
		return;
}

static void
accept_until_stop(struct transport_engine *engine)
{
	int64_t after = 0, signs = bs_now_ms() + PROGRESS_MS;
	bool waiting = false; /* for a place */

	while (!is_stopping(engine)) {
		bool pause = bs_now_ms() < after;
		struct pollfd polls[] = { { .fd = pause || waiting ? -1 : engine->listen_fd, .events = POLLIN },
			{ .fd = engine->wake_fd, .events = POLLIN } };

		if (poll(polls, 2, pause ? PAUSE_MS : PROGRESS_MS / 2) < 0 && errno != EINTR)
			bs_log(BS_LOG_ERROR, "milter: poll: %s", strerror(errno));
		if ((polls[1].revents & POLLIN) != 0)
			drain_wake(engine);
		if (waiting)
			waiting = !has_place(engine);
		if ((polls[0].revents & POLLIN) != 0) {
			waiting = !has_place(engine);
			after = waiting ? 0 : accept_client(engine);
		}
		if (bs_now_ms() >= signs) {
			give_signs(engine);
			signs = bs_now_ms() + PROGRESS_MS / 2;
		}
	}
}

/* Ends connections: those between two messages, or all. */
static void
shut(struct transport_engine *engine, bool all)
{
	pthread_mutex_lock(&engine->lock);
	for (struct link *link = engine->links; link != NULL; link = link->next)
		if (all || !link->in_message)
			(void)shutdown(link->fd, SHUT_RDWR);
	pthread_mutex_unlock(&engine->lock);
}

/* Until nobody is left, with signs of life meanwhile. True: all are gone. */
static bool
wait_for_all(struct transport_engine *engine, int64_t ms)
{
	int64_t deadline = bs_now_ms() + ms;
	bool empty = false;

	while (!empty && bs_now_ms() < deadline) {
		pthread_mutex_lock(&engine->lock);
		if (engine->count > 0)
			(void)bs_cond_wait_until(&engine->left, &engine->lock, bs_now_ms() + PROGRESS_MS);
		empty = engine->count == 0;
		pthread_mutex_unlock(&engine->lock);
		give_signs(engine);
	}
	return empty;
}

static enum bs_err
native_listen(const struct transport_settings *settings, struct transport_engine **out)
{
	struct transport_engine *engine = calloc(1, sizeof(*engine));
	enum bs_err err;

	if (engine == NULL)
		return BS_ERR_NOMEM;
	engine->settings = settings;
	(void)pthread_mutex_init(&engine->lock, NULL);
	bs_cond_init(&engine->left);
	engine->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	engine->threads = bs_threads_new(STACK_SIZE, IDLE_MAX, BS_THREADS_IDLE_MS);
	err = engine->wake_fd < 0 || engine->threads == NULL ? BS_ERR_IO : transport_listen(settings, &engine->listen_fd);
	if (err != BS_OK) {
		if (engine->wake_fd >= 0)
			(void)close(engine->wake_fd);
		bs_threads_free(engine->threads);
		free(engine);
		return err;
	}
	*out = engine;
	return BS_OK;
}

static enum bs_err
native_run(struct transport_engine *engine, const struct transport_events *events, void *app)
{
	engine->events = events;
	engine->app = app;
	accept_until_stop(engine);
	(void)close(engine->listen_fd);
	shut(engine, false);
	if (!wait_for_all(engine, engine->settings->drain_ms)) {
		shut(engine, true);
		(void)wait_for_all(engine, END_MS);
	}
	bs_threads_free(engine->threads);
	return BS_OK;
}

static void
native_stop(struct transport_engine *engine)
{
	pthread_mutex_lock(&engine->lock);
	engine->stopping = true;
	pthread_mutex_unlock(&engine->lock);
	wake(engine);
}

const struct transport transport_native = {
	.name = "native",
	.listen = native_listen,
	.run = native_run,
	.drains = true,
	.stop = native_stop,
};
