#include "home.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hex.h"

#define SITE_KEY_FILE_MAX 256

/* In a folder of a mail user, who may have put a link or a pipe there. */
static FILE *
open_regular(const char *path)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	FILE *fp = NULL;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		fp = fdopen(fd, "r");
	if (fp == NULL && fd >= 0)
		(void)close(fd);
	return fp;
}

enum bs_err
home_read_file(const char *path, size_t max, uint8_t **out, size_t *len)
{
	FILE *fp = open_regular(path);
	uint8_t *bytes = fp == NULL ? NULL : malloc(max + 1);
	enum bs_err err = BS_OK;

	if (fp == NULL)
		return BS_ERR_NOENT;
	*len = bytes == NULL ? 0 : fread(bytes, 1, max + 1, fp);
	if (bytes == NULL || ferror(fp))
		err = bytes == NULL ? BS_ERR_NOMEM : BS_ERR_IO;
	else if (*len > max)
		err = BS_ERR_LIMIT;
	(void)fclose(fp);
	if (err == BS_OK)
		*out = bytes;
	else
		free(bytes);
	return err;
}

void
home_folder(const struct ctl *ctl, const char *address, char *out, size_t size)
{
	const char *at = bs_address_domain(address), *from = ctl->settings.mail_home;
	size_t n = 0;

	out[0] = '\0';
	for (; *from != '\0' && n < size; from++) {
		int len;

		if (from[0] == '%' && (from[1] == 'd' || from[1] == 'n')) {
			from++;
			len = *from == 'd' ? snprintf(out + n, size - n, "%s", at)
			                   : snprintf(out + n, size - n, "%.*s", (int)(at - 1 - address), address);
		} else {
			len = snprintf(out + n, size - n, "%c", *from);
		}
		n += len < 0 ? size : (size_t)len;
	}
}

void
home_path(const struct ctl *ctl, const char *address, const char *name, char *out, size_t size)
{
	size_t n;

	home_folder(ctl, address, out, size);
	n = strlen(out);
	(void)snprintf(out + n, size - n, "/basalt/%s", name);
}

/* --- records --- */

enum bs_err
home_site_key(const struct ctl *ctl, uint8_t out[BS_SIGN_PUB_LEN])
{
	uint8_t *text = NULL;
	size_t len = 0;
	enum bs_err err = home_read_file(ctl->settings.site_key, SITE_KEY_FILE_MAX, &text, &len);

	if (err == BS_OK && (len < (size_t)2 * BS_SIGN_PUB_LEN || !bs_hex_decode((const char *)text, out, BS_SIGN_PUB_LEN)))
		err = BS_ERR_FORMAT;
	free(text);
	return err;
}

/* site_pub NULL: it is not known which key signs here. */
static bool
open_record(const uint8_t *bytes, size_t len, const uint8_t *site_pub, const char *address, struct bs_record *out)
{
	if (site_pub != NULL)
		return bs_record_open(bytes, len, site_pub, address, out) == BS_OK;
	return bs_record_parse(bytes, len, out) == BS_OK && strcmp(out->name, address) == 0;
}

/* BS_ERR_AUTH: it is none, or another's. */
static enum bs_err
read_record(const struct ctl *ctl, const char *address, const uint8_t *site_pub, struct bs_record *out)
{
	char path[4096];
	uint8_t *bytes = NULL;
	size_t len = 0;
	enum bs_err err;

	home_path(ctl, address, "record", path, sizeof(path));
	err = home_read_file(path, BS_RECORD_MAX, &bytes, &len);
	if (err == BS_ERR_LIMIT || (err == BS_OK && !open_record(bytes, len, site_pub, address, out)))
		err = BS_ERR_AUTH;
	free(bytes);
	return err;
}

enum bs_err
home_record(const struct ctl *ctl, const char *address, struct bs_record *out)
{
	uint8_t site_pub[BS_SIGN_PUB_LEN];
	bool known = home_site_key(ctl, site_pub) == BS_OK;

	return read_record(ctl, address, known ? site_pub : NULL, out) == BS_OK ? BS_OK : BS_ERR_NOENT;
}

uint64_t
home_generation(const struct ctl *ctl, const char *address)
{
	struct bs_record rec;

	return home_record(ctl, address, &rec) == BS_OK ? rec.generation : 0;
}

/* --- keysets --- */

/* The record in a copy of a keyset. */
static bool
keyset_record(const char *path, const char *address, const uint8_t *site_pub, struct bs_record *out)
{
	uint8_t *bytes = NULL;
	size_t len = 0;
	struct bs_keyset ks;
	bool ok = false;

	if (home_read_file(path, BS_KEYSET_MAX, &bytes, &len) != BS_OK)
		return false;
	if (bs_keyset_parse(bytes, len, &ks) == BS_OK) {
		ok = open_record(ks.record_bytes, ks.record_len, site_pub, address, out);
		bs_keyset_clear(&ks);
	}
	free(bytes);
	return ok;
}

/* What a crash left of writing one has another ending. */
static bool
is_named(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0 && strchr(name + strlen(prefix), '.') == NULL;
}

static bool
is_other(const char *path)
{
	return is_named(strrchr(path, '/') + 1, HOME_OTHER);
}

static int
is_keyset(const struct dirent *entry)
{
	return strcmp(entry->d_name, "keyset") == 0 || is_named(entry->d_name, HOME_OTHER) || is_named(entry->d_name, HOME_AHEAD);
}

struct found {
	char *path;
	bool other;
	uint64_t generation;
};

static int
newest_first(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->other != y->other)
		return x->other ? 1 : -1;
	if (x->generation != y->generation && !x->other)
		return x->generation < y->generation ? 1 : -1;
	return strcmp(x->path, y->path);
}

/* A path of found, and what tells its place. */
static bool
find(const char *folder, const char *name, const char *address, struct found *out)
{
	struct bs_record rec;

	if (asprintf(&out->path, "%s%s", folder, name) < 0)
		return false;
	out->other = is_other(out->path);
	out->generation = keyset_record(out->path, address, NULL, &rec) ? rec.generation : 0;
	return true;
}

size_t
home_keysets(const struct ctl *ctl, const char *address, char ***out)
{
	char folder[4096];
	struct dirent **entries = NULL;
	struct found *found;
	int count;
	size_t n = 0;

	home_path(ctl, address, "", folder, sizeof(folder));
	count = scandir(folder, &entries, is_keyset, NULL);
	found = calloc((size_t)(count < 0 ? 0 : count) + 1, sizeof(*found));
	*out = calloc((size_t)(count < 0 ? 0 : count) + 1, sizeof(**out));
	for (int i = 0; i < count; i++) {
		n += found != NULL && *out != NULL && find(folder, entries[i]->d_name, address, &found[n]) ? 1 : 0;
		free(entries[i]);
	}
	free(entries);
	if (n == 0 && found != NULL && *out != NULL)
		n += find(folder, "keyset", address, &found[0]) ? 1 : 0;
	if (n > 0)
		qsort(found, n, sizeof(*found), newest_first);
	for (size_t i = 0; i < n; i++)
		(*out)[i] = found[i].path;
	free(found);
	return n;
}

void
home_keysets_free(char **paths, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(paths[i]);
	free(paths);
}

void
home_mark_joined(const char *path)
{
	char *joined;
	const char *slash = strrchr(path, '/');

	if (slash == NULL || !is_other(path))
		return;
	if (asprintf(&joined, "%.*s" HOME_JOINED "%s", (int)(slash + 1 - path), path, slash + 1 + strlen(HOME_OTHER)) < 0)
		return;
	if (rename(path, joined) != 0)
		fprintf(stderr, "basaltctl: warning: %s: %s\n", path, strerror(errno));
	free(joined);
}

/* --- keyd's and the home's --- */

/* What keyd has of an account. */
struct held {
	bool any;
	struct bs_record record;
	uint8_t site_pub[BS_SIGN_PUB_LEN];
	bool proven; /* site_pub signed the record */
};

/* BS_ERR_AUTH and such: keyd says so itself when it is asked to change it. */
static enum bs_err
ask_keyd(struct ctl *ctl, const char *address, struct held *out)
{
	uint8_t bytes[BS_RECORD_MAX];
	size_t len = 0;
	enum bs_err err = bs_keyclient_record(ctl->keyd, address, bytes, &len);
	struct bs_record same;

	*out = (struct held){ .any = err == BS_OK };
	if (err == BS_OK)
		err = bs_record_parse(bytes, len, &out->record);
	out->proven = err == BS_OK && home_site_key(ctl, out->site_pub) == BS_OK && open_record(bytes, len, out->site_pub, address, &same);
	return err == BS_ERR_NOENT ? BS_OK : err;
}

static const char *
compare(const struct bs_record *rec, const struct held *held)
{
	if (!held->any || memcmp(rec->account_id, held->record.account_id, BS_ID_LEN) != 0)
		return "the mail home holds keys of an earlier account of this name, which are not the database's";
	return rec->generation > held->record.generation ? "the mail home knows newer keys than the database" : NULL;
}

enum bs_err
home_finding(struct ctl *ctl, const char *address, const char **what, bool *forged)
{
	char **paths;
	size_t n;
	struct held held;
	struct bs_record rec;
	enum bs_err err = ask_keyd(ctl, address, &held);
	const uint8_t *site_pub = held.proven ? held.site_pub : NULL;

	*what = NULL;
	if (forged != NULL)
		*forged = false;
	if (err != BS_OK)
		return bs_err_is_transient(err) ? err : BS_OK;
	err = read_record(ctl, address, site_pub, &rec);
	if (err == BS_OK)
		*what = compare(&rec, &held);
	if (forged != NULL)
		*forged = held.proven && err == BS_ERR_AUTH;
	n = home_keysets(ctl, address, &paths);
	for (size_t i = 0; i < n && *what == NULL; i++) {
		if (!keyset_record(paths[i], address, site_pub, &rec))
			continue;
		*what = compare(&rec, &held);
		/* Those the plugin found not to be held by keyd's. What is older among the rest says nothing of other keys. */
		if (*what == NULL && is_other(paths[i]) && memcmp(rec.key_id, held.record.key_id, BS_ID_LEN) != 0)
			*what = "the mail home holds keys that the database has not";
	}
	home_keysets_free(paths, n);
	return BS_OK;
}

int
home_guard(struct ctl *ctl, const char *address)
{
	const char *what;
	enum bs_err err;

	if ((ctl->args.given & CTL_DESPITE_HOME) != 0)
		return CTL_OK;
	err = home_finding(ctl, address, &what, NULL);
	if (err != BS_OK)
		return ctl_fail(err, "keys of %s: %s", address, ctl_keyd_text(err));
	if (what == NULL)
		return CTL_OK;
	ctl_fail(BS_ERR_ROLLBACK, "%s: %s, and a change here would go on from the wrong ones: nothing was changed. First: "
	    "`basaltctl key restore %s`", address, what, address);
	return CTL_OTHER_KEYS;
}
