/*
 * basalt-lmtp: runs in the foreground. Start: read the configuration, make the sockets as root, give up root, keep a worker
 * that serves. SIGTERM and SIGINT end it; messages under way end first. A new configuration is a restart.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "conf.h"
#include "crypto.h"
#include "jail.h"
#include "keeper.h"
#include "proxy.h"
#include "verdict_keys.h"

static const char usage_text[] =
    "usage: basalt-lmtp [-c FILE] [--check-config]\n"
    "  -c, --config FILE   configuration (default /etc/basalt/lmtp.conf)\n"
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
		if (c == 'c')
			out->config = optarg;
		else if (c == 'k')
			out->check = true;
		else if (c == 'd')
			proxyconf_print_defaults(stdout);
		else if (c == 'h')
			(void)fputs(usage_text, stdout);
		else if (c == 'v')
			(void)puts("basalt-lmtp " LMTP_VERSION);
		else
			(void)fputs(usage_text, stderr);
		if (c != 'c' && c != 'k')
			return c == '?' ? EXIT_USAGE : EXIT_SUCCESS;
	}
	if (optind == argc)
		return -1;
	(void)fputs(usage_text, stderr);
	return EXIT_USAGE;
}

static enum bs_err
complain(const char *what, enum bs_err err)
{
	if (err == BS_ERR_EXISTS)
		bs_log(BS_LOG_FATAL, "%s: something listens there already", what);
	else if (err != BS_OK)
		bs_log(BS_LOG_FATAL, "%s: cannot listen: %s; a socket's folder must exist", what, bs_err_text(err));
	return err;
}

/* As root, so that they may stand in a folder that is root's. The control socket comes first: it keeps a second one out. */
static enum bs_err
make_sockets(const struct proxyconf *conf, int *listen_fd, int *control_fd)
{
	gid_t group = conf->socket_gid != (gid_t)-1 ? conf->socket_gid : conf->gid;
	enum bs_err err = bs_sock_listen(conf->control, 0600, conf->uid, conf->gid, control_fd);

	if (complain(conf->control, err) != BS_OK)
		return err;
	return complain(conf->listen, bs_sock_addr_listen(&conf->listen_addr, 0660, conf->uid, group, listen_fd));
}

/* Its user for ever; the key file's group stays, so that a new file can be read. */
static enum bs_err
become(const struct proxyconf *conf)
{
	enum bs_err err = BS_OK;

	if (getuid() == 0 && conf->uid == (uid_t)-1)
		err = BS_ERR_PERM;
	else if (getuid() == 0)
		err = bs_jail_ids_and(conf->uid, conf->gid, bs_verdict_keys_group(conf->key_file));
	else if (conf->uid != (uid_t)-1 && conf->uid != getuid())
		err = BS_ERR_PERM;
	if (err != BS_OK)
		bs_log(BS_LOG_FATAL, "lmtp.user: root must not serve; name a user that can be become");
	return err == BS_OK ? bs_jail_privileges() : err;
}

static int
serve(const struct proxyconf *conf)
{
	int listen_fd = -1, control_fd = -1;
	enum bs_err err;

	(void)umask(0077);
	tzset(); /* reads /etc/localtime, which the worker will not */
	if (bs_jail_raise_limit(RLIMIT_NOFILE, 65536) < 1024)
		bs_log(BS_LOG_WARNING, "fewer than 1024 open files");
	err = make_sockets(conf, &listen_fd, &control_fd);
	if (err == BS_OK)
		err = become(conf);
	if (err != BS_OK)
		return bs_err_is_transient(err) ? EXIT_TEMPORARY : EXIT_FAILED;
	return keeper_run(conf, listen_fd, control_fd);
}

/* What --check-config finds beyond the file itself. */
static int
check(const struct proxyconf *conf, const char *path)
{
	struct bs_verdict_keys *keys = NULL;
	char why[512] = "";
	enum bs_err err = bs_crypto_init();

	if (err == BS_OK)
		err = bs_verdict_keys_open(conf->key_file, BS_VERDICT_LIFETIME_S, NULL, NULL, &keys, why, sizeof(why));
	if (err != BS_OK) {
		(void)fprintf(stderr, "basalt-lmtp: lmtp.key_file: %s\n", why[0] != '\0' ? why : bs_err_text(err));
		return EXIT_CONFIG;
	}
	bs_verdict_keys_free(keys);
	(void)printf("%s: no errors\n", path);
	return EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
	struct options options = { .config = "/etc/basalt/lmtp.conf" };
	struct proxyconf conf;
	char why[BS_CONF_ERRBUF];
	int status = read_options(argc, argv, &options);

	if (status >= 0)
		return status;
	if (proxyconf_load(options.config, &conf, why, sizeof(why)) != BS_OK) {
		(void)fprintf(stderr, "basalt-lmtp: %s\n", why);
		return EXIT_CONFIG;
	}
	if (options.check) {
		status = check(&conf, options.config);
	} else if (bs_log_open("basalt-lmtp", conf.log) != BS_OK) {
		(void)fprintf(stderr, "basalt-lmtp: %s: cannot be opened for the log\n", conf.log);
		status = EXIT_CONFIG;
	} else {
		bs_log_level(conf.level);
		status = serve(&conf);
	}
	proxyconf_clear(&conf);
	return status;
}
