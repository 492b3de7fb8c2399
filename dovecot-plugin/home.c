#include "compat.h"

#include <hex-binary.h>
#include <mkdir-parents.h>
#include <read-full.h>
#include <write-full.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "home_priv.h"
#include "session.h"

#define FOLDER "basalt"
#define DAMAGED_LINE (BS_ID_LEN * 2 + 1)
#define DAMAGED_MAX (4096 * DAMAGED_LINE)

const char *
basalt_home_path(struct basalt_user *bu, const char *name)
{
	const char *home;

	if (mail_user_get_home(bu->user, &home) <= 0)
		return NULL;
	return t_strconcat(home, "/" FOLDER "/", name, NULL);
}

static int
fsync_folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	int fd = open(t_strdup_until(path, slash), O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret;

	if (fd == -1)
		return -1;
	ret = fsync(fd);
	i_close_fd(&fd);
	return ret;
}

static int
make_folder_of(const char *path)
{
	const char *folder = t_strdup_until(path, strrchr(path, '/'));

	if (mkdir_parents(folder, 0700) < 0 && errno != EEXIST)
		return -1;
	return fsync_folder_of(folder);
}

static int
write_synced(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600), ret;

	if (fd == -1)
		return -1;
	ret = write_full(fd, data, len);
	if (ret == 0)
		ret = fsync(fd);
	i_close_fd(&fd);
	return ret;
}

enum bs_err
basalt_home_replace(const char *path, const void *data, size_t len, const char **reason_r)
{
	uint8_t random[8];
	const char *tmp;
	int ret;

	bs_random(random, sizeof(random));
	tmp = t_strconcat(path, ".tmp.", binary_to_hex(random, sizeof(random)), NULL);
	ret = write_synced(tmp, data, len);
	if (ret < 0 && errno == ENOENT && make_folder_of(path) == 0)
		ret = write_synced(tmp, data, len);
	if (ret == 0)
		ret = rename(tmp, path);
	if (ret == 0)
		ret = fsync_folder_of(path);
	if (ret == 0)
		return BS_OK;
	*reason_r = t_strdup_printf("can't write %s: %m", path);
	i_unlink_if_exists(tmp);
	return BS_ERR_IO;
}

enum bs_err
basalt_home_read(const char *path, uint8_t *buf, size_t max, size_t *len_r)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	enum bs_err err = BS_OK;

	if (fd == -1)
		return errno == ENOENT || errno == ENOTDIR ? BS_ERR_NOENT : BS_ERR_IO;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		err = BS_ERR_IO;
	else if ((uintmax_t)st.st_size > max)
		err = BS_ERR_LIMIT;
	else if (st.st_size > 0 && read_full(fd, buf, (size_t)st.st_size) <= 0)
		err = BS_ERR_IO;
	else
		*len_r = (size_t)st.st_size;
	i_close_fd(&fd);
	return err;
}

/* What the copy in the home says about rec: BS_OK and *write_r, or why not. */
static enum bs_err
compare_record(struct basalt_user *bu, const char *path, const struct bs_record *rec, const uint8_t *bytes, size_t len,
    bool *write_r, const char **reason_r)
{
	uint8_t old_bytes[BS_RECORD_MAX];
	size_t old_len = 0;
	struct bs_record old;
	enum bs_err err = basalt_home_read(path, old_bytes, sizeof(old_bytes), &old_len);

	*write_r = err == BS_ERR_NOENT;
	if (err == BS_ERR_NOENT || (err == BS_OK && old_len == len && memcmp(old_bytes, bytes, len) == 0))
		return BS_OK;
	if (err == BS_OK || err == BS_ERR_LIMIT)
		err = err == BS_OK ? bs_record_open(old_bytes, old_len, bu->site_pub, bu->account, &old) : BS_ERR_FORMAT;
	if (err != BS_OK) {
		*reason_r = t_strdup_printf("ALARM: the record in %s is not to be trusted: %s", path, bs_err_text(err));
		return err == BS_ERR_ACCOUNT ? BS_ERR_AUTH : err; /* somebody else's record, which says nothing of these keys */
	}
	if (memcmp(old.account_id, rec->account_id, BS_ID_LEN) != 0) {
		*reason_r = t_strdup_printf("ALARM: basalt-keyd's keys of %s are of another account than the record in %s: were they "
		    "lost and made anew? `basaltctl key restore %s`", bu->account, path, bu->account);
		return BS_ERR_ACCOUNT;
	}
	if (old.generation > rec->generation) {
		*reason_r = t_strdup_printf("ALARM: basalt-keyd's record of %s (generation %ju) is older than the one in %s (generation "
		    "%ju): an old database? `basaltctl key restore %s`", bu->account, (uintmax_t)rec->generation, path, (uintmax_t)old.generation,
		    bu->account);
		return BS_ERR_ROLLBACK;
	}
	*write_r = true;
	return BS_OK;
}

enum bs_err
basalt_home_check_record(struct basalt_user *bu, const struct bs_record *rec, const uint8_t *bytes, size_t len,
    const char **reason_r)
{
	const char *path = basalt_home_path(bu, "record");
	bool write_it = false;
	enum bs_err err;

	if (path == NULL) {
		*reason_r = t_strdup_printf("%s has no home directory, where its record has to lie", bu->account);
		return BS_ERR_CONF;
	}
	err = compare_record(bu, path, rec, bytes, len, &write_it, reason_r);
	/* Whom keyd tells no keyset leaves the record to who comes next. */
	if (err != BS_OK || !write_it || !basalt_session_may_have_keyset(bu))
		return err;
	err = basalt_home_keep_ahead(bu, bytes, len, reason_r);
	if (err == BS_OK)
		err = basalt_home_replace(path, bytes, len, reason_r);
	return err;
}

enum bs_err
basalt_home_record(struct basalt_user *bu, struct bs_record *out)
{
	const char *path = basalt_home_path(bu, "record");
	uint8_t bytes[BS_RECORD_MAX];
	size_t len = 0;
	enum bs_err err = path == NULL ? BS_ERR_CONF : basalt_home_read(path, bytes, sizeof(bytes), &len);

	return err == BS_OK ? bs_record_open(bytes, len, bu->site_pub, bu->account, out) : err;
}

bool
basalt_home_has_record(struct basalt_user *bu)
{
	const char *path = basalt_home_path(bu, "record");
	struct stat st;

	return path != NULL && lstat(path, &st) == 0;
}

bool
basalt_home_never_had_keys(struct basalt_user *bu)
{
	static const char *const names[] = { "record", "keyset" };
	struct stat st;

	for (unsigned int i = 0; i < N_ELEMENTS(names); i++) {
		const char *path = basalt_home_path(bu, names[i]);

		if (path == NULL || lstat(path, &st) == 0 || errno != ENOENT)
			return false;
	}
	return true;
}

/* --- large mails that are damaged --- */

bool
basalt_home_is_damaged(struct basalt_user *bu, const uint8_t message_id[BS_ID_LEN])
{
	const char *path = basalt_home_path(bu, "damaged"), *hex = binary_to_hex(message_id, BS_ID_LEN);
	uint8_t *list;
	size_t len = 0;
	bool found = false;

	if (path == NULL)
		return false;
	list = i_malloc(DAMAGED_MAX);
	if (basalt_home_read(path, list, DAMAGED_MAX, &len) == BS_OK) {
		for (size_t i = 0; i + DAMAGED_LINE <= len && !found; i += DAMAGED_LINE)
			found = memcmp(list + i, hex, BS_ID_LEN * 2) == 0;
	}
	i_free(list);
	return found;
}

void
basalt_home_note_damaged(struct basalt_user *bu, const uint8_t message_id[BS_ID_LEN])
{
	const char *path = basalt_home_path(bu, "damaged");
	const char *line = t_strconcat(binary_to_hex(message_id, BS_ID_LEN), "\n", NULL);
	struct stat st;
	int fd;

	if (path == NULL || basalt_home_is_damaged(bu, message_id))
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd == -1)
		return;
	if (fstat(fd, &st) == 0 && st.st_size + (off_t)strlen(line) <= DAMAGED_MAX &&
	    write_full(fd, line, strlen(line)) < 0)
		e_warning(bu->user->event, "basalt: can't write %s: %m", path);
	i_close_fd(&fd);
}
