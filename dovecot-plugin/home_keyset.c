/* The copies of keysets: keyset, which sessions write; keyset.ahead.HEX, deliveries; keyset.other.HEX, what keyd's does not hold. */
#include "compat.h"

#include <hex-binary.h>

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "crypto.h"
#include "home_priv.h"
#include "session.h"
#include "wire.h"

#define KEYSET_COPY_MAX (256 * 1024) /* BS_KEYSET_MAX, which is above this folder's layer */
#define OTHER "keyset.other."   /* keysets that keyd's does not hold; ctl/home.h knows these names, too */
#define JOINED "keyset.joined." /* and those that `key restore` took in: they go when a session shows that */
#define AHEAD "keyset.ahead."   /* of records that came by a delivery: likewise */
#define OTHERS_MAX 16
#define AHEAD_MAX 64

/* A keyset is layer upon layer of what only keyd opens; in front, behind magic and version, is its signed record. NULL: it is none. */
static const uint8_t *
record_bytes(const uint8_t *data, size_t len, size_t *record_len)
{
	struct bs_rd rd = bs_rd_init(data, len);

	(void)bs_rd_bytes(&rd, 5);
	return bs_rd_str16(&rd, record_len);
}

static bool
keyset_record(const struct basalt_user *bu, const uint8_t *data, size_t len, struct bs_record *out)
{
	size_t record_len;
	const uint8_t *record = record_bytes(data, len, &record_len);

	return record != NULL && bs_record_open(record, record_len, bu->site_pub, bu->account, out) == BS_OK;
}

/* Does keyd have all keys of the keyset in a file? BS_ERR_NOKEY: it is not known to; others: that can't be found out now. */
static enum bs_err
keyset_is_held(struct basalt_user *bu, const char *path, const uint8_t *now, size_t now_len)
{
	uint8_t *bytes = i_malloc(KEYSET_COPY_MAX);
	size_t len = 0;
	struct bs_record rec, now_rec;
	enum bs_err err = basalt_home_read(path, bytes, KEYSET_COPY_MAX, &len);

	if (err == BS_ERR_LIMIT)
		err = BS_ERR_NOKEY;
	else if (err == BS_OK && (len != now_len || memcmp(bytes, now, len) != 0)) {
		if (!keyset_record(bu, now, now_len, &now_rec))
			err = BS_ERR_AUTH;
		else if (!keyset_record(bu, bytes, len, &rec) || memcmp(rec.account_id, now_rec.account_id, BS_ID_LEN) != 0)
			err = BS_ERR_NOKEY;
		else if (memcmp(rec.key_id, now_rec.key_id, BS_ID_LEN) != 0) /* it stands for the whole ring: FORMAT.keys.md */
			err = basalt_session_holds(bu, rec.key_id);
		if (err == BS_OK && rec.generation > now_rec.generation)
			err = BS_ERR_CONFLICT; /* the keys are open, but what is written now is from before them */
	}
	i_free(bytes);
	return err;
}

/* What a crash left of writing one has another ending. */
static bool
is_named(const char *name, const char *prefix)
{
	return basalt_begins(name, prefix) && strchr(name + strlen(prefix), '.') == NULL;
}

static const char *
folder_of(const char *path)
{
	return t_strdup_until(path, strrchr(path, '/'));
}

/* How many lie beside path. */
static unsigned int
count_named(const char *path, const char *prefix)
{
	DIR *dir = opendir(folder_of(path));
	struct dirent *entry;
	unsigned int n = 0;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		n += is_named(entry->d_name, prefix) ? 1 : 0;
	if (dir != NULL)
		(void)closedir(dir);
	return n;
}

/* An ALARM, since only this file may hold those keys. */
static enum bs_err
make_other(struct basalt_user *bu, const char *path, const char *hex, const char **reason_r)
{
	const char *other = t_strconcat(folder_of(path), "/" OTHER, hex, NULL);

	if (count_named(path, OTHER) + count_named(path, JOINED) >= OTHERS_MAX) {
		*reason_r = t_strdup_printf("ALARM: %s holds keys that basalt-keyd's has not, and so do %u beside it: it is left as it is; "
		    "`basaltctl key restore %s`", path, OTHERS_MAX, bu->account);
		return BS_ERR_LIMIT;
	}
	if (rename(path, other) < 0) {
		*reason_r = t_strdup_printf("can't rename %s: %m", path);
		return BS_ERR_IO;
	}
	e_error(bu->user->event, "basalt: ALARM: a keyset in the mail home of %s holds keys that basalt-keyd's has not: it was kept as %s; "
	    "`basaltctl key restore %s`", bu->account, other, bu->account);
	return BS_OK;
}

/* What only this file may hold is not written over. */
static enum bs_err
set_aside(struct basalt_user *bu, const char *path, const char **reason_r)
{
	uint8_t random[8];

	bs_random(random, sizeof(random));
	return make_other(bu, path, binary_to_hex(random, sizeof(random)), reason_r);
}

/* What keyd holds goes; what it holds no more, or never did, is an other. */
static void
sweep_one(struct basalt_user *bu, const char *path, bool is_other, const uint8_t *now, size_t now_len)
{
	enum bs_err err = keyset_is_held(bu, path, now, now_len);
	const char *reason;

	if (err == BS_OK)
		i_unlink_if_exists(path);
	else if (err == BS_ERR_NOKEY && !is_other && make_other(bu, path, strrchr(path, '.') + 1, &reason) != BS_OK)
		e_warning(bu->user->event, "basalt: %s", reason);
}

/* The keysets beside path, where what keyd has now lies. */
static void
sweep(struct basalt_user *bu, const char *path, const uint8_t *now, size_t now_len)
{
	const char *folder = folder_of(path), *name;
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		bool is_other = is_named(entry->d_name, OTHER);

		name = t_strconcat(folder, "/", entry->d_name, NULL);
		if (is_other || is_named(entry->d_name, JOINED) || is_named(entry->d_name, AHEAD))
			sweep_one(bu, name, is_other, now, now_len);
	}
	if (dir != NULL)
		(void)closedir(dir);
}

static enum bs_err
write_copy(struct basalt_user *bu, const char *path, const uint8_t *blob, size_t len, const char **reason_r)
{
	enum bs_err err = keyset_is_held(bu, path, blob, len);

	if (err == BS_ERR_NOKEY)
		err = set_aside(bu, path, reason_r);
	else if (err != BS_OK && err != BS_ERR_NOENT)
		*reason_r = t_strdup_printf("%s is left as it is: whether basalt-keyd has its keys: %s", path, bs_err_text(err));
	return err == BS_OK || err == BS_ERR_NOENT ? basalt_home_replace(path, blob, len, reason_r) : err;
}

enum bs_err
basalt_home_keep_keyset(struct basalt_user *bu, const uint8_t *blob, size_t len, const char **reason_r)
{
	const char *path = basalt_home_path(bu, "keyset");
	uint8_t *old;
	size_t old_len = 0;
	enum bs_err err = BS_OK;
	bool same;

	if (path == NULL || len > KEYSET_COPY_MAX)
		return BS_OK;
	old = i_malloc(len + 1);
	same = basalt_home_read(path, old, len, &old_len) == BS_OK && old_len == len && memcmp(old, blob, len) == 0;
	i_free(old);
	if (!same)
		err = write_copy(bu, path, blob, len, reason_r);
	if (err == BS_OK)
		sweep(bu, path, blob, len);
	return err;
}

/* --- ahead of the copy --- */

/* Nothing that lies there is written over, but by the same bytes. */
static enum bs_err
write_ahead(struct basalt_user *bu, const uint8_t *blob, size_t len, const char **reason_r)
{
	uint8_t digest[BS_HASH_LEN];
	const char *path;

	bs_sha256(blob, len, digest);
	path = basalt_home_path(bu, t_strconcat(AHEAD, binary_to_hex(digest, 8), NULL));
	if (path == NULL || len > KEYSET_COPY_MAX || (access(path, F_OK) != 0 && count_named(path, AHEAD) >= AHEAD_MAX)) {
		*reason_r = t_strdup_printf("ALARM: the keys of %s were changed %u times since it was last logged in to, and their keysets wait in its mail home to "
		    "be looked through: mail waits for a login", bu->account, AHEAD_MAX);
		return BS_ERR_LIMIT;
	}
	return basalt_home_replace(path, blob, len, reason_r);
}

enum bs_err
basalt_home_keep_ahead(struct basalt_user *bu, const uint8_t *record, size_t record_len, const char **reason_r)
{
	uint8_t *blob = NULL;
	const uint8_t *its;
	size_t len = 0, its_len;
	enum bs_err err = basalt_session_keyset(bu, &blob, &len);

	if (err == BS_ERR_PERM)
		return BS_OK; /* an older keyd: as it was with that one */
	if (err == BS_ERR_NOENT)
		err = BS_ERR_CONFLICT; /* there was a record a moment ago: this account is not one without keys */
	if (err == BS_OK) {
		its = record_bytes(blob, len, &its_len);
		err = its != NULL && its_len == record_len && memcmp(its, record, record_len) == 0 ? BS_OK : BS_ERR_CONFLICT;
	}
	/* A session can tell what may go, also of those that are too many. */
	if (err == BS_OK && (bu->session == NULL || basalt_home_keep_keyset(bu, blob, len, reason_r) != BS_OK))
		err = write_ahead(bu, blob, len, reason_r);
	else if (err != BS_OK)
		*reason_r = t_strdup_printf("the keyset of %s has to lie in its mail home before mail is sealed to its new key, and can't be had from basalt-keyd now: %s",
		    bu->account, bs_err_text(err));
	free(blob);
	return err;
}
