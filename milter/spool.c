#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "buf.h"

struct spools {
	struct spools_settings settings;
	char *folder; /* NULL: none */
	_Atomic uint64_t used;
};

struct spool {
	struct spools *spools;
	struct bs_buf *memory; /* until it is too much; then NULL */
	int fd;                /* -1: all is in memory */
	uint64_t len;
	bool broken; /* an append failed: what is there is not the message */
};

/* A file without a name: it is gone when its descriptor is. */
static int
open_nameless(const char *folder)
{
	return open(folder, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
}

static enum bs_err
complain(char *why, size_t size, const char *folder, const char *what)
{
	(void)snprintf(why, size, "milter.temp_dir: %s: %s", folder, what);
	return BS_ERR_CONF;
}

static enum bs_err
check_folder(const char *folder, char *why, size_t why_size)
{
	struct statfs fs;
	int fd;

	if (statfs(folder, &fs) != 0)
		return complain(why, why_size, folder, strerror(errno));
	if (fs.f_type != TMPFS_MAGIC)
		return complain(why, why_size, folder, "is not on a tmpfs, and message text must not reach a disk: mount one there "
		    "(mount -t tmpfs -o size=512m,mode=0700,uid=basalt-milter tmpfs FOLDER)");
	fd = open_nameless(folder);
	if (fd < 0)
		return complain(why, why_size, folder, errno == EACCES ? "the milter's user may not write there" : strerror(errno));
	(void)close(fd);
	return BS_OK;
}

enum bs_err
spools_new(const struct spools_settings *settings, char *why, size_t why_size, struct spools **out)
{
	struct spools *spools;
	enum bs_err err = BS_OK;

	if (settings->folder[0] != '\0')
		err = check_folder(settings->folder, why, why_size);
	if (err != BS_OK)
		return err;
	spools = calloc(1, sizeof(*spools));
	if (spools == NULL)
		return BS_ERR_NOMEM;
	spools->settings = *settings;
	spools->folder = settings->folder[0] != '\0' ? strdup(settings->folder) : NULL;
	if (settings->folder[0] != '\0' && spools->folder == NULL) {
		free(spools);
		return BS_ERR_NOMEM;
	}
	*out = spools;
	return BS_OK;
}

void
spools_free(struct spools *spools)
{
	if (spools == NULL)
		return;
	free(spools->folder);
	free(spools);
}

uint64_t
spools_used(struct spools *spools)
{
	return atomic_load(&spools->used);
}

struct spool *
spool_new(struct spools *spools)
{
	struct spool *spool = calloc(1, sizeof(*spool));

	if (spool == NULL)
		return NULL;
	spool->spools = spools;
	spool->fd = -1;
	spool->memory = bs_buf_new((size_t)spools->settings.memory_max);
	if (spool->memory != NULL)
		return spool;
	free(spool);
	return NULL;
}

void
spool_free(struct spool *spool)
{
	if (spool == NULL)
		return;
	bs_buf_free(spool->memory);
	if (spool->fd >= 0)
		(void)close(spool->fd);
	atomic_fetch_sub(&spool->spools->used, spool->len);
	free(spool);
}

uint64_t
spool_len(const struct spool *spool)
{
	return spool->len;
}

static enum bs_err
write_error(void)
{
	return errno == ENOSPC || errno == EDQUOT || errno == ENOMEM ? BS_ERR_BUSY : BS_ERR_IO;
}

static enum bs_err
write_file(const struct spool *spool, const uint8_t *data, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t n = pwrite(spool->fd, data, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? write_error() : BS_ERR_IO;
		data += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return BS_OK;
}

/* What was in memory becomes the file's beginning. */
static enum bs_err
move_to_file(struct spool *spool)
{
	enum bs_err err;

	if (spool->spools->folder == NULL)
		return BS_ERR_LIMIT;
	spool->fd = open_nameless(spool->spools->folder);
	if (spool->fd < 0)
		return write_error();
	err = write_file(spool, bs_buf_data(spool->memory), bs_buf_len(spool->memory), 0);
	if (err != BS_OK)
		return err;
	bs_buf_free(spool->memory);
	spool->memory = NULL;
	return BS_OK;
}

static enum bs_err
keep(struct spool *spool, const void *data, size_t len)
{
	enum bs_err err = BS_OK;

	if (spool->memory != NULL && len <= bs_buf_room(spool->memory))
		return bs_buf_append(spool->memory, data, len);
	if (spool->memory != NULL)
		err = move_to_file(spool);
	return err == BS_OK ? write_file(spool, data, len, spool->len) : err;
}

/* Takes its share of what all may hold together. */
static bool
reserve(struct spools *spools, size_t len)
{
	if (atomic_fetch_add(&spools->used, len) + len <= spools->settings.total_max)
		return true;
	atomic_fetch_sub(&spools->used, len);
	return false;
}

enum bs_err
spool_append(struct spool *spool, const void *data, size_t len)
{
	enum bs_err err;

	if (spool->broken)
		return BS_ERR_IO;
	if (len > spool->spools->settings.message_max - spool->len)
		err = BS_ERR_LIMIT;
	else if (!reserve(spool->spools, len))
		err = BS_ERR_BUSY;
	else {
		err = keep(spool, data, len);
		if (err != BS_OK)
			atomic_fetch_sub(&spool->spools->used, len);
	}
	if (err == BS_OK)
		spool->len += len;
	spool->broken = err != BS_OK;
	return err;
}

enum bs_err
spool_read(const struct spool *spool, uint64_t offset, void *out, size_t len, size_t *n)
{
	uint64_t left = offset < spool->len ? spool->len - offset : 0;
	size_t want = left < len ? (size_t)left : len, got = 0;

	if (spool->memory != NULL) {
		if (want > 0)
			memcpy(out, bs_buf_data(spool->memory) + offset, want);
		*n = want;
		return BS_OK;
	}
	while (got < want) {
		ssize_t r = pread(spool->fd, (uint8_t *)out + got, want - got, (off_t)(offset + got));

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return BS_ERR_IO; /* shorter than what was written */
		got += (size_t)r;
	}
	*n = want;
	return BS_OK;
}
