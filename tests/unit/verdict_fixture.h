/* A folder with a verdict key file in it, for tests of the format and of basalt-lmtp. */
#ifndef TESTS_VERDICT_FIXTURE_H
#define TESTS_VERDICT_FIXTURE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/verdict_header.h"

struct verdict_fixture {
	char dir[64], path[128];
	struct bs_verdict_keys *keys;
	char complaint[512]; /* the last one */
	unsigned complaints;
};

static inline void
vf_complain(void *ctx, const char *text)
{
	struct verdict_fixture *fx = ctx;

	fx->complaints++;
	(void)snprintf(fx->complaint, sizeof(fx->complaint), "%s", text);
}

/* Writes the file anew, by another inode. */
static inline void
vf_write(struct verdict_fixture *fx, const char *text, mode_t mode)
{
	char temp[160];
	int fd;

	(void)snprintf(temp, sizeof(temp), "%s.tmp", fx->path);
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fchmod(fd, mode) == 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(rename(temp, fx->path), 0);
}

static inline enum bs_err
vf_open(struct verdict_fixture *fx, char *why, size_t why_size)
{
	return bs_verdict_keys_open(fx->path, BS_VERDICT_LIFETIME_S, vf_complain, fx, &fx->keys, why, why_size);
}

/* With this file in it, opened; NULL: none yet. */
static inline struct verdict_fixture *
vf_new(const char *keyfile)
{
	struct verdict_fixture *fx = calloc(1, sizeof(*fx));
	char why[512] = "";

	assert_non_null(fx);
	assert_int_equal(bs_crypto_init(), BS_OK);
	(void)snprintf(fx->dir, sizeof(fx->dir), "/tmp/basalt-verdict-XXXXXX");
	assert_non_null(mkdtemp(fx->dir));
	(void)snprintf(fx->path, sizeof(fx->path), "%s/verdict.keys", fx->dir);
	if (keyfile != NULL) {
		vf_write(fx, keyfile, 0600);
		assert_int_equal(vf_open(fx, why, sizeof(why)), BS_OK);
	}
	return fx;
}

static inline void
vf_free(struct verdict_fixture *fx)
{
	bs_verdict_keys_free(fx->keys);
	(void)unlink(fx->path);
	(void)rmdir(fx->dir);
	free(fx);
}

#endif
