/* milter/milter_wire: packets of the milter protocol against their bytes, written out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "milter/milter_wire.h"

#define BYTES(text) { .data = (const uint8_t *)(text), .len = sizeof(text) - 1 }

static void
test_next(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		enum bs_err err;
	} table[] = {
		{ "", 0, BS_ERR_SHORT }, { "\0\0\0", 3, BS_ERR_SHORT }, { "\0\0\0\1", 4, BS_ERR_SHORT },
		{ "\0\0\0\0", 4, BS_ERR_FORMAT }, { "\0\0\0\3Bx", 6, BS_ERR_SHORT }, { "\0\4\0\1", 4, BS_ERR_LIMIT },
		{ "\xff\xff\xff\xff", 4, BS_ERR_LIMIT }, { "\0\4\0\0", 4, BS_ERR_SHORT }, { "\0\0\0\1Q", 5, BS_OK },
	};
	struct milter_packet packet;
	size_t used = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_int_equal(milter_wire_next((const uint8_t *)table[i].bytes, table[i].len, &packet, &used), table[i].err);
	assert_int_equal(milter_wire_next((const uint8_t *)"\0\0\0\3Bxyrest", 11, &packet, &used), BS_OK);
	assert_int_equal(used, 7);
	assert_int_equal(packet.command, MILTER_BODY);
	assert_int_equal(packet.len, 2);
	assert_memory_equal(packet.data, "xy", 2);
}

static void
test_client(void **state)
{
	static const struct {
		struct milter_packet packet;
		enum bs_err err;
		const char *name, *address;
	} table[] = {
		{ BYTES("mx\0004\x12\x34" "192.0.2.1\0"), BS_OK, "mx", "192.0.2.1" },
		{ BYTES("mx\0006\x12\x34" "2001:db8::1\0"), BS_OK, "mx", "2001:db8::1" },
		{ BYTES("mx\0006\x12\x34" "IPv6:2001:db8::1\0"), BS_OK, "mx", "2001:db8::1" },
		{ BYTES("localhost\0L\0\0/run/x\0"), BS_OK, "localhost", "" },
		{ BYTES("localhost\0U"), BS_OK, "localhost", "" },
		{ BYTES("mx\0004\x12\x34" "192.0.2.1"), BS_ERR_FORMAT, NULL, NULL },
		{ BYTES("mx\0004\x12\x34" "192.0.2.1\0x"), BS_ERR_FORMAT, NULL, NULL },
		{ BYTES("mx\0004\x12"), BS_ERR_FORMAT, NULL, NULL },
		{ BYTES("mx\0"), BS_ERR_FORMAT, NULL, NULL },
		{ BYTES("mx"), BS_ERR_FORMAT, NULL, NULL },
		{ BYTES(""), BS_ERR_FORMAT, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct milter_client client;

		assert_int_equal(milter_wire_client(&table[i].packet, &client), table[i].err);
		if (table[i].err != BS_OK)
			continue;
		assert_string_equal(client.name, table[i].name);
		assert_string_equal(client.address, table[i].address);
	}
}

static void
test_strings(void **state)
{
	const struct milter_packet good = BYTES("<a@b>\0SIZE=1\0\0"), open_end = BYTES("<a@b>\0SIZE"), empty = BYTES("");
	uint8_t many[2 * MILTER_ARGS_MAX + 2];
	struct milter_packet packet = { .data = many, .len = (size_t)2 * MILTER_ARGS_MAX };
	char *args[MILTER_ARGS_MAX + 1];
	const char *one;

	(void)state;
	assert_int_equal(milter_wire_strings(&good, args), BS_OK);
	assert_string_equal(args[0], "<a@b>");
	assert_string_equal(args[1], "SIZE=1");
	assert_string_equal(args[2], "");
	assert_null(args[3]);
	assert_int_equal(milter_wire_strings(&open_end, args), BS_ERR_FORMAT);
	assert_int_equal(milter_wire_strings(&empty, args), BS_ERR_FORMAT);
	assert_int_equal(milter_wire_string(&good, &one), BS_ERR_FORMAT);
	for (size_t i = 0; i < sizeof(many); i++)
		many[i] = i % 2 == 0 ? 'x' : '\0';
	assert_int_equal(milter_wire_strings(&packet, args), BS_OK);
	packet.len += 2;
	assert_int_equal(milter_wire_strings(&packet, args), BS_ERR_LIMIT);
}

static void
test_macros(void **state)
{
	const struct milter_packet good = BYTES("Mi\0" "4ABC\0{auth_authen}\0alice\0{x}\0\0"), odd = BYTES("Mi\0"), none = BYTES("E");
	const struct milter_packet empty = BYTES("");
	const uint8_t *pairs;
	uint8_t command;
	size_t len;

	(void)state;
	assert_int_equal(milter_wire_macros(&good, &command, &pairs, &len), BS_OK);
	assert_int_equal(command, 'M');
	assert_string_equal(milter_wire_macro(pairs, len, "i"), "4ABC");
	assert_string_equal(milter_wire_macro(pairs, len, "{auth_authen}"), "alice");
	assert_string_equal(milter_wire_macro(pairs, len, "auth_authen"), "alice");
	assert_string_equal(milter_wire_macro(pairs, len, "{x}"), "");
	assert_null(milter_wire_macro(pairs, len, "4ABC"));
	assert_int_equal(milter_wire_macros(&odd, &command, &pairs, &len), BS_ERR_FORMAT);
	assert_int_equal(milter_wire_macros(&empty, &command, &pairs, &len), BS_ERR_FORMAT);
	assert_int_equal(milter_wire_macros(&none, &command, &pairs, &len), BS_OK);
	assert_null(milter_wire_macro(pairs, len, "i"));
}

static void
expect(struct bs_buf *buf, enum bs_err err, const char *bytes, size_t len)
{
	assert_int_equal(err, BS_OK);
	assert_int_equal(bs_buf_len(buf), len);
	assert_memory_equal(bs_buf_data(buf), bytes, len);
	bs_buf_reset(buf);
}

#define EXPECT(buf, call, bytes) expect(buf, call, bytes, sizeof(bytes) - 1)

static void
test_writing(void **state)
{
	const struct milter_offer offer = { .version = 6, .actions = 0x131, .steps = 0x1007ff };
	const char *const macros[MILTER_MACRO_STAGES] = { [MILTER_AT_MAIL] = "i {x}", [MILTER_AT_END] = "i" };
	struct bs_buf *buf = bs_buf_new(4096);

	(void)state;
	EXPECT(buf, milter_wire_put(buf, MILTER_CONTINUE, NULL, 0), "\0\0\0\1c");
	EXPECT(buf, milter_wire_put_offer(buf, &offer, NULL), "\0\0\0\x0dO\0\0\0\6\0\0\1\x31\0\x10\x07\xff");
	EXPECT(buf, milter_wire_put_offer(buf, &offer, macros),
	    "\0\0\0\x1dO\0\0\0\6\0\0\1\x31\0\x10\x07\xff\0\0\0\2i {x}\0\0\0\0\5i\0");
	EXPECT(buf, milter_wire_put_insert(buf, 0, "X", " a\n\tb"), "\0\0\0\x0d" "i\0\0\0\0X\0 a\n\tb\0");
	EXPECT(buf, milter_wire_put_change(buf, 258, "X", ""), "\0\0\0\x08m\0\0\1\2X\0\0");
	EXPECT(buf, milter_wire_put_quarantine(buf, "a\nb"), "\0\0\0\5qa?b\0");
	bs_buf_free(buf);
}

/* Neither a name nor a value may begin a header of its own. */
static void
test_headers_that_would_break_out(void **state)
{
	static const struct {
		const char *name, *value;
	} table[] = { { "", " x" }, { "A:B", " x" }, { "A\n", " x" }, { "A\r", " x" }, { "A", " x\nB: y" }, { "A", " x\r\n y" },
		{ "A", " x\n" } };
	struct bs_buf *buf = bs_buf_new(4096);

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(milter_wire_put_insert(buf, 0, table[i].name, table[i].value), BS_ERR_ARG);
		assert_int_equal(bs_buf_len(buf), 0);
	}
	bs_buf_free(buf);
}

static void
test_replies(void **state)
{
	static const struct smtp_reply general[] = {
		{ "550", "5.1.1", "" }, { "550", "5.1.1", "a\r\n250 b" }, { "550", "4.1.1", "text" }, { "55", "5.1.1", "text" },
		{ "550", "5.1x1", "text" }, { "550", "", "text" }, { "550", "5.1.1", "caf\xc3\xa9" },
	};
	const struct smtp_reply good = { "550", "5.7.1", "50% off" }, late = { "451", "", "" };
	struct bs_buf *buf = bs_buf_new(4096);

	(void)state;
	EXPECT(buf, milter_wire_put_reply(buf, &good), "\0\0\0\x14y550 5.7.1 50%% off\0");
	EXPECT(buf, milter_wire_put_reply(buf, &late), "\0\0\0\1t");
	for (size_t i = 0; i < sizeof(general) / sizeof(general[0]); i++)
		EXPECT(buf, milter_wire_put_reply(buf, &general[i]), "\0\0\0\1r");
	bs_buf_free(buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_next),
		cmocka_unit_test(test_client),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_macros),
		cmocka_unit_test(test_writing),
		cmocka_unit_test(test_headers_that_would_break_out),
		cmocka_unit_test(test_replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
