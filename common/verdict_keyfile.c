#include "verdict_keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "hex.h"

#define LINE_MAX_LEN 128
#define FILE_MAX 16384
#define ID_DIGITS (2 * BS_VERDICT_KEY_ID_LEN)
#define KEY_DIGITS (2 * BS_KEY_LEN)
#define CREATED_MAX 253402300799 /* the end of the year 9999 */

static bool
parse_seconds(const char *text, size_t len, int64_t *out)
{
	int64_t value = 0;

	if (len == 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9' || value > CREATED_MAX)
			return false;
		value = value * 10 + (text[i] - '0');
	}
	*out = value;
	return value <= CREATED_MAX;
}

/* One line with a key on it. */
static bool
parse_key(const char *line, size_t len, struct bs_verdict_key *out)
{
	const size_t created_at = ID_DIGITS + 1 + KEY_DIGITS + 1;

	return len > created_at && line[ID_DIGITS] == ' ' && line[created_at - 1] == ' '
	    && bs_hex_decode(line, out->id, sizeof(out->id)) && bs_hex_decode(line + ID_DIGITS + 1, out->key, sizeof(out->key))
	    && parse_seconds(line + created_at, len - created_at, &out->created_s);
}

/* Into its place by time. False: no room, or its id is there already. */
static bool
insert(struct bs_verdict_keyfile *file, const struct bs_verdict_key *key)
{
	size_t at = file->n;

	if (file->n == BS_VERDICT_KEYS_MAX)
		return false;
	for (size_t i = 0; i < file->n; i++)
		if (memcmp(file->keys[i].id, key->id, sizeof(key->id)) == 0)
			return false;
	for (; at > 0 && file->keys[at - 1].created_s > key->created_s; at--)
		file->keys[at] = file->keys[at - 1];
	file->keys[at] = *key;
	file->n++;
	return true;
}

enum bs_err
bs_verdict_keyfile_parse(const char *text, size_t len, struct bs_verdict_keyfile *out, unsigned *bad_line)
{
	struct bs_verdict_key key;
	enum bs_err err = BS_OK;
	unsigned number = 0;

	out->n = 0;
	while (len > 0 && err == BS_OK) {
		const char *end = memchr(text, '\n', len);
		size_t used = end == NULL ? len : (size_t)(end - text) + 1, line_len = end == NULL ? len : used - 1;

		number++;
		if (line_len > 0 && text[0] != '#' && (!parse_key(text, line_len, &key) || !insert(out, &key)))
			err = BS_ERR_FORMAT;
		text += used;
		len -= used;
	}
	bs_wipe(&key, sizeof(key));
	if (err == BS_OK && out->n > 0)
		return BS_OK;
	*bad_line = number;
	return BS_ERR_FORMAT;
}

static enum bs_err
check_mode(int fd, const char *path, struct stat *st, char *errbuf, size_t size)
{
	if (fstat(fd, st) != 0 || !S_ISREG(st->st_mode))
		(void)snprintf(errbuf, size, "%s: not a regular file", path);
	else if ((st->st_mode & 027) != 0)
		(void)snprintf(errbuf, size, "%s: too open: run \"chmod 640 %s\"", path, path);
	else if (st->st_uid != 0 && st->st_uid != geteuid())
		(void)snprintf(errbuf, size, "%s: belongs to user %u: run \"chown root %s\"", path, (unsigned)st->st_uid, path);
	else
		return BS_OK;
	return BS_ERR_CONF;
}

enum bs_err
bs_verdict_keyfile_read(const char *path, struct bs_verdict_keyfile *out, char *errbuf, size_t errbuf_size)
{
	char *text = bs_secret_new(FILE_MAX);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
	unsigned line = 0;
	ssize_t n;
	enum bs_err err = BS_ERR_CONF;

	if (text == NULL) {
		(void)snprintf(errbuf, errbuf_size, "%s: no locked memory", path);
		err = BS_ERR_NOMEM;
	} else if (fd < 0) {
		(void)snprintf(errbuf, errbuf_size, "%s: %s", path, strerror(errno));
	} else if (check_mode(fd, path, &out->st, errbuf, errbuf_size) == BS_OK) {
		n = read(fd, text, FILE_MAX);
		if (n < 0 || n == FILE_MAX)
			(void)snprintf(errbuf, errbuf_size, "%s: not a file of verdict keys", path);
		else if ((err = bs_verdict_keyfile_parse(text, (size_t)n, out, &line)) != BS_OK)
			(void)snprintf(errbuf, errbuf_size, "%s:%u: ID HEX32 CREATED is expected, each ID once, at most %d keys", path,
			    line, BS_VERDICT_KEYS_MAX);
	}
	if (fd >= 0)
		(void)close(fd);
	bs_secret_free(text);
	return err == BS_ERR_FORMAT ? BS_ERR_CONF : err;
}

enum bs_verdict_key_state
bs_verdict_keyfile_state(const struct bs_verdict_keyfile *file, size_t i, int64_t now_s, int64_t lifetime_s)
{
	if (file->keys[i].created_s > now_s)
		return BS_VERDICT_KEY_NEXT;
	if (i + 1 == file->n || file->keys[i + 1].created_s > now_s)
		return BS_VERDICT_KEY_WRITES;
	return file->keys[i + 1].created_s + lifetime_s > now_s ? BS_VERDICT_KEY_READS : BS_VERDICT_KEY_RETIRED;
}

size_t
bs_verdict_keyfile_prune(struct bs_verdict_keyfile *file, int64_t now_s, int64_t lifetime_s)
{
	size_t gone = 0;

	while (gone < file->n && bs_verdict_keyfile_state(file, gone, now_s, lifetime_s) == BS_VERDICT_KEY_RETIRED)
		gone++;
	memmove(file->keys, file->keys + gone, (file->n - gone) * sizeof(file->keys[0]));
	file->n -= gone;
	bs_wipe(file->keys + file->n, gone * sizeof(file->keys[0]));
	return gone;
}

enum bs_err
bs_verdict_keyfile_add(struct bs_verdict_keyfile *file, int64_t start_s)
{
	struct bs_verdict_key key = { .created_s = start_s };
	bool ok;

	bs_random(key.id, sizeof(key.id));
	bs_random(key.key, sizeof(key.key));
	ok = insert(file, &key);
	bs_wipe(&key, sizeof(key));
	return ok ? BS_OK : BS_ERR_LIMIT;
}

static bool
write_lines(int fd, const struct bs_verdict_keyfile *file)
{
	char line[LINE_MAX_LEN];
	bool ok = true;

	for (size_t i = 0; ok && i < file->n; i++) {
		int n;

		bs_hex_encode(file->keys[i].id, BS_VERDICT_KEY_ID_LEN, line);
		line[ID_DIGITS] = ' ';
		bs_hex_encode(file->keys[i].key, BS_KEY_LEN, line + ID_DIGITS + 1);
		n = snprintf(line + ID_DIGITS + 1 + KEY_DIGITS, sizeof(line) - ID_DIGITS - 1 - KEY_DIGITS, " %lld\n",
		    (long long)file->keys[i].created_s);
		n += ID_DIGITS + 1 + KEY_DIGITS;
		ok = write(fd, line, (size_t)n) == n;
	}
	bs_wipe(line, sizeof(line));
	return ok;
}

/* PATH.new, whole and on disk. */
static bool
write_new(const char *path, const struct bs_verdict_keyfile *file, uid_t owner, gid_t group, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool ok;

	if (fd < 0)
		return false;
	ok = fchown(fd, owner, group) == 0 && fchmod(fd, mode) == 0 && write_lines(fd, file) && fsync(fd) == 0;
	return close(fd) == 0 && ok;
}

/* The folder of path, locked against others that write there. */
static int
lock_folder(const char *path)
{
	char folder[4096];
	const char *slash = strrchr(path, '/');
	int len = slash == NULL ? 1 : slash == path ? 1 : (int)(slash - path);
	int fd;

	(void)snprintf(folder, sizeof(folder), "%.*s", len, slash == NULL ? "." : path);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
		(void)close(fd);
		fd = -1;
	}
	return fd;
}

static enum bs_err
replace(const char *path, const struct bs_verdict_keyfile *file, bool fresh, gid_t group)
{
	char temp[4096];
	struct stat st;
	bool ok;

	if (snprintf(temp, sizeof(temp), "%s.new", path) >= (int)sizeof(temp))
		return BS_ERR_ARG;
	if (fresh && (lstat(path, &st) == 0 || errno != ENOENT))
		return BS_ERR_EXISTS;
	(void)unlink(temp); /* what a crash left: the folder is locked */
	if (fresh)
		ok = write_new(temp, file, (uid_t)-1, group, group == (gid_t)-1 ? 0600 : 0640);
	else
		ok = write_new(temp, file, file->st.st_uid, file->st.st_gid, file->st.st_mode & 0777);
	if (ok && rename(temp, path) == 0)
		return BS_OK;
	(void)unlink(temp);
	return BS_ERR_IO;
}

enum bs_err
bs_verdict_keyfile_write(const char *path, const struct bs_verdict_keyfile *file, bool fresh, gid_t group, char *errbuf,
    size_t errbuf_size)
{
	int folder = lock_folder(path);
	enum bs_err err;

	if (folder < 0) {
		(void)snprintf(errbuf, errbuf_size, "%s: its folder: %s", path, strerror(errno));
		return errno == EWOULDBLOCK ? BS_ERR_BUSY : BS_ERR_IO;
	}
	err = replace(path, file, fresh, group);
	if (err == BS_OK && fsync(folder) != 0)
		err = BS_ERR_IO;
	if (err != BS_OK)
		(void)snprintf(errbuf, errbuf_size, "%s: %s", path, err == BS_ERR_IO ? strerror(errno) : bs_err_text(err));
	(void)close(folder);
	return err;
}
