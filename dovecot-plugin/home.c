#include "compat.h"

#include <hex-binary.h>
#include <mkdir-parents.h>
#include <read-full.h>
#include <write-full.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "home.h"
#include "session.h"
#include "wire.h"

#define FOLDER "basalt"
#define DAMAGED_LINE (BS_ID_LEN * 2 + 1)
#define DAMAGED_MAX (4096 * DAMAGED_LINE)
#define KEYSET_COPY_MAX (256 * 1024) /* BS_KEYSET_MAX, which is above this folder's layer */
#define OTHER "keyset.other."   /* keysets that keyd's does not hold; ctl/home.h knows these names, too */
#define JOINED "keyset.joined." /* and those that `key restore` took in: they go when a session shows that */
#define OTHERS_MAX 16

/* The path of a file in the folder; NULL when the user has no home. */
static const char *
home_path(struct basalt_user *bu, const char *name)
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

static enum bs_err
replace_file(const char *path, const void *data, size_t len, const char **reason_r)
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

/* Reads up to max bytes. BS_ERR_NOENT; BS_ERR_LIMIT when there are more. */
static enum bs_err
read_file(const char *path, uint8_t *buf, size_t max, size_t *len_r)
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
	enum bs_err err = read_file(path, old_bytes, sizeof(old_bytes), &old_len);

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
	const char *path = home_path(bu, "record");
	bool write_it = false;
	enum bs_err err;

	if (path == NULL) {
		*reason_r = t_strdup_printf("%s has no home directory, where its record has to lie", bu->account);
		return BS_ERR_CONF;
	}
	err = compare_record(bu, path, rec, bytes, len, &write_it, reason_r);
	if (err == BS_OK && write_it)
		err = replace_file(path, bytes, len, reason_r);
	return err;
}

enum bs_err
basalt_home_record(struct basalt_user *bu, struct bs_record *out)
{
	const char *path = home_path(bu, "record");
	uint8_t bytes[BS_RECORD_MAX];
	size_t len = 0;
	enum bs_err err = path == NULL ? BS_ERR_CONF : read_file(path, bytes, sizeof(bytes), &len);

	return err == BS_OK ? bs_record_open(bytes, len, bu->site_pub, bu->account, out) : err;
}

bool
basalt_home_has_record(struct basalt_user *bu)
{
	const char *path = home_path(bu, "record");
	struct stat st;

	return path != NULL && lstat(path, &st) == 0;
}

bool
basalt_home_never_had_keys(struct basalt_user *bu)
{
	static const char *const names[] = { "record", "keyset" };
	struct stat st;

	for (unsigned int i = 0; i < N_ELEMENTS(names); i++) {
		const char *path = home_path(bu, names[i]);

		if (path == NULL || lstat(path, &st) == 0 || errno != ENOENT)
			return false;
	}
	return true;
}

/* --- the keyset's copy --- */

/* A keyset is layer upon layer of what only keyd opens; in front, behind magic and version, is its signed record. */
static bool
keyset_record(const struct basalt_user *bu, const uint8_t *data, size_t len, struct bs_record *out)
{
	struct bs_rd rd = bs_rd_init(data, len);
	const uint8_t *record;
	size_t record_len;

	(void)bs_rd_bytes(&rd, 5);
	record = bs_rd_str16(&rd, &record_len);
	return record != NULL && bs_record_open(record, record_len, bu->site_pub, bu->account, out) == BS_OK;
}

/* Does keyd have all keys of the keyset in a file? BS_ERR_NOKEY: it is not known to; others: that can't be found out now. */
static enum bs_err
keyset_is_held(struct basalt_user *bu, const char *path, const uint8_t *now, size_t now_len)
{
	uint8_t *bytes = i_malloc(KEYSET_COPY_MAX);
	size_t len = 0;
	struct bs_record rec, now_rec;
	enum bs_err err = read_file(path, bytes, KEYSET_COPY_MAX, &len);

	if (err == BS_ERR_LIMIT)
		err = BS_ERR_NOKEY;
	else if (err == BS_OK && (len != now_len || memcmp(bytes, now, len) != 0)) {
		if (!keyset_record(bu, now, now_len, &now_rec))
			err = BS_ERR_AUTH;
		else if (!keyset_record(bu, bytes, len, &rec) || memcmp(rec.account_id, now_rec.account_id, BS_ID_LEN) != 0)
			err = BS_ERR_NOKEY;
		else if (memcmp(rec.key_id, now_rec.key_id, BS_ID_LEN) != 0) /* it stands for the whole ring: FORMAT.keys.md */
			err = basalt_session_holds(bu, rec.key_id);
	}
	i_free(bytes);
	return err;
}

/* Files named so in the folder of path: those that keyd holds go, those that it holds no more are others again. Their number. */
static unsigned int
sweep_others(struct basalt_user *bu, const char *path, const uint8_t *now, size_t now_len)
{
	const char *folder = t_strdup_until(path, strrchr(path, '/')), *name, *random;
	DIR *dir = opendir(folder);
	struct dirent *entry;
	unsigned int others = 0;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		bool joined = basalt_begins(entry->d_name, JOINED);
		enum bs_err err;

		if (!joined && !basalt_begins(entry->d_name, OTHER))
			continue;
		name = t_strconcat(folder, "/", entry->d_name, NULL);
		err = now == NULL ? BS_ERR_NOKEY : keyset_is_held(bu, name, now, now_len);
		if (err == BS_OK) {
			i_unlink_if_exists(name);
			continue;
		}
		others++;
		random = entry->d_name + strlen(JOINED);
		if (joined && err == BS_ERR_NOKEY && now != NULL && rename(name, t_strconcat(folder, "/" OTHER, random, NULL)) < 0)
			e_warning(bu->user->event, "basalt: can't rename %s: %m", name);
	}
	if (dir != NULL)
		(void)closedir(dir);
	return others;
}

/* What only this file may hold is not written over. */
static enum bs_err
set_aside(struct basalt_user *bu, const char *path, const char **reason_r)
{
	uint8_t random[8];
	const char *other;

	if (sweep_others(bu, path, NULL, 0) >= OTHERS_MAX) {
		*reason_r = t_strdup_printf("ALARM: %s holds keys that basalt-keyd's has not, and so do %u beside it: it is left as it is; "
		    "`basaltctl key restore %s`", path, OTHERS_MAX, bu->account);
		return BS_ERR_LIMIT;
	}
	bs_random(random, sizeof(random));
	other = t_strconcat(t_strdup_until(path, strrchr(path, '/')), "/" OTHER, binary_to_hex(random, sizeof(random)), NULL);
	if (rename(path, other) < 0) {
		*reason_r = t_strdup_printf("can't rename %s: %m", path);
		return BS_ERR_IO;
	}
	e_error(bu->user->event, "basalt: ALARM: the keyset in the mail home of %s holds keys that basalt-keyd's has not: it was kept as %s; "
	    "`basaltctl key restore %s`", bu->account, other, bu->account);
	return BS_OK;
}

enum bs_err
basalt_home_keep_keyset(struct basalt_user *bu, const uint8_t *blob, size_t len, const char **reason_r)
{
	const char *path = home_path(bu, "keyset");
	uint8_t *old;
	size_t old_len = 0;
	enum bs_err err;
	bool same;

	if (path == NULL || len > KEYSET_COPY_MAX)
		return BS_OK;
	old = i_malloc(len + 1);
	same = read_file(path, old, len, &old_len) == BS_OK && old_len == len && memcmp(old, blob, len) == 0;
	i_free(old);
	if (same)
		return BS_OK;
	err = keyset_is_held(bu, path, blob, len);
	if (err == BS_ERR_NOKEY)
		err = set_aside(bu, path, reason_r);
	else if (err != BS_OK && err != BS_ERR_NOENT)
		*reason_r = t_strdup_printf("%s is left as it is: whether basalt-keyd has its keys: %s", path, bs_err_text(err));
	if (err == BS_OK || err == BS_ERR_NOENT)
		err = replace_file(path, blob, len, reason_r);
	if (err == BS_OK)
		(void)sweep_others(bu, path, blob, len);
	return err;
}

bool
basalt_home_is_damaged(struct basalt_user *bu, const uint8_t message_id[BS_ID_LEN])
{
	const char *path = home_path(bu, "damaged"), *hex = binary_to_hex(message_id, BS_ID_LEN);
	uint8_t *list;
	size_t len = 0;
	bool found = false;

	if (path == NULL)
		return false;
	list = i_malloc(DAMAGED_MAX);
	if (read_file(path, list, DAMAGED_MAX, &len) == BS_OK) {
		for (size_t i = 0; i + DAMAGED_LINE <= len && !found; i += DAMAGED_LINE)
			found = memcmp(list + i, hex, BS_ID_LEN * 2) == 0;
	}
	i_free(list);
	return found;
}

void
basalt_home_note_damaged(struct basalt_user *bu, const uint8_t message_id[BS_ID_LEN])
{
	const char *path = home_path(bu, "damaged");
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
