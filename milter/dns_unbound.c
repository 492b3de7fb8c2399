#include "dns_unbound.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unbound.h>
#include <unistd.h>

#include "cache.h"
#include "cond.h"
#include "dns_wire.h"
#include "sock.h"

#define CACHE_S_MAX 3600
#define CACHE_DATA_MAX 2048 /* bytes of an answer that our own cache keeps */
#define KEY_MAX (DNS_NAME_MAX + 8)
#define SERVER_MAX 128
#define CLASS_IN 1
#define RCODE_NXDOMAIN 3

struct dns_query {
	struct dns_unbound *resolver;
	LIST_ENTRY(dns_query) link; /* among pending, while libunbound has it */
	pthread_cond_t answered;
	int64_t deadline_ms;
	struct dns_answer *answer; /* one of the resolver's two empty ones stands for "no"; NULL: temporary */
	bool done;
	bool abandoned; /* nobody waits: the callback frees it */
	char key[KEY_MAX];
};

struct dns_unbound {
	struct dns dns; /* first */
	struct ub_ctx *ctx;
	struct cache *cache;
	struct dns_answer *no_name, *no_data;
	unsigned pending_max;
	int stop_fd;
	bool running;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows, and of the queries */
	LIST_HEAD(query_list, dns_query) pending;
	struct dns_unbound_stats stats;
};

/*
 * What differs from libunbound's own defaults. It never waits longer than max-rtt for one packet and keeps trying a server
 * that was down, so that mail flows again seconds after the server is back.
 */
static const struct {
	const char *name, *value;
} options[] = {
	{ "module-config:", "iterator" }, /* no DNSSEC validation: nothing here asks for it */
	{ "do-not-query-localhost:", "no" },
	{ "outgoing-range:", "256" },
	{ "outgoing-num-tcp:", "16" },
	{ "num-queries-per-thread:", "2048" },
	{ "msg-cache-size:", "8m" },
	{ "rrset-cache-size:", "16m" },
	{ "infra-host-ttl:", "10" }, /* a server that kept silent is not asked until then, whatever the next option says */
	{ "infra-keep-probing:", "yes" },
	{ "infra-cache-max-rtt:", "3000" },
	{ "unblock-lan-zones:", "yes" }, /* reverse names of private networks are asked for like any other */
};

static void *
ref_answer(void *value)
{
	return dns_answer_ref(value);
}

static void
unref_answer(void *value)
{
	dns_answer_unref(value);
}

static void
query_free(struct dns_query *query)
{
	if (query == NULL)
		return;
	dns_answer_unref(query->answer);
	pthread_cond_destroy(&query->answered);
	free(query);
}

static struct dns_query *
query_new(struct dns_unbound *resolver, const char *name, enum dns_type type, int64_t deadline_ms)
{
	struct dns_query *query = calloc(1, sizeof(*query));
	size_t len;

	if (query == NULL)
		return NULL;
	bs_cond_init(&query->answered);
	query->resolver = resolver;
	query->deadline_ms = deadline_ms;
	len = (size_t)snprintf(query->key, sizeof(query->key), "%d %s", (int)type, name);
	if (len > 0 && len < sizeof(query->key) && query->key[len - 1] == '.')
		query->key[len - 1] = '\0';
	for (char *p = query->key; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	return query;
}

/* Its records in our form; NULL when out of memory. Records that make no sense are left out. */
static struct dns_answer *
convert(const struct ub_result *result)
{
	struct dns_answer *answer;
	size_t n = 0, bytes = 0;

	for (; result->data[n] != NULL; n++)
		bytes += (size_t)result->len[n];
	answer = dns_answer_new(n, bytes);
	if (answer == NULL)
		return NULL;
	answer->ttl_s = result->ttl > 0 ? (uint32_t)result->ttl : 0;
	for (size_t i = 0; i < n; i++)
		if (dns_wire_add(answer, (enum dns_type)result->qtype, (uint8_t *)result->data[i], (size_t)result->len[i]) !=
		    BS_OK)
			continue;
	return answer;
}

/* With a reference for the caller; NULL: temporary. */
static struct dns_answer *
answer_of(struct dns_unbound *resolver, int err, const struct ub_result *result)
{
	struct dns_answer *answer;

	if (err != 0 || result == NULL)
		return NULL;
	if (result->nxdomain || result->rcode == RCODE_NXDOMAIN)
		return dns_answer_ref(resolver->no_name);
	if (result->rcode != 0)
		return NULL;
	if (!result->havedata)
		return dns_answer_ref(resolver->no_data);
	answer = convert(result);
	if (answer != NULL && answer->n == 0) {
		dns_answer_unref(answer);
		answer = dns_answer_ref(resolver->no_data);
	}
	return answer;
}

static void
remember(struct dns_unbound *resolver, const char *key, struct dns_answer *answer, const struct ub_result *result)
{
	int64_t ttl_s = result->ttl < CACHE_S_MAX ? result->ttl : CACHE_S_MAX;
	size_t bytes = 0;

	for (size_t i = 0; i < answer->n; i++)
		bytes += sizeof(answer->records[i]) + answer->records[i].len;
	if (ttl_s > 0 && bytes <= CACHE_DATA_MAX)
		cache_put(resolver->cache, key, answer, bs_now_ms() + ttl_s * 1000);
}

/* libunbound's callback, in our thread. */
static void
on_result(void *arg, int err, struct ub_result *result)
{
	struct dns_query *query = arg;
	struct dns_unbound *resolver = query->resolver;
	struct dns_answer *answer = answer_of(resolver, err, result);
	bool abandoned;

	if (answer != NULL)
		remember(resolver, query->key, answer, result);
	ub_resolve_free(result);
	pthread_mutex_lock(&resolver->lock);
	query->answer = answer;
	query->done = true;
	LIST_REMOVE(query, link);
	resolver->stats.pending--;
	resolver->stats.servfails += answer == NULL ? 1 : 0;
	abandoned = query->abandoned;
	pthread_cond_signal(&query->answered);
	pthread_mutex_unlock(&resolver->lock);
	if (abandoned)
		query_free(query);
}

/* Counts a new query in, if there is room. */
static bool
admit(struct dns_unbound *resolver, struct dns_query *query)
{
	bool room;

	pthread_mutex_lock(&resolver->lock);
	room = resolver->stats.pending < resolver->pending_max;
	if (room) {
		LIST_INSERT_HEAD(&resolver->pending, query, link);
		resolver->stats.pending++;
	} else {
		resolver->stats.refused++;
	}
	pthread_mutex_unlock(&resolver->lock);
	return room;
}

static bool
send_query(struct dns_unbound *resolver, struct dns_query *query, const char *name, enum dns_type type)
{
	char text[DNS_ESCAPED_MAX];
	int id;

	if (!admit(resolver, query))
		return false;
	dns_wire_escape(name, text);
	if (ub_resolve_async(resolver->ctx, text, (int)type, CLASS_IN, query, on_result, &id) == 0)
		return true;
	pthread_mutex_lock(&resolver->lock);
	LIST_REMOVE(query, link);
	resolver->stats.pending--;
	resolver->stats.refused++;
	pthread_mutex_unlock(&resolver->lock);
	return false;
}

static struct dns_query *
begin(struct dns *dns, const char *name, enum dns_type type, int64_t deadline_ms)
{
	struct dns_unbound *resolver = (struct dns_unbound *)dns;
	struct dns_query *query = query_new(resolver, name, type, deadline_ms);
	bool sent = true;

	pthread_mutex_lock(&resolver->lock);
	resolver->stats.queries++;
	resolver->stats.refused += query == NULL ? 1 : 0;
	pthread_mutex_unlock(&resolver->lock);
	if (query == NULL)
		return NULL;
	query->answer = dns_name_ok(name) ? cache_get(resolver->cache, query->key, bs_now_ms())
	                                  : dns_answer_ref(resolver->no_name);
	query->done = query->answer != NULL;
	if (!query->done)
		sent = send_query(resolver, query, name, type);
	if (sent)
		return query;
	query_free(query);
	return NULL;
}

/* Until it is done or its time is up; true when done. Called with the lock held. */
static bool
await(struct dns_unbound *resolver, struct dns_query *query)
{
	int rc = 0;

	while (!query->done && rc == 0)
		rc = bs_cond_wait_until(&query->answered, &resolver->lock, query->deadline_ms);
	return query->done;
}

static enum dns_status
finish(struct dns *dns, struct dns_query *query, struct dns_answer **out)
{
	struct dns_unbound *resolver = (struct dns_unbound *)dns;
	struct dns_answer *answer;
	enum dns_status status = DNS_FOUND;
	bool done;

	pthread_mutex_lock(&resolver->lock);
	done = await(resolver, query);
	if (!done) {
		query->abandoned = true;
		resolver->stats.timeouts++;
	}
	pthread_mutex_unlock(&resolver->lock);
	if (!done)
		return DNS_TEMPORARY;
	answer = query->answer;
	if (answer == NULL)
		status = DNS_TEMPORARY;
	else if (answer == resolver->no_name)
		status = DNS_NO_NAME;
	else if (answer == resolver->no_data)
		status = DNS_NO_DATA;
	else
		*out = dns_answer_ref(answer);
	query_free(query);
	return status;
}

static void
drop(struct dns *dns, struct dns_query *query)
{
	struct dns_unbound *resolver = (struct dns_unbound *)dns;
	bool done;

	pthread_mutex_lock(&resolver->lock);
	done = query->done;
	query->abandoned = true;
	pthread_mutex_unlock(&resolver->lock);
	if (done)
		query_free(query);
}

static void *
thread_main(void *arg)
{
	struct dns_unbound *resolver = arg;
	struct pollfd fds[2] = { { .fd = ub_fd(resolver->ctx), .events = POLLIN },
		{ .fd = resolver->stop_fd, .events = POLLIN } };

	while (fds[1].revents == 0) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[0].revents != 0 && ub_process(resolver->ctx) != 0)
			break;
	}
	return NULL;
}

/* libunbound takes any number for a port. */
static bool
has_good_port(const char *server)
{
	const char *at = strchr(server, '@');
	char *end = NULL;
	unsigned long port = at != NULL ? strtoul(at + 1, &end, 10) : 53;

	return port >= 1 && port <= UINT16_MAX && (at == NULL || (at[1] >= '0' && at[1] <= '9' && *end == '\0'));
}

/* Each of the addresses in the list becomes a forwarder. */
static enum bs_err
set_forwarders(struct ub_ctx *ctx, const char *servers)
{
	char one[SERVER_MAX];
	size_t n = 0, len;

	for (const char *p = servers + strspn(servers, " ,"); *p != '\0'; p += len + strspn(p + len, " ,")) {
		len = strcspn(p, " ,");
		if (len >= sizeof(one))
			return BS_ERR_ARG;
		memcpy(one, p, len);
		one[len] = '\0';
		if (!has_good_port(one) || ub_ctx_set_fwd(ctx, one) != 0)
			return BS_ERR_ARG;
		n++;
	}
	return n > 0 ? BS_OK : BS_ERR_ARG;
}

static enum bs_err
set_servers(struct ub_ctx *ctx, const char *servers)
{
	if (strcmp(servers, "root") == 0)
		return BS_OK;
	if (strcmp(servers, "system") == 0)
		return ub_ctx_resolvconf(ctx, NULL) == 0 ? BS_OK : BS_ERR_IO;
	return set_forwarders(ctx, servers);
}

static enum bs_err
configure(struct ub_ctx *ctx, const char *servers)
{
	enum bs_err err;

	(void)ub_ctx_debugout(ctx, NULL);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (ub_ctx_set_option(ctx, options[i].name, options[i].value) != 0)
			return BS_ERR_INTERNAL;
	if (ub_ctx_async(ctx, 1) != 0)
		return BS_ERR_INTERNAL;
	err = set_servers(ctx, servers);
	if (err != BS_OK)
		return err;
	/* Whoever names servers means what they say of test. too. After this no option can be set. */
	if (strcmp(servers, "root") != 0 && ub_ctx_zone_remove(ctx, "test.") != 0)
		return BS_ERR_INTERNAL;
	return BS_OK;
}

static enum bs_err
make_parts(struct dns_unbound *resolver, const struct dns_unbound_settings *settings)
{
	resolver->cache = cache_new(settings->cache_entries, ref_answer, unref_answer);
	resolver->no_name = dns_answer_new(0, 0);
	resolver->no_data = dns_answer_new(0, 0);
	resolver->ctx = ub_ctx_create();
	if (resolver->cache == NULL || resolver->no_name == NULL || resolver->no_data == NULL || resolver->ctx == NULL)
		return BS_ERR_NOMEM;
	resolver->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (resolver->stop_fd < 0)
		return BS_ERR_IO;
	return configure(resolver->ctx, settings->servers);
}

enum bs_err
dns_unbound_new(const struct dns_unbound_settings *settings, struct dns_unbound **out)
{
	struct dns_unbound *resolver = calloc(1, sizeof(*resolver));
	enum bs_err err;

	if (resolver == NULL)
		return BS_ERR_NOMEM;
	resolver->dns = (struct dns){ begin, finish, drop };
	resolver->pending_max = settings->pending_max;
	resolver->stop_fd = -1;
	LIST_INIT(&resolver->pending);
	pthread_mutex_init(&resolver->lock, NULL);
	err = make_parts(resolver, settings);
	if (err == BS_OK) {
		resolver->running = pthread_create(&resolver->thread, NULL, thread_main, resolver) == 0;
		err = resolver->running ? BS_OK : BS_ERR_NOMEM;
	}
	if (err != BS_OK) {
		dns_unbound_free(resolver);
		return err;
	}
	*out = resolver;
	return BS_OK;
}

void
dns_unbound_free(struct dns_unbound *resolver)
{
	struct dns_query *query;

	if (resolver == NULL)
		return;
	if (resolver->running) {
		(void)eventfd_write(resolver->stop_fd, 1);
		pthread_join(resolver->thread, NULL);
	}
	if (resolver->ctx != NULL)
		ub_ctx_delete(resolver->ctx); /* forgets what it has under way */
	while ((query = LIST_FIRST(&resolver->pending)) != NULL) {
		LIST_REMOVE(query, link);
		query_free(query);
	}
	cache_free(resolver->cache);
	dns_answer_unref(resolver->no_name);
	dns_answer_unref(resolver->no_data);
	if (resolver->stop_fd >= 0)
		close(resolver->stop_fd);
	pthread_mutex_destroy(&resolver->lock);
	free(resolver);
}

struct dns *
dns_unbound(struct dns_unbound *resolver)
{
	return &resolver->dns;
}

void
dns_unbound_stats(struct dns_unbound *resolver, struct dns_unbound_stats *out)
{
	struct cache_stats cached;

	cache_stats(resolver->cache, &cached);
	pthread_mutex_lock(&resolver->lock);
	*out = resolver->stats;
	pthread_mutex_unlock(&resolver->lock);
	out->cache_hits = cached.hits;
	out->cached = cached.entries;
}
