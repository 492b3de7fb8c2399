#include "mdbox_place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OLD ".basalt-old"
#define NEW ".basalt-new" /* as long */
#define OPEN_AT_ONCE 32 /* folders, of nftw() */

enum kind { NONE, BLOCKER, FOLDER, OTHER };

static enum kind
look(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? NONE : OTHER;
	if (S_ISDIR(st.st_mode))
		return FOLDER;
	return S_ISREG(st.st_mode) && st.st_size == 0 ? BLOCKER : OTHER;
}

enum bs_err
mdbox_place_init(struct mdbox_place *place, const char *home, const char *name, int home_fd)
{
	int longest = snprintf(place->old, sizeof(place->old), "%s/%s" OLD, home, name);

	(void)snprintf(place->new, sizeof(place->new), "%s/%s" NEW, home, name);
	(void)snprintf(place->root, sizeof(place->root), "%s/%s", home, name);
	place->home_fd = home_fd;
	return longest > 0 && (size_t)longest < sizeof(place->old) ? BS_OK : BS_ERR_LIMIT;
}

enum mdbox_state
mdbox_place_state(const struct mdbox_place *place)
{
	enum kind root = look(place->root), old = look(place->old), new = look(place->new);

	if (root == FOLDER && (old == NONE || old == BLOCKER) && (new == NONE || new == FOLDER))
		return MDBOX_OPEN;
	if (root == BLOCKER && old == FOLDER && (new == NONE || new == FOLDER))
		return MDBOX_SHUT;
	return root == FOLDER && old == FOLDER && (new == NONE || new == BLOCKER) ? MDBOX_CHANGED : MDBOX_STRANGE;
}

/* How long NAME is; 0: this is no name of ours. */
static size_t
name_len(const char *entry)
{
	size_t len = strlen(entry), end = strlen(OLD);
	const char *suffix = entry + (len > end ? len - end : 0);

	return strcmp(suffix, OLD) == 0 || strcmp(suffix, NEW) == 0 ? len - end : 0;
}

static int
is_ours(const struct dirent *entry)
{
	return name_len(entry->d_name) > 0;
}

bool
mdbox_place_find(const char *home, char *name, size_t size)
{
	struct dirent **entries = NULL;
	int n = scandir(home, &entries, is_ours, alphasort);
	bool found = false;

	for (int i = 0; i < n; i++) {
		if (!found)
			found = snprintf(name, size, "%.*s", (int)name_len(entries[i]->d_name), entries[i]->d_name) < (int)size;
		free(entries[i]);
	}
	free(entries);
	return found;
}

bool
mdbox_place_is_shut(const char *home)
{
	struct mdbox_place place = { .home_fd = -1 };
	char name[256];

	return mdbox_place_find(home, name, sizeof(name)) && mdbox_place_init(&place, home, name, -1) == BS_OK && mdbox_place_state(&place) == MDBOX_SHUT;
}

/* --- the steps --- */

static enum bs_err
exchange(const struct mdbox_place *place, const char *a, const char *b)
{
	bool ok = renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0 && fsync(place->home_fd) == 0;

	return ok ? BS_OK : BS_ERR_IO;
}

static enum bs_err
remove_blocker(const char *path)
{
	return look(path) != BLOCKER || unlink(path) == 0 || errno == ENOENT ? BS_OK : BS_ERR_IO;
}

enum bs_err
mdbox_place_shut(const struct mdbox_place *place)
{
	int fd = open(place->old, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return BS_ERR_IO;
	(void)close(fd);
	return exchange(place, place->root, place->old);
}

enum bs_err
mdbox_place_reopen(const struct mdbox_place *place)
{
	enum bs_err err = exchange(place, place->root, place->old);

	return err == BS_OK ? remove_blocker(place->old) : err;
}

enum bs_err
mdbox_place_change(const struct mdbox_place *place)
{
	struct stat st;

	if (lstat(place->old, &st) < 0 || chmod(place->new, st.st_mode & 07777) < 0 || syncfs(place->home_fd) < 0)
		return BS_ERR_IO;
	return exchange(place, place->root, place->new);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

static enum bs_err
remove_folder(const char *path)
{
	return look(path) != FOLDER || nftw(path, remove_one, OPEN_AT_ONCE, FTW_DEPTH | FTW_PHYS) == 0 ? BS_OK : BS_ERR_IO;
}

enum bs_err
mdbox_place_clean(const struct mdbox_place *place, bool with_new)
{
	enum mdbox_state state = mdbox_place_state(place);
	enum bs_err err = BS_OK;

	if (state == MDBOX_OPEN)
		err = remove_blocker(place->old);
	if (state == MDBOX_OPEN && err == BS_OK && with_new)
		err = remove_folder(place->new);
	if (state != MDBOX_CHANGED)
		return err;
	err = remove_blocker(place->new);
	return err == BS_OK ? remove_folder(place->old) : err;
}
