/* Clients' addresses, their networks, and lists of networks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "milter/network.h"

static struct network_addr
addr(const char *text)
{
	struct network_addr out;

	assert_true(network_addr(text, &out));
	return out;
}

static void
a_client_s_network(void **state)
{
	static const struct {
		const char *addr, *net;
	} list[] = {
		{ "192.0.2.7", "192.0.2.0/24" }, { "::ffff:192.0.2.7", "192.0.2.0/24" }, { "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64" },
		{ "2001:db8::1", "2001:db8::/64" }, { "255.255.255.255", "255.255.255.0/24" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff::/64" },
	};
	char text[NETWORK_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		struct network_addr a = addr(list[i].addr);

		network_text(&a, text);
		assert_string_equal(text, list[i].net);
	}
}

static void
no_addresses(void **state)
{
	static const char *const list[] = { "", "192.0.2", "192.0.2.256", "192.0.2.7 ", "unknown", "2001:db8::g", "192.0.2.7/24" };
	struct network_addr out;

	(void)state;
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		assert_false(network_addr(list[i], &out));
}

static void
private_and_public(void **state)
{
	static const char *const mine[] = { "127.0.0.1", "10.255.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.1.1",
		"100.64.0.1", "100.127.255.255", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fc00::1", "fdff::1",
		"fe80::1", "febf::1", "ff02::1", "::ffff:10.0.0.1" };
	static const char *const world[] = { "128.0.0.1", "11.0.0.1", "172.15.255.255", "172.32.0.1", "192.167.1.1", "100.63.0.1",
		"100.128.0.1", "223.255.255.255", "::2", "2001:db8::1", "fe00::1", "fec0::1", "::ffff:192.0.2.1" };

	(void)state;
	for (size_t i = 0; i < sizeof(mine) / sizeof(mine[0]); i++) {
		struct network_addr a = addr(mine[i]);

		assert_true(network_is_private(&a));
	}
	for (size_t i = 0; i < sizeof(world) / sizeof(world[0]); i++) {
		struct network_addr a = addr(world[i]);

		assert_false(network_is_private(&a));
	}
}

static void
lists(void **state)
{
	static const char *const in[] = { "192.0.2.0", "192.0.2.255", "198.51.100.129", "203.0.113.7", "2001:db8:f::1", "::ffff:203.0.113.7" };
	static const char *const out[] = { "192.0.3.0", "198.51.100.127", "203.0.113.8", "2001:db9::1", "cb00:7107::" };
	struct networks list;

	(void)state;
	assert_int_equal(networks_read(" 192.0.2.0/24,198.51.100.128/25\n203.0.113.7 , 2001:db8::/32 ", &list), BS_OK);
	assert_int_equal(list.n, 4);
	for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
		struct network_addr a = addr(in[i]);

		assert_true(networks_hold(&list, &a));
	}
	for (size_t i = 0; i < sizeof(out) / sizeof(out[0]); i++) {
		struct network_addr a = addr(out[i]);

		assert_false(networks_hold(&list, &a));
	}
	networks_clear(&list);
}

static void
bad_lists(void **state)
{
	static const char *const bad[] = { "192.0.2.1/24", "192.0.2.0/33", "2001:db8::/129", "192.0.2.0/", "192.0.2.0/-1", "x",
		"192.0.2.0/24/8", "192.0.2.0/2x", "2001:db8::1/64",
		"11111111111111111111111111111111111111111111111111111111111111111111111" };
	struct networks list = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(networks_read(bad[i], &list), BS_ERR_ARG);
	assert_int_equal(networks_read("", &list), BS_OK);
	assert_int_equal(list.n, 0);
	assert_int_equal(networks_read("0.0.0.0/0", &list), BS_OK);
	struct network_addr a = addr("203.0.113.1"), b = addr("2001:db8::1");
	assert_true(networks_hold(&list, &a));
	assert_false(networks_hold(&list, &b));
	networks_clear(&list);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_client_s_network), cmocka_unit_test(no_addresses), cmocka_unit_test(private_and_public),
		cmocka_unit_test(lists), cmocka_unit_test(bad_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
