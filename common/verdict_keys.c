#include "verdict_keys.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_EVERY_MS 1000

struct bs_verdict_keys {
	pthread_mutex_t lock;
	char *path;
	int64_t lifetime_s;
	void (*complain)(void *ctx, const char *text);
	void *ctx;
	int64_t looked_ms;
	struct stat seen;                 /* what the last look found, good or bad */
	struct bs_verdict_keyfile *file;  /* locked memory */
	struct bs_verdict_keyfile *fresh; /* where a new file is read to */
};

static int64_t
monotonic_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mode == b->st_mode
	    && a->st_uid == b->st_uid && a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec
	    && a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void
complain_of_retired(struct bs_verdict_keys *keys)
{
	char text[512];
	size_t n = 0;
	int64_t now_s = (int64_t)time(NULL);

	while (n < keys->file->n && bs_verdict_keyfile_state(keys->file, n, now_s, keys->lifetime_s) == BS_VERDICT_KEY_RETIRED)
		n++;
	if (n == 0 || keys->complain == NULL)
		return;
	(void)snprintf(text, sizeof(text), "%.400s: %zu keys are older than mail in a queue can be, and are ignored", keys->path, n);
	keys->complain(keys->ctx, text);
}

/* Reads the file if it is another than before. */
static void
look(struct bs_verdict_keys *keys)
{
	struct bs_verdict_keyfile *old = keys->file;
	char text[512] = "";
	struct stat st = { 0 };
	int64_t now_ms = monotonic_ms();

	if (now_ms - keys->looked_ms < LOOK_EVERY_MS)
		return;
	keys->looked_ms = now_ms;
	(void)stat(keys->path, &st); /* gone: all zeros, which no file is */
	if (same_file(&st, &keys->seen))
		return;
	keys->seen = st;
	if (bs_verdict_keyfile_read(keys->path, keys->fresh, text, sizeof(text)) == BS_OK) {
		keys->file = keys->fresh;
		keys->fresh = old;
		complain_of_retired(keys);
	} else if (keys->complain != NULL) {
		keys->complain(keys->ctx, text);
	}
	bs_wipe(keys->fresh, sizeof(*keys->fresh));
}

enum bs_err
bs_verdict_keys_open(const char *path, int64_t lifetime_s, void (*complain)(void *ctx, const char *text), void *ctx,
    struct bs_verdict_keys **out, char *errbuf, size_t errbuf_size)
{
	struct bs_verdict_keys *keys = calloc(1, sizeof(*keys));
	enum bs_err err = BS_ERR_NOMEM;

	if (keys == NULL)
		return err;
	keys->lifetime_s = lifetime_s;
	keys->complain = complain;
	keys->ctx = ctx;
	(void)pthread_mutex_init(&keys->lock, NULL);
	keys->path = strdup(path);
	keys->file = bs_secret_new(sizeof(*keys->file));
	keys->fresh = bs_secret_new(sizeof(*keys->fresh));
	if (keys->path != NULL && keys->file != NULL && keys->fresh != NULL)
		err = bs_verdict_keyfile_read(path, keys->file, errbuf, errbuf_size);
	else
		(void)snprintf(errbuf, errbuf_size, "%s: out of memory, or of memory that may be locked", path);
	if (err != BS_OK) {
		bs_verdict_keys_free(keys);
		return err;
	}
	keys->seen = keys->file->st;
	keys->looked_ms = monotonic_ms();
	complain_of_retired(keys);
	*out = keys;
	return BS_OK;
}

void
bs_verdict_keys_free(struct bs_verdict_keys *keys)
{
	if (keys == NULL)
		return;
	bs_secret_free(keys->file);
	bs_secret_free(keys->fresh);
	(void)pthread_mutex_destroy(&keys->lock);
	free(keys->path);
	free(keys);
}

enum bs_err
bs_verdict_keys_writing(struct bs_verdict_keys *keys, int64_t now_s, struct bs_verdict_key *out)
{
	enum bs_err err = BS_ERR_NOENT;

	(void)pthread_mutex_lock(&keys->lock);
	look(keys);
	for (size_t i = keys->file->n; err != BS_OK && i-- > 0;) {
		if (bs_verdict_keyfile_state(keys->file, i, now_s, keys->lifetime_s) == BS_VERDICT_KEY_WRITES) {
			*out = keys->file->keys[i];
			err = BS_OK;
		}
	}
	(void)pthread_mutex_unlock(&keys->lock);
	return err;
}

enum bs_err
bs_verdict_keys_find(struct bs_verdict_keys *keys, const uint8_t id[BS_VERDICT_KEY_ID_LEN], int64_t now_s,
    struct bs_verdict_key *out)
{
	enum bs_err err = BS_ERR_NOENT;

	(void)pthread_mutex_lock(&keys->lock);
	look(keys);
	for (size_t i = 0; err != BS_OK && i < keys->file->n; i++) {
		if (memcmp(keys->file->keys[i].id, id, BS_VERDICT_KEY_ID_LEN) == 0
		    && bs_verdict_keyfile_state(keys->file, i, now_s, keys->lifetime_s) != BS_VERDICT_KEY_RETIRED) {
			*out = keys->file->keys[i];
			err = BS_OK;
		}
	}
	(void)pthread_mutex_unlock(&keys->lock);
	return err;
}

int64_t
bs_verdict_keys_lifetime(const struct bs_verdict_keys *keys)
{
	return keys->lifetime_s;
}

gid_t
bs_verdict_keys_group(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && (st.st_mode & 040) != 0 ? st.st_gid : (gid_t)-1;
}
