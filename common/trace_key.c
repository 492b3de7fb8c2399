#include "trace_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hex.h"

#define TEXT_MAX 1024
#define LINE_LEN (2 * BS_KEY_LEN + 1) /* with its line break */

static bool
write_key(int fd)
{
	uint8_t key[BS_KEY_LEN];
	char line[LINE_LEN];
	bool ok;

	bs_random(key, sizeof(key));
	bs_hex_encode(key, sizeof(key), line);
	line[LINE_LEN - 1] = '\n';
	ok = write(fd, line, sizeof(line)) == (ssize_t)sizeof(line) && fsync(fd) == 0;
	bs_wipe(line, sizeof(line));
	bs_wipe(key, sizeof(key));
	return ok;
}

enum bs_err
bs_trace_key_new(const char *path, gid_t group, char *errbuf, size_t errbuf_size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	enum bs_err err = BS_OK;

	if (fd < 0) {
		err = errno == EEXIST ? BS_ERR_EXISTS : BS_ERR_IO;
		(void)snprintf(errbuf, errbuf_size, "%s: %s", path, strerror(errno));
		return err;
	}
	if ((group != (gid_t)-1 && (fchown(fd, (uid_t)-1, group) != 0 || fchmod(fd, 0640) != 0)) || !write_key(fd)) {
		(void)snprintf(errbuf, errbuf_size, "%s: %s", path, strerror(errno));
		(void)unlink(path);
		err = BS_ERR_IO;
	}
	(void)close(fd);
	return err;
}

static bool
is_private(int fd, const char *path, char *errbuf, size_t size)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		(void)snprintf(errbuf, size, "%s: not a regular file", path);
	else if ((st.st_mode & 027) != 0)
		(void)snprintf(errbuf, size, "%s: too open: run \"chmod 600 %s\"", path, path);
	else if (st.st_uid != 0 && st.st_uid != geteuid())
		(void)snprintf(errbuf, size, "%s: belongs to user %u: run \"chown root %s\"", path, (unsigned)st.st_uid, path);
	else
		return true;
	return false;
}

enum bs_err
bs_trace_key_read(const char *path, uint8_t key[BS_KEY_LEN], char *errbuf, size_t errbuf_size)
{
	char line[LINE_LEN + 1];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
	enum bs_err err = BS_ERR_CONF;

	if (fd < 0) {
		(void)snprintf(errbuf, errbuf_size, "%s: %s", path, strerror(errno));
		return err;
	}
	if (is_private(fd, path, errbuf, errbuf_size)) {
		if (read(fd, line, sizeof(line)) == LINE_LEN && line[LINE_LEN - 1] == '\n' && bs_hex_decode(line, key, BS_KEY_LEN))
			err = BS_OK;
		else
			(void)snprintf(errbuf, errbuf_size, "%s: one line of %d hex digits is expected; basaltctl trace-key new FILE makes it",
			    path, 2 * BS_KEY_LEN);
	}
	bs_wipe(line, sizeof(line));
	(void)close(fd);
	return err;
}

/* Texts are kept apart by their NULs. */
enum bs_err
bs_trace_hash(const uint8_t key[BS_KEY_LEN], const char *kind, const char *a, const char *b, const char *c,
    uint8_t out[BS_TRACE_HASH_LEN])
{
	const char *const parts[] = { kind, a, b, c };
	char text[TEXT_MAX];
	uint8_t hash[BS_HASH_LEN];
	size_t len = 0;
	enum bs_err err;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		size_t part_len = strlen(parts[i]) + 1;

		if (part_len > sizeof(text) - len)
			return BS_ERR_LIMIT;
		memcpy(text + len, parts[i], part_len);
		len += part_len;
	}
	err = bs_hmac(key, text, len, hash);
	if (err == BS_OK)
		memcpy(out, hash, BS_TRACE_HASH_LEN);
	return err;
}
