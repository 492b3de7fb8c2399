/* verdict_keys, verdict_keyfile: which key seals and opens when; files that are not good; a file that changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/verdict_fixture.h"

#define KEY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeef"
#define LINE(id, created) "000000000000000" id " " KEY id " " created "\n"
#define DAY 86400
#define LIFE BS_VERDICT_LIFETIME_S

static struct bs_verdict_keyfile *
parsed(const char *text)
{
	struct bs_verdict_keyfile *file = calloc(1, sizeof(*file));
	unsigned line;

	assert_int_equal(bs_crypto_init(), BS_OK);
	assert_int_equal(bs_verdict_keyfile_parse(text, strlen(text), file, &line), BS_OK);
	return file;
}

static void
each_key_has_its_time(void **state)
{
	/* In no order; 1 seals from 1000, 2 from 2000, 3 from 3000. */
	struct bs_verdict_keyfile *file = parsed(LINE("3", "3000") "# a comment\n\n" LINE("1", "1000") LINE("2", "2000"));
	static const struct {
		int64_t now;
		enum bs_verdict_key_state states[3];
	} rows[] = {
		{ 999, { BS_VERDICT_KEY_NEXT, BS_VERDICT_KEY_NEXT, BS_VERDICT_KEY_NEXT } },
		{ 1000, { BS_VERDICT_KEY_WRITES, BS_VERDICT_KEY_NEXT, BS_VERDICT_KEY_NEXT } },
		{ 2500, { BS_VERDICT_KEY_READS, BS_VERDICT_KEY_WRITES, BS_VERDICT_KEY_NEXT } },
		{ 1000 + LIFE + 1, { BS_VERDICT_KEY_READS, BS_VERDICT_KEY_READS, BS_VERDICT_KEY_WRITES } },
		{ 2000 + LIFE - 1, { BS_VERDICT_KEY_READS, BS_VERDICT_KEY_READS, BS_VERDICT_KEY_WRITES } },
		{ 2000 + LIFE, { BS_VERDICT_KEY_RETIRED, BS_VERDICT_KEY_READS, BS_VERDICT_KEY_WRITES } },
		{ 3000 + LIFE, { BS_VERDICT_KEY_RETIRED, BS_VERDICT_KEY_RETIRED, BS_VERDICT_KEY_WRITES } },
		{ 3000 + 100 * LIFE, { BS_VERDICT_KEY_RETIRED, BS_VERDICT_KEY_RETIRED, BS_VERDICT_KEY_WRITES } },
	};

	(void)state;
	assert_int_equal(file->n, 3);
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++)
		for (size_t i = 0; i < 3; i++)
			assert_int_equal(bs_verdict_keyfile_state(file, i, rows[r].now, LIFE), rows[r].states[i]);
	assert_int_equal(bs_verdict_keyfile_prune(file, 2000 + LIFE, LIFE), 1);
	assert_int_equal(file->n, 2);
	assert_int_equal(file->keys[0].created_s, 2000);
	free(file);
}

static void
other_lines_are_refused(void **state)
{
	static const char *const bad[] = { "", "#\n", "x\n", "0000000000000001 " KEY "1\n", "0000000000000001 " KEY "1 \n",
		"0000000000000001 " KEY "1 -1\n", "0000000000000001 " KEY "1 1 \n", "0000000000000001  " KEY "1 1\n",
		"000000000000000A " KEY "1 1\n", "0000000000000001 " KEY "g 1\n", "0000000000000001 " KEY "1 99999999999999999999\n",
		LINE("1", "1") LINE("1", "2"), LINE("1", "1") "\r\n" };
	struct bs_verdict_keyfile *file = calloc(1, sizeof(*file));
	unsigned line;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(bs_verdict_keyfile_parse(bad[i], strlen(bad[i]), file, &line), BS_ERR_FORMAT);
	free(file);
}

static void
open_modes_are_refused(void **state)
{
	struct verdict_fixture *fx = vf_new(NULL);
	char why[512] = "", link[160];
	static const mode_t bad[] = { 0644, 0604, 0660, 0620 };

	(void)state;
	assert_int_equal(vf_open(fx, why, sizeof(why)), BS_ERR_CONF);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		vf_write(fx, LINE("1", "1"), bad[i]);
		assert_int_equal(vf_open(fx, why, sizeof(why)), BS_ERR_CONF);
		assert_non_null(strstr(why, "chmod"));
		assert_null(strstr(why, KEY));
	}
	vf_write(fx, LINE("1", "1"), 0640);
	assert_int_equal(vf_open(fx, why, sizeof(why)), BS_OK);
	bs_verdict_keys_free(fx->keys);
	fx->keys = NULL;
	(void)snprintf(link, sizeof(link), "%s.link", fx->path);
	assert_int_equal(symlink(fx->path, link), 0);
	assert_int_equal(bs_verdict_keys_open(link, LIFE, NULL, NULL, &fx->keys, why, sizeof(why)), BS_ERR_CONF);
	assert_int_equal(unlink(link), 0);
	vf_free(fx);
}

/* Asks until the look of once a second has come, so long as that takes. */
static enum bs_err
find_soon(struct verdict_fixture *fx, uint8_t last, const char *complaint)
{
	uint8_t id[BS_VERDICT_KEY_ID_LEN] = { 0, 0, 0, 0, 0, 0, 0, last };
	struct bs_verdict_key key;
	enum bs_err err;

	for (int i = 0; i < 500; i++) {
		err = bs_verdict_keys_find(fx->keys, id, 5000, &key);
		if (err == BS_OK && strstr(fx->complaint, complaint) != NULL)
			return err;
		(void)usleep(20000);
	}
	return BS_ERR_TIMEOUT;
}

static void
a_new_file_is_read_and_a_bad_one_is_not(void **state)
{
	struct verdict_fixture *fx = vf_new(LINE("1", "1000"));
	struct bs_verdict_key key;

	(void)state;
	assert_int_equal(bs_verdict_keys_writing(fx->keys, 5000, &key), BS_OK);
	assert_int_equal(key.id[7], 1);
	assert_int_equal(bs_verdict_keys_writing(fx->keys, 500, &key), BS_ERR_NOENT);
	vf_write(fx, LINE("1", "1000") LINE("2", "2000"), 0600);
	assert_int_equal(find_soon(fx, 2, ": 1 keys are older"), BS_OK);
	assert_int_equal(bs_verdict_keys_writing(fx->keys, 5000, &key), BS_OK);
	assert_int_equal(key.id[7], 2);
	vf_write(fx, "rubbish\n", 0600);
	assert_int_equal(find_soon(fx, 2, "verdict.keys:1:"), BS_OK);
	assert_int_equal(unlink(fx->path), 0);
	assert_int_equal(find_soon(fx, 1, "No such file"), BS_OK);
	vf_write(fx, LINE("3", "1000"), 0600);
	assert_int_equal(find_soon(fx, 3, ""), BS_OK);
	vf_free(fx);
}

static void
it_is_written_whole_and_keeps_owner_and_mode(void **state)
{
	struct verdict_fixture *fx = vf_new(NULL);
	struct bs_verdict_keyfile *file = calloc(1, sizeof(*file)), *again = calloc(1, sizeof(*again));
	char why[512] = "", temp[160];
	struct stat st;
	int fd;

	(void)state;
	(void)snprintf(temp, sizeof(temp), "%s.new", fx->path);
	fd = open(temp, O_WRONLY | O_CREAT, 0600); /* a crash left it */
	assert_true(fd >= 0 && close(fd) == 0);
	assert_int_equal(bs_verdict_keyfile_add(file, 1000), BS_OK);
	assert_int_equal(bs_verdict_keyfile_write(fx->path, file, true, (gid_t)-1, why, sizeof(why)), BS_OK);
	assert_int_equal(lstat(temp, &st), -1);
	assert_int_equal(bs_verdict_keyfile_write(fx->path, file, true, (gid_t)-1, why, sizeof(why)), BS_ERR_EXISTS);
	assert_int_equal(chmod(fx->path, 0440), 0);
	assert_int_equal(bs_verdict_keyfile_read(fx->path, file, why, sizeof(why)), BS_OK);
	assert_int_equal(bs_verdict_keyfile_add(file, 2000), BS_OK);
	assert_int_equal(bs_verdict_keyfile_write(fx->path, file, false, (gid_t)-1, why, sizeof(why)), BS_OK);
	assert_int_equal(bs_verdict_keyfile_read(fx->path, again, why, sizeof(why)), BS_OK);
	assert_int_equal(again->n, 2);
	assert_memory_equal(again->keys, file->keys, sizeof(file->keys));
	assert_int_equal(stat(fx->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0440);
	assert_int_equal(bs_verdict_keys_group(fx->path), st.st_gid);
	free(file);
	free(again);
	vf_free(fx);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_key_has_its_time),
		cmocka_unit_test(other_lines_are_refused),
		cmocka_unit_test(open_modes_are_refused),
		cmocka_unit_test(a_new_file_is_read_and_a_bad_one_is_not),
		cmocka_unit_test(it_is_written_whole_and_keeps_owner_and_mode),
	};

	return cmocka_run_group_tests_name("verdict_keys", tests, NULL, NULL);
}
