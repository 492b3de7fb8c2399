/* conf: what a person writes into a configuration file, and what he is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/conf.h"

struct settings {
	char *run_dir, *database, *socket;
	int64_t timeout_ms;
	bool strict;
};

/* keyd's items do not stand together on purpose. */
static const struct bs_conf_item items[] = {
	{ "keyd", "run_dir", BS_CONF_STRING, offsetof(struct settings, run_dir), "/run/basalt", 0, 0, "folder of the sockets" },
	{ "kdf", "timeout_ms", BS_CONF_INT, offsetof(struct settings, timeout_ms), "100", -5, 2000, "how long to wait" },
	{ "keyd", "database", BS_CONF_STRING, offsetof(struct settings, database), NULL, 0, 0, "where the keys are" },
	{ "kdf", "strict", BS_CONF_BOOL, offsetof(struct settings, strict), "no", 0, 0, "refuse more" },
	{ "milter", "socket", BS_CONF_STRING, offsetof(struct settings, socket), "odd \" \\ one", 0, 0, "where" },
};
#define N_ITEMS (sizeof(items) / sizeof(items[0]))

static char path[] = "/tmp/basalt-test-conf-XXXXXX";

static void
write_file(const char *text, size_t len)
{
	FILE *fp = fopen(path, "we");

	assert_non_null(fp);
	assert_int_equal(fwrite(text, 1, len, fp), len);
	assert_int_equal(fclose(fp), 0);
}

static void
load(const char *text, struct settings *out)
{
	char err[512];

	write_file(text, strlen(text));
	memset(out, 0, sizeof(*out));
	if (bs_conf_load(path, items, N_ITEMS, out, err, sizeof(err)) != BS_OK)
		fail_msg("%s", err);
	assert_string_equal(err, "");
}

static void
test_good_files(void **state)
{
	struct settings s;

	(void)state;
	load("# comment ${HOME}\nkeyd {\n\tdatabase = sqlite:///var/lib/x  // bare words\n}\n", &s);
	assert_string_equal(s.run_dir, "/run/basalt");
	assert_string_equal(s.database, "sqlite:///var/lib/x");
	bs_conf_clear(items, N_ITEMS, &s);
	load("keyd { database = \"sqlite:///var/lib/x\" run_dir = '/a \"b\" c' }\nkdf { timeout_ms = 010 strict = on }\n"
	    "milter { socket = unix:/run/s }", &s);
	assert_string_equal(s.run_dir, "/a \"b\" c");
	assert_string_equal(s.database, "sqlite:///var/lib/x");
	assert_string_equal(s.socket, "unix:/run/s");
	assert_int_equal(s.timeout_ms, 10);
	assert_true(s.strict);
	bs_conf_clear(items, N_ITEMS, &s);
	assert_null(s.run_dir);
	load("keyd { database = x }\nkdf { timeout_ms = -5 }\nkdf { strict = true }\n", &s);
	assert_int_equal(s.timeout_ms, -5);
	assert_true(s.strict);
	bs_conf_clear(items, N_ITEMS, &s);
}

static void
test_bad_files(void **state)
{
	static const struct { const char *text, *want; } cases[] = {
		{ "keyd { database = x\n run_dr = y }\n", ":2: unknown key \"run_dr\" in section keyd; there are: run_dir, database" },
		{ "\nkyd { database = x }\n", ":2: unknown section \"kyd\"; there are: keyd, kdf, milter" },
		{ "\n\ndatabase = x\n", ":3: \"database\" stands outside a section; put it inside keyd { }" },
		{ "keyd { database = x }\nkdf { timeout_ms = 2001 }", ":2: kdf.timeout_ms: 2001 is out of range; give a number from -5 to 2000" },
		{ "keyd { database = x }\nkdf { timeout_ms = -6 }", ":2: kdf.timeout_ms: -6 is out of range" },
		{ "kdf {\ntimeout_ms = 5s }", ":2: kdf.timeout_ms: \"5s\" is not a whole number" },
		{ "kdf {\ntimeout_ms = 0x10 }", ":2: kdf.timeout_ms: \"0x10\" is not a whole number" },
		{ "kdf {\ntimeout_ms = \"\" }", ":2: kdf.timeout_ms: \"\" is not a whole number" },
		{ "kdf {\ntimeout_ms = \" 5\" }", ":2: kdf.timeout_ms: \" 5\" is not a whole number" },
		{ "kdf {\ntimeout_ms = 99999999999999999999 }", ":2: kdf.timeout_ms: \"99999999999999999999\" is not" },
		{ "kdf {\n\nstrict = maybe }", ":3: kdf.strict: \"maybe\" is neither yes nor no" },
		{ "keyd {\nrun_dir = x\n}\n", ":3: keyd.database is missing; add database = ... to section keyd { } (where the keys are)" },
		{ "", ":1: keyd.database is missing" },
		{ "keyd { database = x\n database = y }", ":2: keyd.database was given at line 1 already" },
		{ "# a\nkeyd { # b\n # c\n database = \"x#y\" # d\n\n # e \"\n database = y }", ":7: keyd.database was given at line 4 already" },
		{ "keyd { database = x }\nkeyd { database = y }", ":2: keyd.database was given at line 1 already" },
		{ "keyd { database = x\n run_dir = \"${HOME}/run\" }\n", ":2: ${...} is not replaced in this file" },
		{ "keyd { database = ${HOME} }", ":1: ${...} is not replaced in this file" },
		{ "keyd {\n database = x\n", ":2: section keyd is not closed; add a }" },
		{ "keyd { database = x }\n/* open", ":2: a string or a comment is not closed" },
		{ "keyd { database = \"x }\n", ":1: " },
		{ "keyd { database = 'x }\n", ":1: unterminated string constant" },
		{ "keyd { database = x } }\n", ":1: unexpected closing brace" },
		{ "keyd { database x }\n", ":1: missing equal sign after option 'database'" },
		{ "keyd = x\n", ":1: missing opening brace for section 'keyd'" },
		{ "keyd { database += x }\n", ":1: attempt to append" },
		{ "include(\"/etc/passwd\")\n", ":1: unknown section \"include\"" },
		{ "keyd { keyd { database = x } }\n", ":1: unknown key \"keyd\" in section keyd" },
	};
	struct settings s, untouched;
	char err[512];

	(void)state;
	memset(&s, 0x55, sizeof(s));
	memcpy(&untouched, &s, sizeof(s));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		write_file(cases[i].text, strlen(cases[i].text));
		assert_int_equal(bs_conf_load(path, items, N_ITEMS, &s, err, sizeof(err)), BS_ERR_CONF);
		if (strncmp(err, path, strlen(path)) != 0 || strncmp(err + strlen(path), cases[i].want, strlen(cases[i].want)) != 0)
			fail_msg("case %zu: \"%s\", wanted \"%s\"", i, err, cases[i].want);
	}
	assert_memory_equal(&s, &untouched, sizeof(s));
	/* No state of the lexer stays behind the errors. */
	load("keyd { database = x }", &s);
	bs_conf_clear(items, N_ITEMS, &s);
}

static void
test_no_configuration_at_all(void **state)
{
	struct settings s;
	char err[512], tiny[8];
	char *huge = malloc(1100000);

	(void)state;
	assert_int_equal(bs_conf_load("/nonexistent", items, N_ITEMS, &s, err, sizeof(err)), BS_ERR_CONF);
	assert_string_equal(err, "/nonexistent: can't be opened: No such file or directory; "
	    "-c FILE names another, and --defaults prints one to start from");
	assert_int_equal(bs_conf_load("/tmp", items, N_ITEMS, &s, err, sizeof(err)), BS_ERR_CONF);
	assert_string_equal(err, "/tmp: can't be read: Is a directory");
	assert_int_equal(bs_conf_load("/nonexistent", items, N_ITEMS, &s, tiny, sizeof(tiny)), BS_ERR_CONF);
	assert_string_equal(tiny, "/nonexi");
	write_file("keyd {\0}", 8);
	assert_int_equal(bs_conf_load(path, items, N_ITEMS, &s, err, sizeof(err)), BS_ERR_CONF);
	assert_non_null(strstr(err, "zero byte"));
	assert_non_null(huge);
	memset(huge, '\n', 1100000);
	write_file(huge, 1100000);
	assert_int_equal(bs_conf_load(path, items, N_ITEMS, &s, err, sizeof(err)), BS_ERR_CONF);
	assert_non_null(strstr(err, "larger than"));
	free(huge);
}

/* What --defaults prints is a configuration, but for what is required. */
static void
test_defaults(void **state)
{
	struct settings s;
	char *text = NULL, err[512];
	size_t len = 0;
	FILE *fp = open_memstream(&text, &len);

	(void)state;
	assert_non_null(fp);
	bs_conf_print_defaults(items, N_ITEMS, fp);
	assert_int_equal(fclose(fp), 0);
	assert_string_equal(text,
	    "keyd {\n"
	    "    # folder of the sockets\n"
	    "    run_dir = \"/run/basalt\"\n"
	    "    # where the keys are; required\n"
	    "    # database = \"\"\n"
	    "}\n"
	    "kdf {\n"
	    "    # how long to wait (-5 to 2000)\n"
	    "    timeout_ms = 100\n"
	    "    # refuse more (yes or no)\n"
	    "    strict = no\n"
	    "}\n"
	    "milter {\n"
	    "    # where\n"
	    "    socket = \"odd \\\" \\\\ one\"\n"
	    "}\n");
	write_file(text, len);
	assert_int_equal(bs_conf_load(path, items, N_ITEMS, &s, err, sizeof(err)), BS_ERR_CONF);
	assert_non_null(strstr(err, "keyd.database is missing"));
	*strstr(text, "# database") = ' ';
	load(text, &s);
	assert_string_equal(s.database, "");
	assert_string_equal(s.socket, "odd \" \\ one");
	bs_conf_clear(items, N_ITEMS, &s);
	free(text);
}

static int
setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	if (fd < 0)
		return -1;
	/* libconfuse would take the language of its texts from here. */
	(void)setenv("LC_ALL", "de_DE.UTF-8", 1);
	return close(fd);
}

static int
teardown(void **state)
{
	(void)state;
	return unlink(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_files),
		cmocka_unit_test(test_bad_files),
		cmocka_unit_test(test_no_configuration_at_all),
		cmocka_unit_test(test_defaults),
	};

	return cmocka_run_group_tests_name("conf", tests, setup, teardown);
}
