/* milter/milter_conn: scripts of a mail server against an application that writes down what it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "milter/milter_conn.h"

/* What happened, in short words. */
struct scene {
	char seen[2000];
	struct transport_answer at_end;
	bool refuse_begin;
	struct milter_conn *conn;
};

static void __attribute__((format(printf, 2, 3)))
note(struct scene *scene, const char *fmt, ...)
{
	size_t len = strlen(scene->seen);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(scene->seen + len, sizeof(scene->seen) - len, fmt, ap);
	va_end(ap);
}

static void *
on_open(void *app)
{
	note(app, "open ");
	return app;
}

static void
on_connect(void *app, const char *name, const char *addr, struct transport_answer *answer)
{
	(void)answer;
	note(app, "connect(%s,%s) ", name, addr);
}

static void
on_helo(void *app, const char *name, struct transport_answer *answer)
{
	(void)answer;
	note(app, "helo(%s) ", name);
}

static void
on_mail(void *app, struct transport_session *line, const char *address, char *const *args, struct transport_answer *answer)
{
	(void)answer;
	note(app, "mail(%s,%s,%s) ", address, args[0] != NULL ? args[0] : "-",
	    transport_macro(line, "{auth_authen}") != NULL ? transport_macro(line, "{auth_authen}") : "-");
	/* Not now. */
	assert_int_equal(transport_insert_header(line, 0, "X", " y"), BS_ERR_ARG);
	assert_int_equal(transport_quarantine(line, "y"), BS_ERR_ARG);
}

static void
on_rcpt(void *app, struct transport_session *line, const char *address, const struct transport_refusal *refused,
    struct transport_answer *answer)
{
	const char *id = transport_macro(line, "i");

	note(app, "rcpt(%s,%s,%s) ", address, refused != NULL ? refused->status : "-", id != NULL ? id : "-");
	if (strcmp(address, "<no@x>") == 0)
		*answer = (struct transport_answer){ TRANSPORT_REPLY, { "550", "5.1.1", "No" } };
}

static void
on_header(void *app, const char *name, const char *value, struct transport_answer *answer)
{
	(void)answer;
	note(app, "header(%s:%s) ", name, value);
}

static void
on_body(void *app, const uint8_t *data, size_t len, struct transport_answer *answer)
{
	(void)answer;
	note(app, "body(%.*s) ", (int)len, (const char *)data);
}

static void
on_end(void *app, struct transport_session *line, struct transport_answer *answer)
{
	struct scene *scene = app;

	note(scene, "end ");
	assert_int_equal(transport_insert_header(line, 0, "X", " y"), BS_OK);
	assert_int_equal(transport_delete_header(line, "X", 0), BS_ERR_ARG);
	assert_int_equal(transport_change_header(line, "X", 1, ""), BS_ERR_ARG);
	*answer = scene->at_end;
}

static void
on_abort(void *app)
{
	note(app, "abort ");
}

static void
on_close(void *app)
{
	note(app, "close ");
}

static bool
begin(void *ctx)
{
	struct scene *scene = ctx;

	note(scene, "[");
	return !scene->refuse_begin;
}

static void
done(void *ctx)
{
	note(ctx, "] ");
}

static void
ending(void *ctx, bool now)
{
	(void)ctx;
	(void)now;
}

static enum bs_err
progress(void *ctx)
{
	note(ctx, "progress ");
	return BS_OK;
}

static const struct milter_conn_hooks hooks = { begin, done, ending, progress };
static const struct transport_events events = {
	.want = TRANSPORT_CONNECT | TRANSPORT_HELO | TRANSPORT_MAIL | TRANSPORT_RCPT | TRANSPORT_HEADER | TRANSPORT_END,
	.answers = TRANSPORT_RCPT | TRANSPORT_END,
	.macros = { .rcpt = "i" },
	.open = on_open, .connect = on_connect, .helo = on_helo, .mail = on_mail, .rcpt = on_rcpt, .header = on_header,
	.body = on_body, .end = on_end, .abort = on_abort, .close = on_close,
};

static int
setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	*state = scene;
	return milter_conn_new(&events, scene, &hooks, scene, &scene->conn) == BS_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	struct scene *scene = *state;

	milter_conn_free(scene->conn);
	free(scene);
	return 0;
}

static enum bs_err
give(struct scene *scene, char command, const char *data, size_t len)
{
	const struct milter_packet packet = { .command = (uint8_t)command, .data = (const uint8_t *)data, .len = len };

	return milter_conn_packet(scene->conn, &packet);
}

#define GIVE(scene, command, text) assert_int_equal(give(scene, command, text, sizeof(text) - 1), BS_OK)

static void
answered(struct scene *scene, const char *bytes, size_t len)
{
	struct bs_buf *out = milter_conn_output(scene->conn);

	assert_int_equal(bs_buf_len(out), len);
	assert_memory_equal(bs_buf_data(out), bytes, len);
	bs_buf_reset(out);
}

#define ANSWERED(scene, bytes) answered(scene, bytes, sizeof(bytes) - 1)

static void
negotiate(struct scene *scene)
{
	GIVE(scene, 'O', "\0\0\0\6\0\0\1\xff\0\x1f\xff\xff");
	/* No body, no "unknown", DATA, end of header; no answers but to RCPT and the end; refused recipients, leading blanks. */
	ANSWERED(scene, "\0\0\0\x13O\0\0\0\6\0\0\1\x31\0\x10\x7b\xd0\0\0\0\3i\0");
}

static void
test_a_message(void **state)
{
	struct scene *scene = *state;

	negotiate(scene);
	GIVE(scene, 'D', "C");
	GIVE(scene, 'C', "mx\0004\0\1" "192.0.2.1\0");
	GIVE(scene, 'H', "helo\0");
	GIVE(scene, 'D', "M{auth_authen}\0alice\0");
	GIVE(scene, 'M', "<a@x>\0SIZE=3\0");
	ANSWERED(scene, "");
	GIVE(scene, 'D', "R{rcpt_mailer}\0lmtp\0");
	GIVE(scene, 'R', "<b@x>\0");
	ANSWERED(scene, "\0\0\0\1c");
	GIVE(scene, 'D', "Ri\0004ABC\0{rcpt_mailer}\0error\0{rcpt_host}\0005.7.1\0{rcpt_addr}\0said\0");
	GIVE(scene, 'R', "<no@x>\0");
	ANSWERED(scene, "\0\0\0\1c");
	GIVE(scene, 'D', "Ri\0004ABC\0");
	GIVE(scene, 'R', "<no@x>\0");
	ANSWERED(scene, "\0\0\0\x0ey550 5.1.1 No\0");
	GIVE(scene, 'L', "From\0 x\0");
	ANSWERED(scene, "");
	GIVE(scene, 'E', "");
	ANSWERED(scene, "\0\0\0\x0ai\0\0\0\0X\0 y\0\0\0\0\1c");
	GIVE(scene, 'Q', "");
	assert_true(milter_conn_is_over(scene->conn));
	assert_string_equal(scene->seen, "open connect(mx,192.0.2.1) helo(helo) [mail(<a@x>,SIZE=3,alice) rcpt(<b@x>,-,-) "
	    "rcpt(<no@x>,5.7.1,4ABC) rcpt(<no@x>,-,4ABC) header(From: x) end ] close ");
}

static void
test_macros_end_with_their_message(void **state)
{
	struct scene *scene = *state;

	negotiate(scene);
	GIVE(scene, 'D', "M{auth_authen}\0alice\0");
	GIVE(scene, 'M', "<a@x>\0");
	GIVE(scene, 'A', "");
	GIVE(scene, 'M', "<a@x>\0");
	GIVE(scene, 'M', "<b@x>\0");
	assert_string_equal(scene->seen, "open [mail(<a@x>,-,alice) abort ] [mail(<a@x>,-,-) mail(<b@x>,-,-) ");
}

/* What was asked to be changed in a message that is then refused does not go out. */
static void
test_changes_go_with_acceptance_alone(void **state)
{
	struct scene *scene = *state;

	negotiate(scene);
	GIVE(scene, 'M', "<a@x>\0");
	scene->at_end.action = TRANSPORT_DISCARD;
	GIVE(scene, 'E', "tail");
	ANSWERED(scene, "\0\0\0\1d");
	scene->at_end = (struct transport_answer){ TRANSPORT_REPLY, { "451", "4.3.0", "Later" } };
	GIVE(scene, 'M', "<a@x>\0");
	GIVE(scene, 'E', "");
	ANSWERED(scene, "\0\0\0\x11y451 4.3.0 Later\0");
	assert_non_null(strstr(scene->seen, "body(tail) end ] "));
}

static void
test_another_session_on_the_same_connection(void **state)
{
	struct scene *scene = *state;

	negotiate(scene);
	GIVE(scene, 'M', "<a@x>\0");
	GIVE(scene, 'K', "");
	assert_false(milter_conn_is_over(scene->conn));
	GIVE(scene, 'H', "again\0");
	assert_string_equal(scene->seen, "open [mail(<a@x>,-,-) close ] open helo(again) ");
}

static void
test_no_message_may_begin(void **state)
{
	struct scene *scene = *state;

	negotiate(scene);
	scene->refuse_begin = true;
	GIVE(scene, 'M', "<a@x>\0");
	assert_true(milter_conn_is_over(scene->conn));
	assert_string_equal(scene->seen, "open [");
}

static void
test_out_of_place(void **state)
{
	struct scene *scene = *state;

	assert_int_equal(give(scene, 'C', "x\0U", 3), BS_ERR_FORMAT); /* nothing was negotiated */
	assert_int_equal(give(scene, 'O', "\0\0\0\6\0\0\0\x11\0\x1f\xff\xff", 12), BS_ERR_VERSION); /* may not quarantine */
	assert_int_equal(give(scene, 'O', "\0\0\0\1\0\0\1\xff\0\x1f\xff\xff", 12), BS_ERR_VERSION);
	negotiate(scene);
	assert_int_equal(give(scene, 'O', "\0\0\0\6\0\0\1\xff\0\x1f\xff\xff", 12), BS_ERR_FORMAT); /* once is enough */
	assert_int_equal(give(scene, 'R', "<a@x>", 6), BS_ERR_FORMAT); /* in no message */
	assert_int_equal(give(scene, 'L', "A\0 b", 5), BS_ERR_FORMAT);
	assert_int_equal(give(scene, 'E', "", 0), BS_ERR_FORMAT);
	assert_int_equal(give(scene, '?', "", 0), BS_ERR_FORMAT);
	assert_int_equal(give(scene, 'M', "<a@x>", 5), BS_ERR_FORMAT); /* no NUL */
	assert_string_equal(scene->seen, "open ");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_macros_end_with_their_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changes_go_with_acceptance_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_session_on_the_same_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_message_may_begin, setup, teardown),
		cmocka_unit_test_setup_teardown(test_out_of_place, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
