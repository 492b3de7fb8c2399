/* escrow: the file of domains whose accounts an offline key opens, and who may have written it; lastuse beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "keyd/escrow.h"
#include "keyd/lastuse.h"

#define HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static char path[] = "/tmp/basalt-test-escrow-XXXXXX";
static char errbuf[300];

static enum bs_err
load(const char *text, mode_t mode, struct escrow **out)
{
	FILE *fp = fopen(path, "w");

	assert_non_null(fp);
	(void)fputs(text, fp);
	(void)fclose(fp);
	assert_int_equal(chmod(path, mode), 0);
	*out = NULL;
	return escrow_load(path, out, errbuf, sizeof(errbuf));
}

static void
test_found_by_domain(void **state)
{
	struct escrow *escrow;
	const struct escrow_key *key;

	(void)state;
	assert_int_equal(load("# ours\n\n  Example.ORG " HEX " Example Ltd, Berlin \nexample.net\t" HEX "\tB\xc3\xbcro", 0644, &escrow), BS_OK);
	key = escrow_find(escrow, "alice@example.org");
	assert_non_null(key);
	assert_string_equal(key->name, "Example Ltd, Berlin");
	assert_int_equal(key->public_key[31], 0x1f);
	assert_string_equal(escrow_find(escrow, "a@example.net")->name, "B\xc3\xbcro");
	assert_null(escrow_find(escrow, "alice@sub.example.org"));
	assert_null(escrow_find(escrow, "alice@xample.org"));
	assert_null(escrow_find(escrow, "example.org"));
	escrow_free(escrow);
	assert_null(escrow_find(NULL, "alice@example.org"));
	assert_int_equal(escrow_load("", &escrow, errbuf, sizeof(errbuf)), BS_OK);
	assert_null(escrow);
}

static void
test_refused(void **state)
{
	static const char *const lines[] = { "example.org", "example.org " HEX, "example.org " HEX " ", "example.org 00 x",
		"example.org " HEX "00 x", "exa mple.org " HEX " x", "example.org g" HEX " x", "example.org " HEX " tab\there",
		"example.org " HEX " \xff", "example.org " HEX " 0123456789012345678901234567890123456789012345678901234567890123x",
		"a@example.org " HEX " x" };
	struct escrow *escrow;
	struct stat st;
	char longer[700];

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (load(lines[i], 0600, &escrow) != BS_ERR_CONF || strstr(errbuf, ":1:") == NULL)
			fail_msg("taken: %s", lines[i]);
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(load(longer, 0600, &escrow), BS_ERR_CONF);
	assert_int_equal(load("a.org " HEX " x\nA.org " HEX " x\n", 0600, &escrow), BS_ERR_CONF);
	assert_int_equal(load("a.org " HEX " x\n", 0664, &escrow), BS_ERR_CONF); /* others may name a key of their own */
	assert_int_equal(load("a.org " HEX " x\n", 0606, &escrow), BS_ERR_CONF);
	assert_int_equal(stat(path, &st), 0);
	if (st.st_uid == 0) {
		assert_int_equal(chmod(path, 0600), 0);
		assert_int_equal(chown(path, 62009, 0), 0);
		assert_int_equal(escrow_load(path, &escrow, errbuf, sizeof(errbuf)), BS_ERR_CONF);
		assert_int_equal(chown(path, 0, 0), 0);
	}
	assert_int_equal(escrow_load("/nonexistent/escrow", &escrow, errbuf, sizeof(errbuf)), BS_ERR_CONF);
	assert_null(escrow);
}

static void
test_lastuse(void **state)
{
	struct lastuse *uses = lastuse_new(8);
	uint8_t id[BS_ID_LEN] = { 0 };

	(void)state;
	assert_non_null(uses);
	for (uint64_t i = 1; i <= 5; i++) {
		memset(id, 2 * (int)i, sizeof(id)); /* all of one bucket */
		assert_int_equal(lastuse_get(uses, id), 0);
		lastuse_note(uses, id, i == 1 ? 90 : i);
		assert_int_equal(lastuse_get(uses, id), i == 1 ? 90 : i);
	}
	memset(id, 2, sizeof(id));
	assert_int_equal(lastuse_get(uses, id), 90);
	memset(id, 4, sizeof(id)); /* the one used longest ago made room */
	assert_int_equal(lastuse_get(uses, id), 0);
	lastuse_free(uses);
	lastuse_free(NULL);
}

static int
setup_group(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int
teardown_group(void **state)
{
	(void)state;
	return unlink(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found_by_domain),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_lastuse),
	};

	return cmocka_run_group_tests_name("escrow", tests, setup_group, teardown_group);
}
