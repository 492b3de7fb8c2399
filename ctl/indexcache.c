#include "indexcache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "mailfile.h"

#define THREAD_NAME "dovecot.index.thread" /* hashes of Message-IDs: a sealed account has none */
#define WINDOW 65536u
#define OVERLAP 32u

/* A cache names each field that it has (lib-index/mail-cache-fields.c); a sealed one's are basalt.account and basalt.message. */
static bool
names_a_field(const uint8_t *data, size_t len)
{
	static const char *const names[] = { "hdr.", "imap.body", "imap.envelope", "body.snippet", "mime.parts", "date.sent" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (memmem(data, len, names[i], strlen(names[i])) != NULL)
			return true;
	return false;
}

/* The list of fields may stand anywhere. That sealed bytes look like it costs a cache. */
static bool
may_hold_text(int fd, int *error)
{
	uint8_t window[WINDOW];
	size_t got = WINDOW;

	for (uint64_t off = 0; got == WINDOW; off += WINDOW - OVERLAP) {
		if (ctl_pread(fd, off, window, sizeof(window), &got) != BS_OK) {
			*error = errno;
			return false;
		}
		if (names_a_field(window, got))
			return true;
	}
	return false;
}

static bool
is_text(const char *path, int *error)
{
	const char *name = strrchr(path, '/');
	int fd;
	bool found;

	if (name != NULL && strcmp(name + 1, THREAD_NAME) == 0)
		return true;
	if (name == NULL || strcmp(name + 1, INDEXCACHE_NAME) != 0)
		return false;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		*error = errno == ENOENT ? *error : errno;
		return false;
	}
	found = may_hold_text(fd, error);
	(void)close(fd);
	return found;
}

bool
indexcache_purge(const char *path, int *error)
{
	return is_text(path, error) && indexcache_forget(path, error);
}

bool
indexcache_forget(const char *path, int *error)
{
	if (unlink(path) == 0)
		return true;
	if (errno != ENOENT)
		*error = errno;
	return false;
}
