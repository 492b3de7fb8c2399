#include "quota.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"
#include "cache.h"
#include "cond.h"
#include "log.h"
#include "sock.h"
#include "transport_listen.h"

#define CONNECTIONS 4 /* kept, and at the most: each holds a process of Dovecot's */
#define CACHE_MAX 5000
#define DOWN_MS 1000  /* how long a service that failed is left alone */
#define REQUEST_MAX (BS_ADDRESS_MAX + 200)

struct quota {
	struct quota_settings settings;
	struct cache *cache; /* of struct remembered */
	pthread_mutex_t lock;
	pthread_cond_t given_back;
	int idle[CONNECTIONS]; /* connections that nobody uses, the first n_idle */
	unsigned n_idle, n_busy;
	int64_t down_until_ms;
	bool down;
	atomic_ullong asked, full, failed;
};

struct remembered {
	atomic_uint refs;
	struct quota_answer answer;
};

static void *
ref_cb(void *value)
{
	atomic_fetch_add(&((struct remembered *)value)->refs, 1);
	return value;
}

static void
unref_cb(void *value)
{
	if (atomic_fetch_sub(&((struct remembered *)value)->refs, 1) == 1)
		free(value);
}

struct quota *
quota_new(const struct quota_settings *settings)
{
	struct quota *quota = calloc(1, sizeof(*quota));

	if (quota == NULL)
		return NULL;
	quota->settings = *settings;
	quota->cache = cache_new(CACHE_MAX, ref_cb, unref_cb);
	if (quota->cache == NULL) {
		free(quota);
		return NULL;
	}
	pthread_mutex_init(&quota->lock, NULL);
	bs_cond_init(&quota->given_back);
	return quota;
}

void
quota_free(struct quota *quota)
{
	if (quota == NULL)
		return;
	while (quota->n_idle > 0)
		(void)close(quota->idle[--quota->n_idle]);
	pthread_cond_destroy(&quota->given_back);
	pthread_mutex_destroy(&quota->lock);
	cache_free(quota->cache);
	free(quota);
}

/* --- the answer --- */

/* Our replies are printable ASCII without '%' (verdict.h). */
static void
copy_text(const char *text, size_t len, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n + 1 < size; i++)
		out[n++] = (char)(text[i] >= 0x20 && text[i] < 0x7f && text[i] != '%' ? text[i] : '?');
	out[n] = '\0';
}

/* "552 5.2.2 text" with a status that speaks of room. */
static bool
read_full(const char *text, size_t len, struct smtp_reply *out)
{
	if (len < 9 || (text[0] != '4' && text[0] != '5') || text[3] != ' ' || text[4] != text[0] ||
	    strspn(text, "0123456789") != 3)
		return false;
	if (strncmp(text + 5, ".2.2", 4) != 0 && strncmp(text + 5, ".2.3", 4) != 0)
		return false;
	if (len > 9 && text[9] != ' ')
		return false;
	memcpy(out->code, text, 3);
	memcpy(out->status, text + 4, 5);
	if (len > 10)
		copy_text(text + 10, len - 10, out->text, sizeof(out->text));
	else
		(void)snprintf(out->text, sizeof(out->text), "Mailbox is full");
	return true;
}

static bool
is_word(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && strncasecmp(text, word, len) == 0;
}

void
quota_read_answer(const char *text, struct quota_answer *out)
{
	const char *action = strncmp(text, "action=", 7) == 0 ? text + 7 : NULL;
	size_t len = action != NULL ? strcspn(action, "\n") : 0;

	*out = (struct quota_answer){ .state = QUOTA_UNKNOWN };
	if (len == 0)
		return;
	if (is_word(action, len, "OK") || is_word(action, len, "DUNNO") || is_word(action, len, "PERMIT"))
		out->state = QUOTA_ROOM;
	else if (read_full(action, len, &out->reply))
		out->state = QUOTA_FULL;
}

/* --- the service --- */

/* A connection, or -1 with BS_OK: the caller makes one. BS_ERR_UNAVAIL: it is known to be down; BS_ERR_TIMEOUT. */
static enum bs_err
take_connection(struct quota *quota, int64_t deadline_ms, int *fd)
{
	enum bs_err err = BS_OK;
	int rc = 0;

	pthread_mutex_lock(&quota->lock);
	while (quota->n_busy == CONNECTIONS && rc == 0)
		rc = bs_cond_wait_until(&quota->given_back, &quota->lock, deadline_ms);
	if (quota->n_busy == CONNECTIONS)
		err = BS_ERR_TIMEOUT;
	else if (bs_now_ms() < quota->down_until_ms)
		err = BS_ERR_UNAVAIL;
	if (err == BS_OK) {
		quota->n_busy++;
		*fd = quota->n_idle > 0 ? quota->idle[--quota->n_idle] : -1;
	}
	pthread_mutex_unlock(&quota->lock);
	return err;
}

/* fd -1: it is gone. */
static void
give_connection(struct quota *quota, int fd, enum bs_err err)
{
	bool down = err != BS_OK, news;

	pthread_mutex_lock(&quota->lock);
	quota->n_busy--;
	if (fd >= 0)
		quota->idle[quota->n_idle++] = fd;
	quota->down_until_ms = down ? bs_now_ms() + DOWN_MS : 0;
	news = down != quota->down;
	quota->down = down;
	pthread_cond_signal(&quota->given_back);
	pthread_mutex_unlock(&quota->lock);
	if (news)
		bs_log(down ? BS_LOG_WARNING : BS_LOG_INFO, down ? "quota: %s: not answering (%s): mail for full mailboxes is taken "
		    "until it is back" : "quota: %s: answering again", quota->settings.address, bs_err_text(err));
}

/* Until the empty line. BS_ERR_IO: the service closed, or said too much. */
static enum bs_err
read_answer(int fd, char out[QUOTA_ANSWER_MAX + 1], int64_t deadline_ms)
{
	size_t len = 0;

	while (len < QUOTA_ANSWER_MAX) {
		int64_t left = deadline_ms - bs_now_ms();
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (left <= 0)
			return BS_ERR_TIMEOUT;
		if (poll(&pfd, 1, (int)left) <= 0)
			continue;
		n = recv(fd, out + len, QUOTA_ANSWER_MAX - len, 0);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return BS_ERR_IO;
		len += n > 0 ? (size_t)n : 0;
		out[len] = '\0';
		if (strlen(out) != len)
			return BS_ERR_IO;
		if (len >= 2 && strcmp(out + len - 2, "\n\n") == 0)
			return BS_OK;
	}
	return BS_ERR_IO;
}

static enum bs_err
exchange(int fd, const char *request, int64_t deadline_ms, char answer[QUOTA_ANSWER_MAX + 1])
{
	enum bs_err err = bs_sock_write(fd, request, strlen(request), deadline_ms);

	return err == BS_OK ? read_answer(fd, answer, deadline_ms) : err;
}

/* An idle connection may have been closed by the service meanwhile: then a fresh one is tried. *fd is -1 or usable. */
static enum bs_err
ask(struct quota *quota, const char *request, int64_t deadline_ms, int *fd, char answer[QUOTA_ANSWER_MAX + 1])
{
	bool fresh = *fd < 0;
	enum bs_err err = BS_ERR_IO;

	if (!fresh)
		err = exchange(*fd, request, deadline_ms, answer);
	if (!fresh && err != BS_OK) {
		(void)close(*fd);
		*fd = -1;
	}
	if (err != BS_ERR_IO)
		return err;
	err = transport_connect(quota->settings.address, deadline_ms, fd);
	if (err != BS_OK)
		return err;
	err = exchange(*fd, request, deadline_ms, answer);
	if (err != BS_OK) {
		(void)close(*fd);
		*fd = -1;
	}
	return err;
}

static void
ask_service(struct quota *quota, const char *address, uint64_t size, int64_t deadline_ms, struct quota_answer *out)
{
	char request[REQUEST_MAX], answer[QUOTA_ANSWER_MAX + 1] = "";
	int fd = -1;
	enum bs_err err;

	(void)snprintf(request, sizeof(request), "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n"
	    "recipient=%s\nsize=%llu\n\n", address, (unsigned long long)size);
	err = take_connection(quota, deadline_ms, &fd);
	if (err == BS_OK) {
		atomic_fetch_add(&quota->asked, 1);
		err = ask(quota, request, deadline_ms, &fd, answer);
		give_connection(quota, fd, err);
	}
	if (err == BS_OK)
		quota_read_answer(answer, out);
	if (out->state == QUOTA_UNKNOWN)
		atomic_fetch_add(&quota->failed, 1);
	else if (out->state == QUOTA_FULL)
		atomic_fetch_add(&quota->full, 1);
}

static void
remember(struct quota *quota, const char *key, const struct quota_answer *answer)
{
	struct remembered *value = calloc(1, sizeof(*value));

	if (value == NULL)
		return;
	atomic_init(&value->refs, 1);
	value->answer = *answer;
	cache_put(quota->cache, key, value, bs_now_ms() + quota->settings.cache_ms);
	unref_cb(value);
}

void
quota_ask(struct quota *quota, const char *address, uint64_t size, int64_t deadline_ms, struct quota_answer *out)
{
	char key[BS_ADDRESS_MAX + 32];
	struct remembered *known;

	*out = (struct quota_answer){ .state = QUOTA_UNKNOWN };
	(void)snprintf(key, sizeof(key), "%s %llu", address, (unsigned long long)size);
	known = cache_get(quota->cache, key, bs_now_ms());
	if (known != NULL) {
		*out = known->answer;
		unref_cb(known);
		return;
	}
	ask_service(quota, address, size, deadline_ms, out);
	if (out->state != QUOTA_UNKNOWN)
		remember(quota, key, out);
}

void
quota_stats(struct quota *quota, struct quota_stats *out)
{
	out->asked = atomic_load(&quota->asked);
	out->full = atomic_load(&quota->full);
	out->failed = atomic_load(&quota->failed);
}
