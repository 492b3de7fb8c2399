#include "swap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "mailfile.h"

#define PREFIX_LEN (sizeof(SWAP_TEMP_NAME) - 1)
#define COPY_LEN (64u * 1024)
#define BACK_TRIES 16 /* to give a file back whose name others take and leave */

/* What a name says. */
struct told {
	int pid;
	bool exchange; /* the rest is there */
	unsigned long long old_ino, new_ino;
	long long sec;
	long nsec;
};

/* A number behind the character before, none if that is NUL. False: there is none, or it is too large. */
static bool
take_number(const char **at, char before, unsigned long long max, unsigned long long *out)
{
	char *end;

	if (before != '\0' && *(*at)++ != before)
		return false;
	if (**at < '0' || **at > '9')
		return false;
	errno = 0;
	*out = strtoull(*at, &end, 10);
	*at = end;
	return errno == 0 && *out <= max;
}

static bool
parse(const char *path, struct told *out)
{
	const char *slash = strrchr(path, '/'), *at = slash == NULL ? path : slash + 1;
	unsigned long long pid = 0, serial, sec = 0, nsec = 0;
	bool ok;

	*out = (struct told){ 0 };
	if (!swap_temp_is(at))
		return false;
	at += PREFIX_LEN;
	ok = take_number(&at, '\0', INT_MAX, &pid) && pid > 0 && take_number(&at, '.', UINT_MAX, &serial);
	out->pid = (int)pid;
	out->exchange = ok && *at != '\0';
	if (!out->exchange)
		return ok;
	ok = take_number(&at, '.', ULLONG_MAX, &out->old_ino) && take_number(&at, '-', ULLONG_MAX, &out->new_ino) &&
	    take_number(&at, '-', LLONG_MAX, &sec) && take_number(&at, '-', 999999999, &nsec);
	out->sec = (long long)sec;
	out->nsec = (long)nsec;
	return ok && *at == '\0';
}

static bool
is_one_of_both(const struct told *told, const struct stat *st)
{
	unsigned long long ino = st->st_ino;

	return told->exchange && (ino == told->old_ino || ino == told->new_ino) && st->st_mtim.tv_sec == told->sec &&
	    st->st_mtim.tv_nsec == told->nsec;
}

void
swap_temp_name(unsigned serial, char *out, size_t size)
{
	(void)snprintf(out, size, SWAP_TEMP_NAME "%d.%u", (int)getpid(), serial);
}

bool
swap_temp_is(const char *name)
{
	return strncmp(name, SWAP_TEMP_NAME, PREFIX_LEN) == 0;
}

enum swap_temp
swap_temp_remove(const char *path)
{
	struct told told;
	struct stat st;

	if (!parse(path, &told))
		return SWAP_TEMP_FOREIGN;
	/* Under our own number: from another process that had it before us, or done with. */
	if (told.pid != (int)getpid() && (kill(told.pid, 0) == 0 || errno != ESRCH))
		return SWAP_TEMP_IN_USE;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? SWAP_TEMP_GONE : SWAP_TEMP_FOREIGN;
	if (told.exchange && !is_one_of_both(&told, &st))
		return SWAP_TEMP_FOREIGN;
	return unlink(path) == 0 || errno == ENOENT ? SWAP_TEMP_GONE : SWAP_TEMP_FOREIGN;
}

/* --- the exchange --- */

static enum bs_err
sync_folder_of(const char *path)
{
	char folder[SWAP_PATH_MAX];
	const char *slash = strrchr(path, '/');
	int fd, rc;

	(void)snprintf(folder, sizeof(folder), "%.*s", slash == NULL ? 1 : (int)(slash - path), slash == NULL ? "." : path);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = fd < 0 ? -1 : fsync(fd);
	if (fd >= 0)
		(void)close(fd);
	return rc < 0 ? BS_ERR_IO : BS_OK;
}

static bool
is_unchanged(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	    a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* temp is what somebody else had put in the mail's place: it goes back, and what stands there by now is looked at in its turn. */
static void
put_back(const char *path, const char *temp, const struct stat *old, const struct stat *new)
{
	struct stat st;

	for (unsigned i = 0; i < BACK_TRIES; i++) {
		if (lstat(temp, &st) < 0 || is_unchanged(&st, new) || is_unchanged(&st, old))
			return;
		if (renameat2(AT_FDCWD, temp, AT_FDCWD, path, RENAME_EXCHANGE) == 0)
			continue;
		/* Ours was renamed or removed: the name is free. */
		if (errno != ENOENT || renameat2(AT_FDCWD, temp, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
			return;
	}
}

/* A rename that somebody else made first, a changed flag say, makes the exchange fail: a mail never gets two names. */
static enum bs_err
swap(const char *path, const char *temp, const struct stat *old, const struct stat *new)
{
	struct stat st;

	if (renameat2(AT_FDCWD, temp, AT_FDCWD, path, RENAME_EXCHANGE) < 0)
		return errno == ENOENT ? BS_ERR_CONFLICT : BS_ERR_IO;
	/* temp is the old file now; were it another one, or written to meanwhile, it goes back. */
	if (lstat(temp, &st) < 0 || !is_unchanged(&st, old)) {
		put_back(path, temp, old, new);
		return BS_ERR_CONFLICT;
	}
	return BS_OK;
}

static bool
name_for_exchange(const char *temp, const struct stat *old, const struct stat *new, char out[SWAP_PATH_MAX])
{
	int n = snprintf(out, SWAP_PATH_MAX, "%s.%llu-%llu-%lld-%ld", temp, (unsigned long long)old->st_ino,
	    (unsigned long long)new->st_ino, (long long)old->st_mtim.tv_sec, (long)old->st_mtim.tv_nsec);

	errno = ENAMETOOLONG;
	return n > 0 && n < SWAP_PATH_MAX;
}

static enum bs_err
exchange(int fd, struct swap_file *file, const struct stat *old)
{
	char named[SWAP_PATH_MAX];
	struct stat new;
	int saved;
	enum bs_err err;

	if (fstat(fd, &new) < 0 || !name_for_exchange(file->temp, old, &new, named) || rename(file->temp, named) < 0)
		return BS_ERR_IO;
	err = swap(file->path, named, old, &new);
	/* Where the disk does not take the exchange the old mail stays, until the next run. */
	if (err == BS_OK && sync_folder_of(file->path) != BS_OK)
		return BS_ERR_IO;
	saved = errno;
	if (swap_temp_remove(named) != SWAP_TEMP_GONE) {
		memcpy(file->stranded, named, sizeof(named));
		err = BS_ERR_CONFLICT;
	}
	errno = saved;
	return err;
}

/* --- the new file --- */

enum bs_err
swap_write(int fd, const void *data, size_t len)
{
	return ctl_write_all(fd, data, len) ? BS_OK : BS_ERR_IO;
}

enum bs_err
swap_copy(int from, int to, uint64_t off, uint64_t end)
{
	uint8_t block[COPY_LEN];
	enum bs_err err = BS_OK;

	while (err == BS_OK && off < end) {
		size_t n = end - off < sizeof(block) ? (size_t)(end - off) : sizeof(block), got;

		err = ctl_pread(from, off, block, n, &got);
		if (err == BS_OK)
			err = got < n ? BS_ERR_SHORT : swap_write(to, block, n);
		off += n;
	}
	return err;
}

static enum bs_err
write_file(int fd, const struct stat *old, const struct swap_ops *ops)
{
	struct timespec times[2] = { old->st_atim, old->st_mtim };
	enum bs_err err = ops->write(ops->ctx, fd);

	if (err != BS_OK)
		return err;
	if (fchown(fd, old->st_uid, old->st_gid) < 0 || fchmod(fd, old->st_mode & 07777) < 0 || futimens(fd, times) < 0 || fsync(fd) < 0)
		return BS_ERR_IO;
	return ops->check(ops->ctx, fd);
}

enum bs_err
swap_file(int old_fd, struct swap_file *file, const struct swap_ops *ops)
{
	struct stat old;
	int fd, saved;
	enum bs_err err;

	if (fstat(old_fd, &old) < 0)
		return BS_ERR_IO;
	fd = open(file->temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return BS_ERR_IO;
	err = write_file(fd, &old, ops);
	if (err == BS_OK)
		err = exchange(fd, file, &old);
	file->done = err == BS_OK;
	saved = errno;
	(void)unlink(file->temp); /* unless it has its second name by now */
	(void)close(fd);
	errno = saved;
	return err;
}
