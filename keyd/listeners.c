#include "listeners.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sock.h"

static void
socket_path(const struct keydconf *conf, unsigned i, char *out, size_t size)
{
	(void)snprintf(out, size, "%s/%s", conf->run_dir, conf->sockets[i].name);
}

/* An exit status. */
static int
make_run_dir(const struct keydconf *conf)
{
	char text[1024] = "";

	/* Dovecot's users walk through it, whatever our umask is; a folder that was there keeps its mode. */
	if (mkdir(conf->run_dir, 0755) == 0 ? chmod(conf->run_dir, 0755) != 0 : errno != EEXIST) {
		bs_log(BS_LOG_FATAL, "keyd.run_dir: %s: %s", conf->run_dir, strerror(errno));
		return 1;
	}
	if (keydconf_check_run_dir(conf, text, sizeof(text)) == BS_OK)
		return 0;
	bs_log(BS_LOG_FATAL, "%s", text);
	return 78;
}

static bool
listen_all(const struct keydconf *conf, int listen[KEYD_SOCKETS])
{
	char path[4096];

	for (unsigned i = 0; i < KEYD_SOCKETS; i++) {
		enum bs_err err;

		socket_path(conf, i, path, sizeof(path));
		err = bs_sock_listen(path, 0660, (uid_t)-1, conf->sockets[i].group, &listen[i]);
		if (err != BS_OK) {
			bs_log(BS_LOG_FATAL, "%s: %s", path, err == BS_ERR_EXISTS ? "another basalt-keyd listens there" : bs_err_text(err));
			while (i-- > 0) {
				socket_path(conf, i, path, sizeof(path));
				(void)unlink(path);
			}
			return false;
		}
	}
	return true;
}

int
listeners_open(const struct keydconf *conf, int listen[KEYD_SOCKETS])
{
	int status = make_run_dir(conf);

	return status == 0 && !listen_all(conf, listen) ? 1 : status;
}

void
listeners_regroup(const struct keydconf *conf)
{
	char path[4096];

	for (unsigned i = 0; i < KEYD_SOCKETS; i++) {
		socket_path(conf, i, path, sizeof(path));
		if (conf->sockets[i].group != (gid_t)-1 && lchown(path, (uid_t)-1, conf->sockets[i].group) != 0)
			bs_log(BS_LOG_ERROR, "%s: cannot change its group: %s", path, strerror(errno));
	}
}

void
listeners_unlink(const struct keydconf *conf)
{
	char path[4096];

	for (unsigned i = 0; i < KEYD_SOCKETS; i++) {
		socket_path(conf, i, path, sizeof(path));
		(void)unlink(path);
	}
}
