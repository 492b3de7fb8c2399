#include "home.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

enum bs_err
home_record(const struct ctl *ctl, const char *address, struct bs_record *out)
{
	char path[4096];
	uint8_t *bytes = NULL;
	size_t len = 0;
	enum bs_err err;

	home_path(ctl, address, "record", path, sizeof(path));
	err = home_read_file(path, BS_RECORD_MAX, &bytes, &len);
	if (err == BS_OK)
		err = bs_record_parse(bytes, len, out);
	free(bytes);
	return err == BS_OK ? BS_OK : BS_ERR_NOENT;
}

uint64_t
home_generation(const struct ctl *ctl, const char *address)
{
	struct bs_record rec;

	return home_record(ctl, address, &rec) == BS_OK ? rec.generation : 0;
}

/* --- keysets --- */

static int
is_other(const struct dirent *entry)
{
	return strncmp(entry->d_name, HOME_OTHER, strlen(HOME_OTHER)) == 0;
}

size_t
home_keysets(const struct ctl *ctl, const char *address, char ***out)
{
	char folder[4096];
	struct dirent **entries = NULL;
	int found;
	size_t n = 0;

	home_path(ctl, address, "", folder, sizeof(folder));
	found = scandir(folder, &entries, is_other, alphasort);
	*out = calloc((size_t)(found < 0 ? 0 : found) + 1, sizeof(**out));
	if (*out != NULL && asprintf(&(*out)[n], "%skeyset", folder) >= 0)
		n++;
	for (int i = 0; i < found; i++) {
		if (*out != NULL && asprintf(&(*out)[n], "%s%s", folder, entries[i]->d_name) >= 0)
			n++;
		free(entries[i]);
	}
	free(entries);
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

	if (slash == NULL || strncmp(slash + 1, HOME_OTHER, strlen(HOME_OTHER)) != 0)
		return;
	if (asprintf(&joined, "%.*s" HOME_JOINED "%s", (int)(slash + 1 - path), path, slash + 1 + strlen(HOME_OTHER)) < 0)
		return;
	if (rename(path, joined) != 0)
		fprintf(stderr, "basaltctl: warning: %s: %s\n", path, strerror(errno));
	free(joined);
}

/* Of a keyset or a record that was read; false: it is none of this account. */
static bool
read_record(const char *path, const char *address, struct bs_record *out)
{
	uint8_t *bytes = NULL;
	size_t len = 0;
	struct bs_keyset ks;
	bool ok = false;

	if (home_read_file(path, BS_KEYSET_MAX, &bytes, &len) != BS_OK)
		return false;
	if (bs_record_parse(bytes, len, out) == BS_OK) {
		ok = true;
	} else if (bs_keyset_parse(bytes, len, &ks) == BS_OK) {
		*out = ks.record;
		ok = true;
		bs_keyset_clear(&ks);
	}
	free(bytes);
	return ok && strcmp(out->name, address) == 0;
}

/* other: it is one that the plugin found not to be held by keyd's. */
static const char *
compare(const char *path, const char *address, const struct bs_record *record, bool other)
{
	struct bs_record rec;

	if (!read_record(path, address, &rec))
		return NULL;
	if (record == NULL || memcmp(rec.account_id, record->account_id, BS_ID_LEN) != 0)
		return "the mail home holds keys of an earlier account of this name, which are not the database's";
	if (rec.generation > record->generation)
		return "the mail home knows newer keys than the database";
	return other && memcmp(rec.key_id, record->key_id, BS_ID_LEN) != 0 ? "the mail home holds keys that the database has not" : NULL;
}

const char *
home_finding(const struct ctl *ctl, const char *address, const struct bs_record *record)
{
	char path[4096], **paths;
	size_t n = home_keysets(ctl, address, &paths);
	const char *what;

	home_path(ctl, address, "record", path, sizeof(path));
	what = compare(path, address, record, false);
	for (size_t i = 0; i < n && what == NULL; i++)
		what = compare(paths[i], address, record, i > 0);
	home_keysets_free(paths, n);
	return what;
}

int
home_guard(struct ctl *ctl, const char *address)
{
	uint8_t bytes[BS_RECORD_MAX];
	size_t len = 0;
	struct bs_record record;
	const char *what;
	enum bs_err err;

	if ((ctl->args.given & CTL_DESPITE_HOME) != 0)
		return CTL_OK;
	err = bs_keyclient_record(ctl->keyd, address, bytes, &len);
	if (err == BS_OK)
		err = bs_record_parse(bytes, len, &record);
	if (bs_err_is_transient(err))
		return ctl_fail(err, "keys of %s: %s", address, ctl_keyd_text(err));
	if (err != BS_OK && err != BS_ERR_NOENT)
		return CTL_OK; /* keyd says so itself when it is asked to change them */
	what = home_finding(ctl, address, err == BS_OK ? &record : NULL);
	if (what == NULL)
		return CTL_OK;
	ctl_fail(BS_ERR_ROLLBACK, "%s: %s, and a change here would go on from the wrong ones: nothing was changed. First: "
	    "`basaltctl key restore %s`", address, what, address);
	return CTL_OTHER_KEYS;
}
