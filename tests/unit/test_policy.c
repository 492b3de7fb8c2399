/* common/policy: the table of preferences, each item by its name and as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "policy.h"

/* Every item's own value is one of its values, and comes back as it went in. */
static void
test_defaults(void **state)
{
	struct bs_policy policy;
	char value[BS_POLICY_VALUE_MAX + 1], why[200];

	(void)state;
	bs_policy_defaults(&policy);
	for (size_t i = 0; i < bs_policy_n_items; i++) {
		const struct bs_policy_item *item = &bs_policy_items[i];

		assert_true(strlen(item->name) <= BS_POLICY_ITEM_MAX);
		assert_true(item->help[0] != '\0');
		assert_int_equal(bs_policy_set(&policy, item->name, item->def, why, sizeof(why)), BS_OK);
		bs_policy_get(&policy, item, value);
		assert_string_equal(value, item->def);
	}
	for (enum bs_check check = 0; check < BS_CHECK_COUNT; check++)
		assert_int_equal(bs_policy_set(&policy, bs_check_name(check), "drop", NULL, 0), BS_OK);
}

static void
test_values(void **state)
{
	static const struct {
		const char *item, *value;
		enum bs_err err;
	} table[] = {
		{ "spf", "folder", BS_OK }, { "spf", "Folder", BS_ERR_ARG }, { "spf", "", BS_ERR_ARG },
		{ "spf.down", "hit", BS_OK }, { "spf.down", "reject", BS_ERR_ARG }, { "nothing", "off", BS_ERR_NOENT },
		{ "", "off", BS_ERR_NOENT }, { "dnsbl.score", "0", BS_ERR_ARG }, { "dnsbl.score", "1", BS_OK }, { "dnsbl.score", "1000", BS_OK },
		{ "dnsbl.score", "1001", BS_ERR_ARG }, { "dnsbl.score", "-1", BS_ERR_ARG }, { "dnsbl.score", " 1", BS_ERR_ARG },
		{ "dnsbl.score", "1x", BS_ERR_ARG }, { "dnsbl.score", "99999999999999999999", BS_ERR_ARG },
		{ "folder", "Junk/Mail-1.x_y", BS_OK }, { "folder", "../x", BS_ERR_ARG }, { "folder", "a/../b", BS_ERR_ARG },
		{ "folder", "/a", BS_ERR_ARG }, { "folder", "a/", BS_ERR_ARG }, { "folder", "a//b", BS_ERR_ARG },
		{ "folder", "a+b", BS_ERR_ARG }, { "folder", "a@b", BS_ERR_ARG }, { "folder", "", BS_ERR_ARG },
		{ "label", "M\xc3\xbcll:", BS_OK }, { "label", "a\nb", BS_ERR_ARG }, { "label", "", BS_ERR_ARG },
		{ "label.in", "header", BS_OK }, { "label.in", "body", BS_ERR_ARG }, { "plus_folder", "yes", BS_OK },
		{ "plus_folder", "1", BS_ERR_ARG }, { "unverified", "drop", BS_OK }, { "unverified", "reject", BS_ERR_ARG },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct bs_policy before, policy;
		char why[200] = "";
		enum bs_err err;

		bs_policy_defaults(&policy);
		before = policy;
		err = bs_policy_set(&policy, table[i].item, table[i].value, why, sizeof(why));
		if (err != table[i].err)
			fail_msg("%s = \"%s\": %s", table[i].item, table[i].value, bs_err_text(err));
		assert_int_equal(why[0] != '\0', err != BS_OK);
		if (err != BS_OK)
			assert_memory_equal(&before, &policy, sizeof(policy));
	}
}

static void
test_too_long_a_text(void **state)
{
	struct bs_policy policy;
	char text[BS_POLICY_FOLDER_MAX + 2];

	(void)state;
	bs_policy_defaults(&policy);
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(bs_policy_set(&policy, "folder", text, NULL, 0), BS_ERR_ARG);
	text[BS_POLICY_FOLDER_MAX] = '\0';
	assert_int_equal(bs_policy_set(&policy, "folder", text, NULL, 0), BS_OK);
	assert_string_equal(policy.folder, text);
	assert_int_equal(bs_policy_set(&policy, "label", text, NULL, 0), BS_ERR_ARG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_too_long_a_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
