/*
 * basalt-milter: runs in the foreground. Start: read the configuration, make the sockets as root, give up root, and watch
 * (supervisor) over a process that does the work (worker). SIGTERM, SIGINT and SIGHUP end both; a new configuration is a
 * restart, in which messages under way are finished, and what can't be is deferred by Postfix
 * (milter_default_action = tempfail): nothing is lost.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "conf.h"
#include "crypto.h"
#include "flight.h"
#include "log.h"
#include "milter_jail.h"
#include "settings.h"
#include "sock.h"
#include "supervisor.h"
#include "trace_key.h"
#include "transport.h"
#include "verdict_keys.h"
#include "worker.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_CONFIG = 78 };

#define END_GRACE_S 10 /* for the worker, beyond the time that messages may take */

struct milter {
	struct settings settings;
	struct counters counters;
	struct transport_settings transport_settings;
	uint8_t *trace_key; /* locked; NULL: none is configured */
	struct worker worker;
};

static const char usage_text[] =
    "usage: basalt-milter [-c FILE] [--check-config]\n"
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

	err = listen_on(s->control, 0600, s->gid, s, &m->worker.control_fd);
	if (err != BS_OK)
		return err;
	err = listen_on(s->socketmap_path, 0660, group, s, &m->worker.map_fd);
	if (err != BS_OK)
		return err;
	m->worker.transport = s->libmilter ? &transport_libmilter : &transport_native;
	m->transport_settings = (struct transport_settings){ .address = s->socket, .owner = s->uid, .group = group,
		.sessions_max = (unsigned)s->sessions_max, .drain_ms = s->drain_s * 1000,
		.waited = &m->counters.sessions_waited };
	err = m->worker.transport->listen(&m->transport_settings, &m->worker.engine);
	if (err != BS_OK)
		bs_log(BS_LOG_FATAL, "%s: cannot listen: %s", s->socket, bs_err_text(err));
	return err;
}

/* As root: nobody else need be able to read it. */
static enum bs_err
read_trace_key(struct milter *m)
{
	const char *path = m->settings.trace_key_file;
	char why[512] = "no memory that can be locked (ulimit -l)";
	enum bs_err err = BS_ERR_NOMEM;

	if (path[0] == '\0') {
		bs_log(BS_LOG_INFO, "milter.trace_key_file is not set: limits and greylist can't be asked");
		return BS_OK;
	}
	m->trace_key = bs_secret_new(BS_KEY_LEN);
	if (m->trace_key != NULL)
		err = bs_trace_key_read(path, m->trace_key, why, sizeof(why));
	if (err != BS_OK)
		bs_log(BS_LOG_FATAL, "milter.trace_key_file: %s", why);
	return err;
}

/* All that needs root, and what outlives a worker. */
static enum bs_err
start(struct milter *m)
{
	const struct settings *s = &m->settings;
	enum bs_err err;

	err = bs_crypto_init();
	if (err != BS_OK) {
		bs_log(BS_LOG_FATAL, "the cryptographic libraries do not work here");
		return err;
	}
	(void)umask(0077);
	err = make_sockets(m);
	if (err != BS_OK)
		return err;
	err = read_trace_key(m);
	if (err != BS_OK)
		return err;
	err = milter_jail_start(s->uid, s->gid, bs_verdict_keys_group(s->verdict_keys), (unsigned)s->sessions_max);
	if (err != BS_OK) {
		bs_log(BS_LOG_FATAL, "milter.user: root must not serve; name a user that can be become");
		return err;
	}
	m->worker.settings = s;
	m->worker.counters = &m->counters;
	m->worker.trace_key = m->trace_key;
	return flight_new((unsigned)s->sessions_max, &m->worker.flight);
}

static int
work(void *arg, int ready_fd, atomic_uint *beat)
{
	const struct milter *m = arg;

	return worker_run(&m->worker, ready_fd, beat);
}

static void
blame(void *arg)
{
	struct milter *m = arg;
	unsigned held = flight_blame(m->worker.flight);

	if (held > 0)
		bs_log(BS_LOG_ERROR, "%u messages were in work when it died, for the second time: they will be held", held);
}

static int
serve(struct milter *m)
{
	const struct supervisor_job job = { .run = work, .crashed = blame, .arg = m,
		.end_ms = (int)(m->settings.drain_s + END_GRACE_S) * 1000 };
	enum bs_err err = start(m);

	if (err != BS_OK)
		return err == BS_ERR_CONF ? EXIT_CONFIG : EXIT_FAILED;
	return supervisor_run(&job);
}

/* What --check-config finds beyond the file itself; it is said on standard error. */
static int
check(struct milter *m, const char *path)
{
	enum bs_err err = bs_crypto_init();

	if (err == BS_OK)
		err = read_trace_key(m);
	bs_secret_free(m->trace_key);
	m->trace_key = NULL;
	if (err == BS_OK)
		err = worker_check(&m->settings);
	if (err != BS_OK)
		return EXIT_CONFIG;
	(void)printf("%s: no errors\n", path);
	return EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
	static struct milter m;
	struct options options = { .config = "/etc/basalt/milter.conf" };
	char why[BS_CONF_ERRBUF];
	int status = read_options(argc, argv, &options);

	if (status >= 0)
		return status;
	if (settings_load(options.config, &m.settings, why, sizeof(why)) != BS_OK) {
		(void)fprintf(stderr, "basalt-milter: %s\n", why);
		return EXIT_CONFIG;
	}
	if (options.check) {
		bs_log_name("basalt-milter");
		bs_log_level(BS_LOG_ERROR);
		status = check(&m, options.config);
		settings_clear(&m.settings);
		return status;
	}
	if (bs_log_open("basalt-milter", m.settings.log) != BS_OK) {
		(void)fprintf(stderr, "basalt-milter: %s: cannot be opened for the log\n", m.settings.log);
		return EXIT_CONFIG;
	}
	bs_log_level(m.settings.level);
	return serve(&m);
}
