/* milter/spool: memory, then a file without a name on a tmpfs that is small, full, or none. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "milter/spool.h"

#define MEMORY 1000
#define MESSAGE 200000
#define TOTAL 300000
#define TMPFS "size=256k,mode=0700"

static char folder[] = "/tmp/basalt-spool-XXXXXX"; /* mkdtemp(3) fills it in */

/* In a mount namespace of our own: it goes with us. */
static int
mount_tmpfs(void **state)
{
	(void)state;
	if (mkdtemp(folder) == NULL || unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return -1;
	return mount("tmpfs", folder, "tmpfs", 0, TMPFS);
}

static int
unmount(void **state)
{
	(void)state;
	(void)umount(folder);
	return rmdir(folder);
}

static struct spools *
open_spools(const char *where)
{
	const struct spools_settings settings = { .folder = where, .memory_max = MEMORY, .message_max = MESSAGE,
		.total_max = TOTAL };
	struct spools *spools;
	char why[300] = "";

	if (spools_new(&settings, why, sizeof(why), &spools) != BS_OK)
		fail_msg("%s", why);
	return spools;
}

static uint8_t
byte_at(size_t i)
{
	return (uint8_t)(i * 31 + i / 251);
}

/* Appends len bytes of the pattern in pieces. */
static enum bs_err
append(struct spool *spool, size_t len, size_t piece)
{
	uint8_t data[5000];
	enum bs_err err = BS_OK;

	for (size_t done = 0; done < len && err == BS_OK;) {
		size_t n = len - done < piece ? len - done : piece;

		for (size_t i = 0; i < n; i++)
			data[i] = byte_at((size_t)spool_len(spool) + i);
		err = spool_append(spool, data, n);
		done += n;
	}
	return err;
}

static void
check(const struct spool *spool, size_t offset, size_t len, size_t expected)
{
	uint8_t data[5000];
	size_t n = 77;

	assert_int_equal(spool_read(spool, offset, data, len, &n), BS_OK);
	assert_int_equal(n, expected);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(data[i], byte_at(offset + i));
}

static int
files_open(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++) {
		char path[32], to[200];
		ssize_t len;

		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		len = readlink(path, to, sizeof(to) - 1);
		n += len > 0 && strncmp(to, folder, strlen(folder)) == 0;
	}
	return n;
}

static void
test_from_memory_into_a_file(void **state)
{
	static const size_t sizes[] = { 0, 1, MEMORY - 1, MEMORY, MEMORY + 1, 50000 }, pieces[] = { 1, 999, 1000, 1001, 5000 };
	struct spools *spools = open_spools(folder);

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t j = 0; j < sizeof(pieces) / sizeof(pieces[0]); j++) {
			struct spool *spool = spool_new(spools);
			size_t len = sizes[i];

			assert_int_equal(append(spool, len, pieces[j]), BS_OK);
			assert_int_equal(spool_len(spool), len);
			assert_int_equal(spools_used(spools), len);
			assert_int_equal(files_open(), len > MEMORY);
			check(spool, 0, 5000, len < 5000 ? len : 5000);
			check(spool, len, 10, 0);
			check(spool, len + 1000, 10, 0);
			if (len >= 10) {
				check(spool, len - 10, 5000, 10);
				check(spool, len / 2, 3, 3);
			}
			spool_free(spool);
			assert_int_equal(files_open(), 0);
			assert_int_equal(spools_used(spools), 0);
		}
	}
	spools_free(spools);
}

static void
test_bounds(void **state)
{
	struct spools *spools = open_spools(folder);
	struct spool *a = spool_new(spools), *b = spool_new(spools);

	(void)state;
	assert_int_equal(append(a, MESSAGE, 5000), BS_OK);
	assert_int_equal(spool_append(a, "x", 1), BS_ERR_LIMIT);
	assert_int_equal(spool_append(a, "", 0), BS_ERR_IO); /* it is not whole any more */
	assert_int_equal(spools_used(spools), MESSAGE);
	spool_free(a);
	a = spool_new(spools);
	assert_int_equal(append(a, 190000, 5000), BS_OK);
	assert_int_equal(append(b, MEMORY, 500), BS_OK);
	spool_free(a);
	assert_int_equal(spools_used(spools), MEMORY);
	spool_free(b);
	spools_free(spools);
}

static void
test_all_together(void **state)
{
	const struct spools_settings settings = { .folder = "", .memory_max = 1000, .message_max = 1000, .total_max = 1500 };
	struct spools *spools = NULL;
	struct spool *a, *b;

	(void)state;
	assert_int_equal(spools_new(&settings, NULL, 0, &spools), BS_OK);
	a = spool_new(spools);
	b = spool_new(spools);
	assert_int_equal(append(a, 1000, 1000), BS_OK);
	assert_int_equal(append(b, 501, 501), BS_ERR_BUSY);
	assert_true(bs_err_is_transient(BS_ERR_BUSY));
	spool_free(b);
	b = spool_new(spools);
	assert_int_equal(append(b, 500, 500), BS_OK);
	spool_free(a);
	spool_free(b);
	assert_int_equal(spools_used(spools), 0);
	spools_free(spools);
}

/* 256 KiB are less than one message and another may have. */
static void
test_a_full_tmpfs_is_transient(void **state)
{
	struct spools *spools = open_spools(folder);
	struct spool *a = spool_new(spools), *b = spool_new(spools);

	(void)state;
	assert_int_equal(append(a, 195000, 5000), BS_OK);
	assert_int_equal(append(b, 100000, 5000), BS_ERR_BUSY);
	check(a, 190000, 5000, 5000);
	spool_free(b);
	spool_free(a);
	a = spool_new(spools);
	assert_int_equal(append(a, 195000, 5000), BS_OK);
	spool_free(a);
	spools_free(spools);
}

static void
test_without_a_folder(void **state)
{
	struct spools *spools = open_spools("");
	struct spool *spool = spool_new(spools);

	(void)state;
	assert_int_equal(append(spool, MEMORY, 100), BS_OK);
	assert_int_equal(spool_append(spool, "x", 1), BS_ERR_LIMIT);
	spool_free(spool);
	spools_free(spools);
}

static void
test_folders_that_cannot_serve(void **state)
{
	static const char *const folders[] = { "/proc", "/nonexistent/folder" }, *const texts[] = { "mount -t tmpfs", "No such" };
	struct spools *spools;
	char why[300];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		const struct spools_settings settings = { .folder = folders[i], .memory_max = 1, .message_max = 1, .total_max = 1 };

		assert_int_equal(spools_new(&settings, why, sizeof(why), &spools), BS_ERR_CONF);
		assert_non_null(strstr(why, texts[i]));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from_memory_into_a_file),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_all_together),
		cmocka_unit_test(test_a_full_tmpfs_is_transient),
		cmocka_unit_test(test_without_a_folder),
		cmocka_unit_test(test_folders_that_cannot_serve),
	};

	return cmocka_run_group_tests(tests, mount_tmpfs, unmount);
}
