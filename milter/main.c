/*
 * basalt-milter: runs in the foreground. Start: read the configuration, make the sockets as root, give up root, start
 * the threads, serve. SIGTERM, SIGINT and SIGHUP end it; a new configuration is a restart, in which messages under way are
 * finished, and what can't be is deferred by Postfix (milter_default_action = tempfail): nothing is lost.
 *
 * The transport runs on a thread of its own and the first thread waits for the signals: libmilter waits for the same
 * ones, but takes up to ten seconds to end, and the kernel prefers the first thread.
 */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control.h"
#include "crypto.h"
#include "dialogue.h"
#include "dkim.h"
#include "dns_unbound.h"
#include "dnsbl.h"
#include "explain.h"
#include "jail.h"
#include "log.h"
#include "pool.h"
#include "quota.h"
#include "resolve.h"
#include "settings.h"
#include "sock.h"
#include "socketmap.h"
#include "suffix.h"
#include "transport.h"
#include "verdict_keys.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_TEMPORARY = 75, EXIT_CONFIG = 78 };

#define CACHE_ENTRIES 20000
#define QUOTA_CACHE_MS 5000
#define QUEUE_MAX 500

/* Everything that lives as long as the process. */
struct milter {
	struct settings settings;
	struct counters counters;
	struct pool *pool;
	struct resolver *resolver;
	struct quota *quota;
	struct dns_unbound *dns; /* NULL: dns_servers = none */
	struct dnsbl *dnsbl;     /* NULL: no lists */
	struct dkim_engine *dkim;
	struct suffix_list *suffixes;
	struct dialogue dialogue;
	struct socketmap map;
	struct control control;
	const struct transport *transport;
	struct transport_settings transport_settings;
	struct transport_engine *engine;
	struct explain explain;
	struct bs_verdict_keys *verdict_keys; /* NULL: no basalt-lmtp */
	struct transport_events events;
	struct server *map_server, *control_server;
	int map_fd, control_fd;
	enum bs_err transport_err;
	atomic_bool transport_ended;
};

static const char usage_text[] =
    "usage: basalt-milter -c FILE [--check-config]\n"
    "  -c, --config FILE   configuration (default /etc/basalt/milter.conf)\n"
    "  --check-config      read it, say what is wrong, and end\n"
    "  --defaults          print a configuration file with all defaults\n"
    "  --help, --version\n";

struct options {
	const char *config;
	bool check;
};

/* Returns an exit status, or -1 to go on. */
static int
read_options(int argc, char **argv, struct options *out)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' }, { "check-config", no_argument, NULL, 'k' },
		{ "defaults", no_argument, NULL, 'd' },     { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },      { NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:h", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			out->config = optarg;
			break;
		case 'k':
			out->check = true;
			break;
		case 'd':
			settings_print_defaults(stdout);
			return EXIT_SUCCESS;
		case 'h':
			(void)fputs(usage_text, stdout);
			return EXIT_SUCCESS;
		case 'v':
			(void)puts("basalt-milter " MILTER_VERSION);
			return EXIT_SUCCESS;
		default:
			(void)fputs(usage_text, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind == argc)
		return -1;
	(void)fputs(usage_text, stderr);
	return EXIT_USAGE;
}

static enum bs_err
listen_on(const char *path, mode_t mode, gid_t group, const struct settings *s, int *fd)
{
	enum bs_err err = bs_sock_listen(path, mode, s->uid, group, fd);

	if (err == BS_ERR_EXISTS)
		bs_log(BS_LOG_FATAL, "%s: another basalt-milter listens there", path);
	else if (err != BS_OK)
		bs_log(BS_LOG_FATAL, "%s: cannot listen: %s: its folder must exist, and root must start this", path,
		    bs_err_text(err));
	return err;
}

/* As root, so that they may stand in a folder that is root's. The control socket comes first: it keeps a second one out. */
static enum bs_err
make_sockets(struct milter *m)
{
	const struct settings *s = &m->settings;
	gid_t group = s->socket_gid != (gid_t)-1 ? s->socket_gid : s->gid;
	enum bs_err err;

	err = listen_on(s->control, 0600, s->gid, s, &m->control_fd);
	if (err != BS_OK)
		return err;
	err = listen_on(s->socketmap_path, 0660, group, s, &m->map_fd);
	if (err != BS_OK)
		return err;
	m->transport = s->libmilter ? &transport_libmilter : &transport_native;
	m->transport_settings = (struct transport_settings){ .address = s->socket, .owner = s->uid, .group = group,
		.sessions_max = (unsigned)s->sessions_max, .drain_ms = s->drain_s * 1000,
		.waited = &m->counters.sessions_waited };
	err = m->transport->listen(&m->transport_settings, &m->engine);
	if (err != BS_OK)
		bs_log(BS_LOG_FATAL, "%s: cannot listen: %s", s->socket, bs_err_text(err));
	return err;
}

static enum bs_err
start_look_ups(struct milter *m)
{
	const struct settings *s = &m->settings;
	struct pool_settings pool = {
		.database = s->database,
		.password_file = s->database_password_file,
		.timeout_ms = (int)s->database_timeout_ms,
		.threads = (unsigned)s->database_threads,
		.queue_max = QUEUE_MAX,
	};
	struct resolver_settings resolver = {
		.known_ms = s->cache_s * 1000,
		.unknown_ms = s->cache_unknown_s * 1000,
		.entries_max = CACHE_ENTRIES,
	};
	enum bs_err err = pool_new(&pool, &m->pool);

	if (err != BS_OK)
		return err;
	m->resolver = resolver_new(m->pool, &resolver);
	if (s->quota_status[0] != '\0')
		m->quota = quota_new(&(struct quota_settings){ .address = s->quota_status, .cache_ms = QUOTA_CACHE_MS });
	return m->resolver != NULL && (m->quota != NULL || s->quota_status[0] == '\0') ? BS_OK : BS_ERR_NOMEM;
}

static void
tell_log(void *ctx, const struct session *session, enum report_outcome outcome, const struct verdict *verdict)
{
	(void)ctx;
	report_message(session, outcome, verdict);
}

static void
complain(void *ctx, const char *text)
{
	(void)ctx;
	bs_log(BS_LOG_ERROR, "%s", text);
}

static enum bs_err
open_verdict_keys(struct milter *m)
{
	const struct settings *s = &m->settings;
	char why[512] = "";
	enum bs_err err;

	if (s->verdict_keys[0] == '\0')
		return BS_OK;
	err = bs_verdict_keys_open(s->verdict_keys, s->verdict_lifetime_s, complain, NULL, &m->verdict_keys, why, sizeof(why));
	if (err != BS_OK)
		bs_log(BS_LOG_FATAL, "milter.verdict_keys: %s", why[0] != '\0' ? why : bs_err_text(err));
	return err;
}

static enum bs_err
start_dns(struct milter *m)
{
	const struct settings *s = &m->settings;
	struct dns_unbound_settings dns = {
		.servers = s->dns_servers,
		.cache_entries = (size_t)s->dns_cache,
		.pending_max = (unsigned)s->dns_pending,
	};
	enum bs_err err;

	if (strcmp(s->dns_servers, "none") == 0)
		return BS_OK;
	err = dns_unbound_new(&dns, &m->dns);
	if (err != BS_OK)
		bs_log(BS_LOG_FATAL, "milter.dns_servers = \"%s\": %s", s->dns_servers,
		    err == BS_ERR_ARG ? "must be system, root, none, or addresses ADDR[@PORT]" : bs_err_text(err));
	return err;
}

static enum bs_err
start_lists(struct milter *m)
{
	const struct settings *s = &m->settings;
	char why[160];

	/* The settings were checked: what can fail is memory. */
	return s->dnsbl_lists[0] == '\0' ? BS_OK
	                                 : dnsbl_new(s->dnsbl_lists, (int)s->dnsbl_timeout_ms, &m->dnsbl, why, sizeof(why));
}

static enum bs_err
start_libraries(struct milter *m)
{
	enum bs_err err = dkim_engine_new(&m->dkim);

	if (err == BS_OK)
		err = suffix_list_new(&m->suffixes);
	if (err == BS_ERR_UNAVAIL)
		bs_log(BS_LOG_FATAL, "there is no public suffix list: install the package publicsuffix");
	return err;
}

static enum bs_err
start_servers(struct milter *m)
{
	enum bs_err err;

	m->dialogue = (struct dialogue){ .services = { .settings = &m->settings, .resolver = m->resolver,
		    .pool = m->pool, .dns = m->dns != NULL ? dns_unbound(m->dns) : dns_none(), .quota = m->quota,
		    .dnsbl = m->dnsbl, .dkim = m->dkim, .suffixes = m->suffixes },
		.carry = { .authserv_id = m->settings.authserv_id, .keys = m->verdict_keys }, .counters = &m->counters, .tell = tell_log };
	m->explain.dialogue = &m->dialogue;
	m->map = (struct socketmap){ .resolver = m->resolver, .pool = m->pool, .counters = &m->counters };
	m->control = (struct control){ .counters = &m->counters, .resolver = m->resolver, .pool = m->pool, .dns = m->dns,
		.dnsbl = m->dnsbl, .explain = &m->explain, .started_ms = bs_now_ms() };
	err = socketmap_start(m->map_fd, &m->map, &m->map_server);
	m->map_fd = -1;
	if (err == BS_OK) {
		err = control_start(m->control_fd, &m->control, &m->control_server);
		m->control_fd = -1;
	}
	return err;
}

static void
ending_signals(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGINT);
	(void)sigaddset(set, SIGHUP);
}

/* Every thread inherits this. */
static void
block_signals(void)
{
	sigset_t set;

	(void)signal(SIGPIPE, SIG_IGN);
	ending_signals(&set);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static enum bs_err
start(struct milter *m)
{
	enum bs_err err;

	err = bs_crypto_init();
	if (err != BS_OK) {
		bs_log(BS_LOG_FATAL, "the cryptographic libraries do not work here");
		return err;
	}
	block_signals();
	(void)umask(0077);
	jail_limits();
	err = make_sockets(m);
	if (err != BS_OK)
		return err;
	err = jail_become(m->settings.uid, m->settings.gid, bs_verdict_keys_group(m->settings.verdict_keys));
	if (err != BS_OK) {
		bs_log(BS_LOG_FATAL, "milter.user: root must not serve; name a user that can be become");
		return err;
	}
	err = open_verdict_keys(m);
	if (err == BS_OK)
		err = start_look_ups(m);
	if (err == BS_OK)
		err = start_dns(m);
	if (err == BS_OK)
		err = start_lists(m);
	if (err == BS_OK)
		err = start_libraries(m);
	if (err == BS_OK)
		err = start_servers(m);
	if (err != BS_OK)
		bs_log(BS_LOG_FATAL, "starting threads: %s", bs_err_text(err));
	return err;
}

static void *
transport_thread(void *arg)
{
	struct milter *m = arg;

	dialogue_events(&m->events);
	m->transport_err = m->transport->run(m->engine, &m->events, &m->dialogue);
	atomic_store(&m->transport_ended, true);
	(void)kill(getpid(), SIGTERM);
	return NULL;
}

/* Until a signal; BS_OK if it came from outside. */
static enum bs_err
wait_for_end(struct milter *m)
{
	pthread_t thread;
	sigset_t set;
	int sig = 0;

	if (pthread_create(&thread, NULL, transport_thread, m) != 0)
		return BS_ERR_NOMEM;
	ending_signals(&set);
	while (sigwait(&set, &sig) != 0)
		continue;
	if (atomic_load(&m->transport_ended))
		return m->transport_err;
	m->transport->stop(m->engine);
	if (m->transport->drains)
		(void)pthread_join(thread, NULL);
	return BS_OK;
}

static int
serve(struct milter *m)
{
	enum bs_err err = start(m);

	if (err == BS_OK) {
		bs_log(BS_LOG_INFO, "basalt-milter " MILTER_VERSION " serves on %s", m->settings.socket);
		err = wait_for_end(m);
		server_stop(m->map_server);
		server_stop(m->control_server);
		bs_log(err == BS_OK ? BS_LOG_INFO : BS_LOG_FATAL, "basalt-milter ends: %s",
		    err == BS_OK ? "it was told to" : bs_err_text(err));
	}
	if (err == BS_OK)
		return EXIT_SUCCESS;
	return bs_err_is_transient(err) ? EXIT_TEMPORARY : EXIT_FAILED;
}

int
main(int argc, char **argv)
{
	static struct milter m = { .map_fd = -1, .control_fd = -1 };
	struct options options = { .config = "/etc/basalt/milter.conf" };
	char why[512];
	int status = read_options(argc, argv, &options);

	if (status >= 0)
		return status;
	if (settings_load(options.config, &m.settings, why, sizeof(why)) != BS_OK) {
		(void)fprintf(stderr, "basalt-milter: %s\n", why);
		return EXIT_CONFIG;
	}
	if (options.check) {
		(void)printf("%s: no errors\n", options.config);
		settings_clear(&m.settings);
		return EXIT_SUCCESS;
	}
	if (bs_log_open("basalt-milter", m.settings.log) != BS_OK) {
		(void)fprintf(stderr, "basalt-milter: %s: cannot be opened for the log\n", m.settings.log);
		return EXIT_CONFIG;
	}
	bs_log_level(m.settings.level);
	status = serve(&m);
	/* Threads may still be in a session: nothing is freed under them, and no handler of exit(3) runs. */
	_exit(status);
}
