#include "worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "dialogue.h"
#include "dkim.h"
#include "dmarc_stats.h"
#include "dns_unbound.h"
#include "dnsbl.h"
#include "explain.h"
#include "guard.h"
#include "history.h"
#include "ledger.h"
#include "log.h"
#include "milter_jail.h"
#include "pool.h"
#include "quota.h"
#include "resolve.h"
#include "sock.h"
#include "socketmap.h"
#include "suffix.h"
#include "verdict_keys.h"

enum { EXIT_FAILED = 1, EXIT_TEMPORARY = 75, EXIT_CONFIG = 78 };

#define CACHE_ENTRIES 20000
#define QUEUE_MAX 500
#define QUOTA_CACHE_MS 5000
#define BEAT_MS 500
#define DAY_S 86400

/* Everything that lives as long as the process. */
struct serving {
	const struct settings *settings;
	const struct worker *worker;
	struct pool *pool;
	struct resolver *resolver;
	struct quota *quota;                  /* NULL: nobody is asked */
	struct dns_unbound *dns;              /* NULL: dns_servers = none */
	struct dnsbl *dnsbl;                  /* NULL: no lists */
	struct history *history;              /* NULL: no trace key, or history_days = 0 */
	struct ledger *ledger;                /* NULL: no trace key */
	struct dkim_engine *dkim;
	struct suffix_list *suffixes;
	struct dmarc_stats *stats;            /* NULL: dmarc_report_days = 0 */
	struct bs_verdict_keys *verdict_keys; /* NULL: no basalt-lmtp */
	struct dialogue dialogue;
	struct explain explain;
	struct guard guard;
	struct socketmap map;
	struct control control;
	struct transport_events events;
	struct server *map_server, *control_server;
	enum bs_err transport_err;
	atomic_bool transport_ended;
};

static enum bs_err
start_look_ups(struct serving *s)
{
	const struct settings *set = s->settings;
	struct pool_settings pool = {
		.database = set->database,
		.password_file = set->database_password_file,
		.timeout_ms = (int)set->database_timeout_ms,
		.threads = (unsigned)set->database_threads,
		.queue_max = QUEUE_MAX,
	};
	struct resolver_settings resolver = {
		.known_ms = set->cache_s * 1000,
		.unknown_ms = set->cache_unknown_s * 1000,
		.entries_max = CACHE_ENTRIES,
	};
	enum bs_err err = pool_new(&pool, &s->pool);

	if (err != BS_OK)
		return err;
	s->resolver = resolver_new(s->pool, &resolver);
	if (set->quota_status[0] != '\0')
		s->quota = quota_new(&(struct quota_settings){ .address = set->quota_status, .cache_ms = QUOTA_CACHE_MS });
	return s->resolver != NULL && (s->quota != NULL || set->quota_status[0] == '\0') ? BS_OK : BS_ERR_NOMEM;
}

static void
tell(void *ctx, const struct session *session, enum report_outcome outcome, const struct verdict *verdict)
{
	const struct serving *s = ctx;

	report_message(session, outcome, verdict);
	history_note(s->history, session, outcome);
}

static void
complain(void *ctx, const char *text)
{
	(void)ctx;
	bs_log(BS_LOG_ERROR, "%s", text);
}

static enum bs_err
open_verdict_keys(struct serving *s)
{
	const struct settings *set = s->settings;
	char why[512] = "";
	enum bs_err err;

	if (set->verdict_keys[0] == '\0')
		return BS_OK;
	err = bs_verdict_keys_open(set->verdict_keys, set->verdict_lifetime_s, complain, NULL, &s->verdict_keys, why, sizeof(why));
	if (err != BS_OK)
		bs_log(BS_LOG_FATAL, "milter.verdict_keys: %s", why[0] != '\0' ? why : bs_err_text(err));
	return err;
}

static const char *
dns_trouble(enum bs_err err)
{
	switch (err) {
	case BS_ERR_ARG:
		return "must be system, root, none, or addresses ADDR[@PORT]";
	case BS_ERR_IO:
		return "cannot read /etc/resolv.conf";
	default:
		return bs_err_text(err);
	}
}

static enum bs_err
start_dns(struct serving *s)
{
	const struct settings *set = s->settings;
	struct dns_unbound_settings dns = {
		.servers = set->dns_servers,
		.cache_entries = (size_t)set->dns_cache,
		.pending_max = (unsigned)set->dns_pending,
	};
	enum bs_err err;

	if (strcmp(set->dns_servers, "none") == 0)
		return BS_OK;
	err = dns_unbound_new(&dns, &s->dns);
	if (err != BS_OK)
		bs_log(BS_LOG_FATAL, "milter.dns_servers = \"%s\": %s", set->dns_servers, dns_trouble(err));
	return err == BS_ERR_ARG ? BS_ERR_CONF : err;
}

/* What is remembered under the trace key. Locked memory is not locked in a child: the key is copied into its own. */
static enum bs_err
start_traces(struct serving *s)
{
	uint8_t *key;

	if (s->worker->trace_key == NULL)
		return BS_OK;
	key = bs_secret_new(BS_KEY_LEN);
	if (key == NULL)
		return BS_ERR_NOMEM;
	memcpy(key, s->worker->trace_key, BS_KEY_LEN);
	s->ledger = ledger_new(s->pool, key);
	if (s->ledger == NULL)
		return BS_ERR_NOMEM;
	if (s->settings->history_days == 0)
		return BS_OK;
	return history_new(s->pool, key, s->settings->history_days * DAY_S, &s->history);
}

static enum bs_err
start_lists(struct serving *s)
{
	const struct settings *set = s->settings;
	char why[160];

	/* The settings were checked: what can fail is memory. */
	return set->dnsbl_lists[0] == '\0' ? BS_OK
	                                 : dnsbl_new(set->dnsbl_lists, (int)set->dnsbl_timeout_ms, &s->dnsbl, why, sizeof(why));
}

static enum bs_err
start_libraries(struct serving *s)
{
	enum bs_err err = dkim_engine_new(&s->dkim);

	if (err == BS_OK)
		err = suffix_list_new(&s->suffixes);
	if (err == BS_ERR_UNAVAIL)
		bs_log(BS_LOG_FATAL, "there is no public suffix list: install the package publicsuffix");
	if (err == BS_OK && s->settings->dmarc_report_days > 0)
		err = dmarc_stats_new(s->pool, s->settings->dmarc_report_days, s->settings->dmarc_report_rows, &s->stats);
	return err;
}

static enum bs_err
start_servers(struct serving *s)
{
	struct counters *counters = s->worker->counters;
	enum bs_err err;

	s->dialogue = (struct dialogue){ .services = { .settings = s->settings, .resolver = s->resolver, .pool = s->pool,
		    .dns = s->dns != NULL ? dns_unbound(s->dns) : dns_none(), .quota = s->quota,
		    .dnsbl = s->dnsbl, .ledger = s->ledger, .dkim = s->dkim, .suffixes = s->suffixes,
		    .stats = s->stats },
		.carry = { .authserv_id = s->settings->authserv_id, .keys = s->verdict_keys }, .counters = counters,
		.tell = tell, .tell_ctx = s };
	dialogue_events(&s->events);
	guard_init(&s->guard, &s->events, &s->dialogue, s->worker->flight, counters);
	s->explain.dialogue = &s->dialogue;
	s->explain.flight = s->worker->flight;
	s->map = (struct socketmap){ .resolver = s->resolver, .pool = s->pool, .counters = counters };
	s->control = (struct control){ .counters = counters, .resolver = s->resolver, .pool = s->pool, .dns = s->dns,
		.dnsbl = s->dnsbl, .ledger = s->ledger, .explain = &s->explain, .flight = s->worker->flight, .started_ms = bs_now_ms() };
	err = socketmap_start(s->worker->map_fd, &s->map, &s->map_server);
	if (err == BS_OK)
		err = control_start(s->worker->control_fd, &s->control, &s->control_server);
	return err;
}

static enum bs_err
start(struct serving *s)
{
	enum bs_err err = milter_jail_worker((unsigned)s->settings->sessions_max);

	if (err != BS_OK) {
		bs_log(BS_LOG_FATAL, "limits and system calls: %s", bs_err_text(err));
		return err;
	}
	flight_catch_crashes();
	err = open_verdict_keys(s);
	if (err == BS_OK)
		err = start_look_ups(s);
	if (err == BS_OK)
		err = start_traces(s);
	if (err == BS_OK)
		err = start_dns(s);
	if (err == BS_OK)
		err = start_lists(s);
	if (err == BS_OK)
		err = start_libraries(s);
	if (err == BS_OK)
		err = start_servers(s);
	if (err != BS_OK)
		bs_log(BS_LOG_FATAL, "starting threads: %s", bs_err_text(err));
	return err;
}

enum bs_err
worker_check(const struct settings *settings)
{
	struct serving s = { .settings = settings };
	enum bs_err err = open_verdict_keys(&s);

	if (err == BS_OK)
		err = start_dns(&s);
	if (s.dns != NULL)
		dns_unbound_free(s.dns);
	if (s.verdict_keys != NULL)
		bs_verdict_keys_free(s.verdict_keys);
	return err;
}

static void *
transport_thread(void *arg)
{
	struct serving *s = arg;

	s->transport_err = s->worker->transport->run(s->worker->engine, &s->guard.events, &s->guard);
	atomic_store(&s->transport_ended, true);
	(void)kill(getpid(), SIGTERM);
	return NULL;
}

/* Until a signal; BS_OK if it came from outside. The signals are blocked since before the fork: every thread inherits that. */
static enum bs_err
wait_for_end(struct serving *s, atomic_uint *beat)
{
	const struct timespec tick = { .tv_nsec = BEAT_MS * 1000000L };
	pthread_t thread;
	sigset_t set;

	if (pthread_create(&thread, NULL, transport_thread, s) != 0)
		return BS_ERR_NOMEM;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	while (sigtimedwait(&set, NULL, &tick) < 0)
		atomic_fetch_add(beat, 1);
	if (atomic_load(&s->transport_ended))
		return s->transport_err;
	s->worker->transport->stop(s->worker->engine);
	if (s->worker->transport->drains)
		(void)pthread_join(thread, NULL);
	return BS_OK;
}

/* Nothing is freed, and no handler of exit(3) runs: threads may still be in a session. */
int
worker_run(const struct worker *worker, int ready_fd, atomic_uint *beat)
{
	static struct serving s;
	enum bs_err err;

	s.settings = worker->settings;
	s.worker = worker;
	err = start(&s);
	if (err == BS_OK) {
		bs_log(BS_LOG_INFO, "basalt-milter " MILTER_VERSION " serves on %s", s.settings->socket);
		if (write(ready_fd, "", 1) != 1)
			err = BS_ERR_IO;
		else
			err = wait_for_end(&s, beat);
		server_stop(s.map_server);
		server_stop(s.control_server);
		dmarc_stats_stop(s.stats);
		history_stop(s.history);
		bs_log(err == BS_OK ? BS_LOG_INFO : BS_LOG_FATAL, "basalt-milter ends: %s",
		    err == BS_OK ? "it was told to" : bs_err_text(err));
	}
	if (err == BS_OK)
		return EXIT_SUCCESS;
	if (err == BS_ERR_CONF)
		return EXIT_CONFIG;
	return bs_err_is_transient(err) ? EXIT_TEMPORARY : EXIT_FAILED;
}
