#include "inuse.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "walk.h"

struct look {
	bool held;
	int error;
};

/* A file that is gone is nobody's. */
static void
try_lease(struct look *look, const char *path)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0) {
		look->error = errno == ENOENT ? 0 : errno;
		return;
	}
	if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0)
		(void)fcntl(fd, F_SETLEASE, F_UNLCK);
	else if (errno == EAGAIN || errno == EBUSY)
		look->held = true;
	else
		look->error = errno;
	(void)close(fd);
}

static bool
on_file(void *ctx, size_t root, const char *path, const char *name)
{
	struct look *look = ctx;

	(void)root;
	(void)name;
	try_lease(look, path);
	return !look->held && look->error == 0;
}

static void
on_failed(void *ctx, const char *path, int error)
{
	struct look *look = ctx;

	(void)path;
	look->error = error;
}

enum bs_err
inuse_look(char *folder, bool *held)
{
	struct look look = { 0 };
	struct ctl_walk_ops ops = { .ctx = &look, .file = on_file, .failed = on_failed };
	void (*before)(int) = signal(SIGIO, SIG_IGN); /* who opens one just now breaks the lease */
	enum bs_err err = ctl_walk(&folder, 1, 0, NULL, &ops);

	(void)signal(SIGIO, before);
	if (look.error != 0)
		errno = look.error;
	if (err == BS_ERR_BUSY || look.error != 0)
		err = look.error != 0 ? BS_ERR_IO : BS_OK;
	if (err == BS_OK)
		*held = look.held;
	return err;
}
