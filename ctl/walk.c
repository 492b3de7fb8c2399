#include "walk.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORTION 16384 /* names of one folder that are held at a time */

/* The smallest names of a folder that come behind another one, in order. */
struct names {
	char **names;
	size_t n;
	bool more; /* the folder has others behind these */
};

struct walk {
	const struct ctl_walk_ops *ops;
	size_t root;
	char path[PATH_MAX];
	size_t len;
	enum bs_err err; /* what ends the walk */
};

static int
compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
names_clear(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->names[i]);
	free(names->names);
	*names = (struct names){ 0 };
}

/* Keeps the smaller half of what was gathered. */
static void
names_cut(struct names *names)
{
	qsort(names->names, names->n, sizeof(char *), compare);
	while (names->n > PORTION) {
		free(names->names[--names->n]);
		names->more = true;
	}
}

static enum bs_err
names_add(struct names *names, const char *name)
{
	char *copy;

	if (names->n == (size_t)2 * PORTION)
		names_cut(names);
	/* Already known to be beyond this portion. */
	if (names->more && strcmp(name, names->names[PORTION - 1]) > 0 && names->n >= PORTION)
		return BS_OK;
	copy = strdup(name);
	if (copy == NULL)
		return BS_ERR_NOMEM;
	names->names[names->n++] = copy;
	return BS_OK;
}

/* A portion of the folder: names behind (or, with_it, from) the one given. BS_ERR_IO: errno. */
static enum bs_err
names_read(DIR *dir, const char *behind, bool with_it, struct names *out)
{
	struct names names = { .names = malloc((size_t)2 * PORTION * sizeof(char *)) };
	enum bs_err err = names.names == NULL ? BS_ERR_NOMEM : BS_OK;
	struct dirent *entry;

	rewinddir(dir);
	while (err == BS_OK && (errno = 0, entry = readdir(dir)) != NULL) {
		int order = behind == NULL ? 1 : strcmp(entry->d_name, behind);

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || order < 0 || (order == 0 && !with_it))
			continue;
		err = names_add(&names, entry->d_name);
	}
	if (err == BS_OK && errno != 0)
		err = BS_ERR_IO;
	if (err != BS_OK) {
		names_clear(&names);
		return err;
	}
	names_cut(&names);
	*out = names;
	return BS_OK;
}

static void
tell_failed(const struct walk *w, const char *path, int error)
{
	if (w->ops->failed != NULL)
		w->ops->failed(w->ops->ctx, path, error);
}

static void
failed(struct walk *w, int error)
{
	if (error != ENOENT && error != ESTALE)
		tell_failed(w, w->path, error);
}

/* The path with "/name" behind it; false: it is too long. leave() goes back. */
static bool
go_to(struct walk *w, const char *name)
{
	bool slash = w->len > 0 && w->path[w->len - 1] != '/';
	int n = snprintf(w->path + w->len, sizeof(w->path) - w->len, "%s%s", slash ? "/" : "", name);

	return n > 0 && (size_t)n < sizeof(w->path) - w->len;
}

static void
leave(struct walk *w, size_t len)
{
	w->len = len;
	w->path[len] = '\0';
}

static void walk_folder(struct walk *w, const char *rest, unsigned depth);

/* rest: NULL, or what of the path where the last walk ended lies below this name; "" when it is this name itself. */
static void
walk_name(struct walk *w, const char *name, const char *rest, unsigned depth)
{
	struct stat st;

	if (lstat(w->path, &st) < 0) {
		int error = errno;

		if (error == ENOENT && w->ops->gone != NULL)
			w->ops->gone(w->ops->ctx, w->path, name);
		failed(w, error);
	} else if (S_ISDIR(st.st_mode)) {
		if (w->ops->enter == NULL || w->ops->enter(w->ops->ctx, w->path, name))
			walk_folder(w, rest != NULL && rest[0] != '\0' ? rest : NULL, depth + 1);
	} else if (!S_ISREG(st.st_mode)) {
		if (w->ops->other != NULL)
			w->ops->other(w->ops->ctx, w->path, name);
	} else if (rest == NULL && !w->ops->file(w->ops->ctx, w->root, w->path, name)) {
		w->err = BS_ERR_BUSY;
	}
}

/* The first part of a path goes to name; what follows it is returned. */
static const char *
split(const char *path, char name[NAME_MAX + 1])
{
	size_t len = strcspn(path, "/");

	if (len > NAME_MAX)
		len = NAME_MAX;
	memcpy(name, path, len);
	name[len] = '\0';
	return path + len + strspn(path + len, "/");
}

static void
walk_names(struct walk *w, const struct names *names, const char *until, const char *rest, unsigned depth)
{
	for (size_t i = 0; i < names->n && w->err == BS_OK; i++) {
		bool is_until = until != NULL && strcmp(names->names[i], until) == 0;
		size_t len = w->len;

		if (go_to(w, names->names[i])) {
			w->len = strlen(w->path);
			walk_name(w, names->names[i], is_until ? rest : NULL, depth);
		} else {
			leave(w, len);
			failed(w, ENAMETOOLONG);
		}
		leave(w, len);
	}
}

static void
walk_folder(struct walk *w, const char *rest, unsigned depth)
{
	char until[NAME_MAX + 1] = "", last[NAME_MAX + 1] = "";
	struct names names = { .more = true };
	const char *below = rest == NULL ? NULL : split(rest, until);
	bool with_it = rest != NULL;
	DIR *dir;

	if (depth > CTL_WALK_DEPTH) {
		failed(w, ELOOP);
		return;
	}
	dir = opendir(w->path);
	if (dir == NULL) {
		failed(w, errno);
		return;
	}
	if (with_it)
		memcpy(last, until, sizeof(last));
	while (names.more && w->err == BS_OK) {
		enum bs_err err;

		names_clear(&names);
		err = names_read(dir, last[0] == '\0' ? NULL : last, with_it, &names);
		if (err == BS_ERR_IO)
			failed(w, errno);
		else if (err != BS_OK)
			w->err = err;
		if (err != BS_OK)
			break;
		walk_names(w, &names, with_it ? until : NULL, below, depth);
		with_it = false;
		if (names.n > 0)
			snprintf(last, sizeof(last), "%s", names.names[names.n - 1]);
	}
	names_clear(&names);
	closedir(dir);
}

/* What of after lies below root; NULL when it is not below it. */
static const char *
below_root(const char *root, const char *after)
{
	size_t len = strlen(root);

	if (strncmp(root, after, len) != 0)
		return NULL;
	return after + len + strspn(after + len, "/");
}

static void
walk_root(struct walk *w, const char *root, const char *after)
{
	const char *rest = after == NULL ? NULL : below_root(root, after);
	struct stat st;

	leave(w, 0);
	if (!go_to(w, root)) {
		tell_failed(w, root, ENAMETOOLONG);
		return;
	}
	w->len = strlen(w->path);
	if (stat(root, &st) < 0)
		tell_failed(w, root, errno);
	else if (S_ISDIR(st.st_mode))
		walk_folder(w, rest != NULL && rest[0] != '\0' ? rest : NULL, 0);
	else if (after == NULL && !w->ops->file(w->ops->ctx, w->root, root, root))
		w->err = BS_ERR_BUSY;
}

enum bs_err
ctl_walk(char *const *roots, size_t n, size_t first, const char *after, const struct ctl_walk_ops *ops)
{
	struct walk w = { .ops = ops };

	for (w.root = first; w.root < n && w.err == BS_OK; w.root++)
		walk_root(&w, roots[w.root], w.root == first ? after : NULL);
	return w.err;
}

bool
ctl_walk_lies_in(const char *path, const char *name, const char *folder)
{
	size_t len = strlen(folder), before = strlen(path) - strlen(name);

	return before >= len + 2 && path[before - 1] == '/' && strncmp(path + before - 1 - len, folder, len) == 0 &&
	       path[before - 2 - len] == '/';
}
