/* basalt-keyd: options, configuration, and then the supervisor. */
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "conf.h"
#include "escrow.h"
#include "keydconf.h"
#include "selftest.h"
#include "sitekey.h"
#include "supervisor.h"
#include "version.h"

#define EXIT_USAGE 2
#define EXIT_CONF 78

static const char usage[] =
    "usage: basalt-keyd [-c FILE] [--check-config]\n"
    "       basalt-keyd --make-site-key FILE\n"
    "       basalt-keyd --defaults | --help | --version\n"
    "\n"
    "Runs Basalt's key daemon in the foreground until SIGTERM; SIGHUP reloads, and ends no session.\n"
    "  -c FILE               the configuration, " KEYDCONF_PATH " if not given\n"
    "  --check-config        says whether the configuration and the site key are good, and ends\n"
    "  --make-site-key FILE  makes the pair that signs public records: FILE (mode 0600) and FILE.pub\n"
    "  --defaults            prints a commented configuration with all defaults\n"
    "basalt-keyd(8) has the rest.\n";

static int
make_site_key(const char *path)
{
	char errbuf[512] = "";
	enum bs_err err = bs_crypto_init();

	if (err == BS_OK)
		err = sitekey_make(path, errbuf, sizeof(errbuf));
	if (err != BS_OK) {
		(void)fprintf(stderr, "basalt-keyd: %s\n", errbuf[0] == '\0' ? bs_err_text(err) : errbuf);
		return 1;
	}
	(void)printf("%s: keep it secret, with a copy offline, apart from the backups; %s.pub: for Dovecot's basalt_site_key\n", path, path);
	return 0;
}

/* What --check-config finds beyond the file itself. */
static int
check(const struct keydconf *conf, int heir_fd)
{
	uint8_t sec[BS_SIGN_SEC_LEN];
	struct escrow *escrow = NULL;
	char errbuf[512] = "";
	enum bs_err err = selftest_run(errbuf, sizeof(errbuf));

	if (err == BS_OK)
		err = keydconf_check_run_dir(conf, errbuf, sizeof(errbuf));
	if (err == BS_OK)
		err = sitekey_load(conf->site_key, sec, errbuf, sizeof(errbuf));
	bs_wipe(sec, sizeof(sec));
	if (err == BS_OK)
		err = escrow_load(conf->escrow, &escrow, errbuf, sizeof(errbuf));
	if (err == BS_OK && heir_fd >= 0)
		err = succession_check(heir_fd, conf, errbuf, sizeof(errbuf));
	if (err != BS_OK) {
		(void)fprintf(stderr, "basalt-keyd: %s\n", errbuf);
		return EXIT_CONF;
	}
	escrow_free(escrow);
	(void)printf("configuration and site key are good\n");
	return 0;
}

/* Nothing that we inherit is for the roles: only standard error stays, in case it is the log. An image before us left open what it
 * names in heir_fd, and nothing else. */
static void
close_inherited(int heir_fd)
{
	int null;

	if (heir_fd < 0)
		(void)close_range(3, ~0U, 0);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return;
	(void)dup2(null, STDIN_FILENO);
	(void)dup2(null, STDOUT_FILENO);
	if (null > STDERR_FILENO)
		(void)close(null);
}

static int
serve(const struct keydconf *conf, const struct program *program)
{
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || bs_log_open("keyd", conf->log) != BS_OK) {
		(void)fprintf(stderr, "basalt-keyd: keyd.log: cannot open \"%s\"\n", conf->log);
		return EXIT_CONF;
	}
	bs_log_level(conf->level);
	tzset(); /* gmtime_r() would read /etc/localtime at a role's first line, and die of it in its jail */
	(void)umask(027);
	if (geteuid() != 0)
		bs_log(BS_LOG_WARNING, "not started as root: all roles run as one user and are not kept apart");
	return supervisor_run(conf, program);
}

static int
with_config(const struct program *program, bool check_only)
{
	struct keydconf conf;
	char errbuf[BS_CONF_ERRBUF] = "";
	int status;

	if (!check_only)
		close_inherited(program->heir_fd);
	if (keydconf_load(program->conf_path, &conf, errbuf, sizeof(errbuf)) != BS_OK) {
		(void)fprintf(stderr, "basalt-keyd: %s\n", errbuf);
		return program->heir_fd < 0 ? EXIT_CONF : 1; /* it was good a moment ago, and may soon be again */
	}
	status = check_only ? check(&conf, program->heir_fd) : serve(&conf, program);
	keydconf_clear(&conf);
	return status;
}

/* The number of a descriptor. */
static bool
read_fd(const char *text, int *fd)
{
	char *end;
	long n = strtol(text, &end, 10);

	*fd = (int)n;
	return *text != '\0' && *end == '\0' && n > STDERR_FILENO && n <= 65535;
}

/* Where to find the program of today at a reload: as we were called, so that another one may have come in its place. */
static const char *
own_path(const char *argv0, char path[PATH_MAX])
{
	if (argv0[0] == '/')
		return argv0;
	if (strchr(argv0, '/') != NULL && realpath(argv0, path) != NULL)
		return path;
	return realpath("/proc/self/exe", path) != NULL ? path : argv0;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check-config", no_argument, NULL, 'k' },
		{ "make-site-key", required_argument, NULL, 'm' },
		{ "defaults", no_argument, NULL, 'd' },
		{ "heir", required_argument, NULL, 'H' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	struct program program = { .conf_path = KEYDCONF_PATH, .heir_fd = -1 };
	char path[PATH_MAX];
	bool check_only = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			program.conf_path = optarg;
			break;
		case 'k':
			check_only = true;
			break;
		case 'm':
			return make_site_key(optarg);
		case 'd':
			keydconf_print_defaults(stdout);
			return 0;
		case 'H':
			if (!read_fd(optarg, &program.heir_fd))
				return EXIT_USAGE;
			break;
		case 'h':
			(void)fputs(usage, stdout);
			return 0;
		case 'V':
			(void)printf("basalt-keyd %s\n", KEYD_VERSION);
			return 0;
		default:
			(void)fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		(void)fputs(usage, stderr);
		return EXIT_USAGE;
	}
	program.path = own_path(argv[0], path);
	return with_config(&program, check_only);
}
