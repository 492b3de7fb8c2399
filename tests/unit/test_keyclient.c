/* keyclient: against a scripted keyd on a socket: what is sent, what is made of replies, and when it gives up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/keyclient.h"
#include "common/sock.h"

#define TIMEOUT_MS 2000

static char dir[] = "/tmp/basalt-test-kc-XXXXXX";
static char path[64];

/* --- the other end --- */

/* One exchange: the request that must come, and the reply's payload. */
struct exchange {
	uint8_t opcode;
	const char *request;
	size_t request_len;
	uint16_t status;
	const char *reply;
	size_t reply_len;
};

enum trick { NO_TRICK, WRONG_ID, WRONG_OPCODE, WRONG_VERSION, TOO_LONG, TOO_SHORT, HALF_A_FRAME, SILENCE, HANG_UP, LAST_WORD, LAST_WORD_TOO };

static void
send_reply(int fd, const struct exchange *ex, uint32_t id, enum trick trick)
{
	uint8_t frame[4096];
	size_t len = bs_keyproto_frame(frame, sizeof(frame), (uint8_t)(ex->opcode + (trick == WRONG_OPCODE)),
	    (enum bs_err)ex->status, id + (trick == WRONG_ID), ex->reply, ex->reply_len);

	if (trick == WRONG_VERSION)
		frame[4] = 2;
	if (trick == TOO_LONG)
		frame[0] = 0xff;
	if (trick == TOO_SHORT)
		memcpy(frame, "\0\0\0\7", 4);
	if (trick == HALF_A_FRAME)
		len--;
	if (trick != SILENCE && trick != HANG_UP && trick != LAST_WORD)
		(void)!write(fd, frame, len);
	if (trick == LAST_WORD || trick == LAST_WORD_TOO) {
		len = bs_keyproto_frame(frame, sizeof(frame), BS_OP_ENDED, BS_OK, 0, "\2", 1);
		(void)!write(fd, frame, len);
	}
	if (trick == HALF_A_FRAME || trick == SILENCE)
		(void)!read(fd, frame, 1); /* until the client has had enough */
}

/* Plays the script in a child; its status 0 says that the requests were the ones expected. */
static pid_t
start_keyd(int listener, const struct exchange *script, size_t n, enum trick trick)
{
	pid_t pid = fork();
	int fd;

	if (pid != 0) {
		(void)close(listener);
		return pid;
	}
	fd = accept(listener, NULL, NULL);
	for (size_t i = 0; i < n; i++) {
		uint8_t frame[4096];
		struct bs_frame request;
		ssize_t len = read(fd, frame, sizeof(frame));

		if (len < 0 || bs_keyproto_parse(frame, (size_t)len, BS_FRAME_MAX, &request) != BS_OK ||
		    request.len != (size_t)len || request.opcode != script[i].opcode || request.status != 0 ||
		    request.payload_len != script[i].request_len ||
		    memcmp(request.payload, script[i].request, script[i].request_len) != 0)
			_exit(1);
		send_reply(fd, &script[i], request.request_id, i + 1 == n ? trick : NO_TRICK);
	}
	_exit(0);
}

static struct bs_keyclient *
start(const struct exchange *script, size_t n, enum trick trick, int timeout_ms, pid_t *pid)
{
	struct bs_keyclient *kc = NULL;
	int listener;

	assert_int_equal(bs_sock_listen(path, 0600, (uid_t)-1, (gid_t)-1, &listener), BS_OK);
	/* accept() of the child is to wait. */
	assert_int_equal(fcntl(listener, F_SETFL, 0), 0);
	*pid = start_keyd(listener, script, n, trick);
	assert_int_equal(bs_keyclient_connect(path, timeout_ms, &kc), BS_OK);
	return kc;
}

static void
stop(struct bs_keyclient *kc, pid_t pid)
{
	int status;

	bs_keyclient_free(kc);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define TOKEN "0123456789abcdef0123456789ABCDEF"
#define ID "account-id-of-16"
#define KEY "keykeykeykeykeykeykeykeykeykeyke"
#define EX(op, request, status, reply) { op, request, sizeof(request) - 1, status, reply, sizeof(reply) - 1 }

/* --- the calls --- */

static void
test_mail_session(void **state)
{
	static const struct exchange script[] = {
		EX(BS_OP_ATTACH, TOKEN "\0\1a\0\4imap", BS_OK, ID "\1\0\6record"),
		EX(BS_OP_UNWRAP, "\0\2\0\3abc\0\2de", BS_OK, "\0\2\0\0" KEY "\0\14"),
		EX(BS_OP_SUBKEY, "\1" ID "\0\0\0\0\0\0\0\5", BS_OK, KEY),
		EX(BS_OP_KEYSET, "", BS_OK, "\0\0\0\4keys"),
		EX(BS_OP_KEYSET_OF, "\0\1a", BS_OK, "\0\0\0\5sheet"),
		EX(BS_OP_RECORD, "\0\1a", BS_OK, "\0\3rec"),
		EX(BS_OP_RESUME_TOKEN, "", BS_OK, TOKEN),
		EX(BS_OP_DROP_TOKEN, TOKEN, BS_OK, ""),
		EX(BS_OP_RESUME_TOKEN, "", BS_ERR_CONF, ""),
	};
	const struct bs_msg_prefix prefixes[] = {
		{ .bytes = (const uint8_t *)"abc", .len = 3 },
		{ .bytes = (const uint8_t *)"de", .len = 2 },
	};
	uint8_t keys[2][BS_KEY_LEN], record[BS_RECORD_MAX], token[BS_TOKEN_LEN] = { 0 }, *keyset = NULL;
	enum bs_err status[2];
	struct bs_session_info info;
	size_t len;
	pid_t pid;
	struct bs_keyclient *kc = start(script, 9, NO_TRICK, TIMEOUT_MS, &pid);

	(void)state;
	assert_true(bs_keyclient_fd(kc) >= 0);
	assert_int_equal(bs_keyclient_attach(kc, (const uint8_t *)TOKEN, "a", "imap", &info), BS_OK);
	assert_memory_equal(info.account_id, ID, BS_ID_LEN);
	assert_true(info.sealed);
	assert_int_equal(info.record_len, 6);
	assert_memory_equal(info.record, "record", 6);
	assert_int_equal(bs_keyclient_unwrap(kc, prefixes, 2, status, keys), BS_OK);
	assert_int_equal(status[0], BS_OK);
	assert_memory_equal(keys[0], KEY, BS_KEY_LEN);
	assert_int_equal(status[1], BS_ERR_NOKEY);
	assert_int_equal(bs_keyclient_subkey(kc, 1, (const uint8_t *)ID, 5, keys[1]), BS_OK);
	assert_memory_equal(keys[1], KEY, BS_KEY_LEN);
	assert_int_equal(bs_keyclient_keyset(kc, &keyset, &len), BS_OK);
	assert_int_equal(len, 4);
	assert_memory_equal(keyset, "keys", 4);
	free(keyset);
	assert_int_equal(bs_keyclient_keyset_of(kc, "a", &keyset, &len), BS_OK);
	assert_int_equal(len, 5);
	assert_memory_equal(keyset, "sheet", 5);
	free(keyset);
	assert_int_equal(bs_keyclient_record(kc, "a", record, &len), BS_OK);
	assert_int_equal(len, 3);
	assert_memory_equal(record, "rec", 3);
	assert_int_equal(bs_keyclient_resume_token(kc, token), BS_OK);
	assert_memory_equal(token, TOKEN, BS_TOKEN_LEN);
	assert_int_equal(bs_keyclient_drop_token(kc, token), BS_OK);
	assert_int_equal(bs_keyclient_resume_token(kc, token), BS_ERR_CONF);
	stop(kc, pid);
}

static void
test_control(void **state)
{
	static const struct exchange script[] = {
		EX(BS_OP_ENROL, "\0\1a\0\2pw\0\0\0\1", BS_OK, ID "\0\0\0\0\0\0\0\1"),
		EX(BS_OP_ENROL, "\0\1a\0\2pw\0\0\0\1", BS_ERR_EXISTS, ""),
		EX(BS_OP_LOGIN, "\0\1a\0\2pw\0\4imap\0", BS_OK, "\1" TOKEN ID),
		EX(BS_OP_LOGIN, "\0\1a\0\2pw\0\4smtp\1", BS_OK, "\1" ID),
		EX(BS_OP_LOGIN, "\0\1a\0\2no\0\4smtp\1", BS_ERR_DENIED, ""),
		EX(BS_OP_PASSWD, "\0\1a\0\2pw\0\3new", BS_OK, "\0\0\0\0\0\0\0\2"),
		EX(BS_OP_SET_FLAGS, "\0\1a\0\3new\0\0\0\0", BS_OK, "\0\0\0\0\0\0\0\3"),
		EX(BS_OP_EXISTS, "\0\1a", BS_OK, ""),
		EX(BS_OP_STATUS, "", BS_OK, "\0\0\0\2{}"),
		EX(BS_OP_REMOVE, "\0\1a", BS_OK, ""),
		EX(BS_OP_REMOVE, "\0\1a", BS_ERR_NOENT, ""),
	};
	uint8_t id[BS_ID_LEN], token[BS_TOKEN_LEN];
	char *text = NULL;
	pid_t pid;
	struct bs_keyclient *kc = start(script, 11, NO_TRICK, TIMEOUT_MS, &pid);

	(void)state;
	assert_int_equal(bs_keyclient_enrol(kc, "a", "pw", 1, id), BS_OK);
	assert_memory_equal(id, ID, BS_ID_LEN);
	assert_int_equal(bs_keyclient_enrol(kc, "a", "pw", 1, id), BS_ERR_EXISTS);
	assert_int_equal(bs_keyclient_login(kc, "a", "pw", "imap", 0, token), BS_OK);
	assert_memory_equal(token, TOKEN, BS_TOKEN_LEN);
	assert_int_equal(bs_keyclient_login(kc, "a", "pw", "smtp", BS_LOGIN_NO_SESSION, NULL), BS_OK);
	assert_int_equal(bs_keyclient_login(kc, "a", "no", "smtp", BS_LOGIN_NO_SESSION, NULL), BS_ERR_DENIED);
	assert_int_equal(bs_keyclient_passwd(kc, "a", "pw", "new"), BS_OK);
	assert_int_equal(bs_keyclient_set_flags(kc, "a", "new", 0), BS_OK);
	assert_int_equal(bs_keyclient_exists(kc, "a"), BS_OK);
	assert_int_equal(bs_keyclient_status(kc, &text), BS_OK);
	assert_string_equal(text, "{}");
	free(text);
	assert_int_equal(bs_keyclient_remove(kc, "a"), BS_OK);
	assert_int_equal(bs_keyclient_remove(kc, "a"), BS_ERR_NOENT);
	stop(kc, pid);
}

/* What was never sent does not cost the connection. */
static void
test_too_large_to_send(void **state)
{
	static const struct exchange script[] = { EX(BS_OP_EXISTS, "\0\1a", BS_ERR_NOENT, "") };
	static struct bs_msg_prefix prefixes[BS_UNWRAP_MAX + 1];
	static uint8_t keys[BS_UNWRAP_MAX + 1][BS_KEY_LEN], bytes[BS_MSG_PREFIX_MAX + 1];
	static enum bs_err status[BS_UNWRAP_MAX + 1];
	char password[BS_PASSWORD_MAX + 2];
	pid_t pid;
	struct bs_keyclient *kc = start(script, 1, NO_TRICK, TIMEOUT_MS, &pid);

	(void)state;
	memset(password, 'x', sizeof(password) - 1);
	password[sizeof(password) - 1] = '\0';
	assert_int_equal(bs_keyclient_passwd(kc, "a", password, "x"), BS_ERR_LIMIT);
	assert_int_equal(bs_keyclient_unwrap(kc, prefixes, 0, status, keys), BS_ERR_ARG);
	assert_int_equal(bs_keyclient_unwrap(kc, prefixes, BS_UNWRAP_MAX + 1, status, keys), BS_ERR_ARG);
	for (size_t i = 0; i < BS_UNWRAP_MAX; i++)
		prefixes[i] = (struct bs_msg_prefix){ .bytes = bytes, .len = BS_MSG_PREFIX_MAX };
	assert_int_equal(bs_keyclient_unwrap(kc, prefixes, BS_UNWRAP_MAX, status, keys), BS_ERR_LIMIT);
	prefixes[0].len++;
	assert_int_equal(bs_keyclient_unwrap(kc, prefixes, 1, status, keys), BS_ERR_ARG);
	assert_int_equal(bs_keyclient_exists(kc, "a"), BS_ERR_NOENT);
	stop(kc, pid);
}

/* keyd's database hangs: that is no trouble of the connection, though the error is the same. */
static void
test_transient_answers(void **state)
{
	static const struct exchange script[] = {
		EX(BS_OP_EXISTS, "\0\1a", BS_ERR_TIMEOUT, ""), EX(BS_OP_EXISTS, "\0\1a", BS_ERR_UNAVAIL, ""),
		EX(BS_OP_EXISTS, "\0\1a", BS_ERR_IO, ""), EX(BS_OP_EXISTS, "\0\1a", BS_OK, ""),
	};
	pid_t pid;
	struct bs_keyclient *kc = start(script, 4, NO_TRICK, TIMEOUT_MS, &pid);

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(bs_keyclient_exists(kc, "a"), script[i].status);
		assert_false(bs_keyclient_is_dead(kc));
	}
	stop(kc, pid);
}

/* --- a keyd that is broken --- */

static void
test_broken_frames(void **state)
{
	static const struct exchange script[] = { EX(BS_OP_EXISTS, "\0\1a", BS_OK, "") };
	static const struct { enum trick trick; enum bs_err err; } cases[] = {
		{ WRONG_ID, BS_ERR_FORMAT }, { WRONG_OPCODE, BS_ERR_FORMAT }, { WRONG_VERSION, BS_ERR_FORMAT },
		{ TOO_LONG, BS_ERR_FORMAT }, { TOO_SHORT, BS_ERR_FORMAT }, { HALF_A_FRAME, BS_ERR_TIMEOUT },
		{ SILENCE, BS_ERR_TIMEOUT }, { HANG_UP, BS_ERR_IO },
	};
	pid_t pid;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bs_keyclient *kc = start(script, 1, cases[i].trick, 200, &pid);
		int64_t start_ms = bs_now_ms();

		assert_int_equal(bs_keyclient_exists(kc, "a"), cases[i].err);
		assert_in_range(bs_now_ms() - start_ms, 0, 1500);
		assert_true(bs_keyclient_is_dead(kc));
		assert_int_equal(bs_keyclient_exists(kc, "a"), BS_ERR_UNAVAIL); /* out of step: never again */
		stop(kc, pid);
	}
}

/* Why a session is over: in place of an answer, behind one, and when nothing was said. */
static void
test_last_word(void **state)
{
	static const struct exchange script[] = { EX(BS_OP_EXISTS, "\0\1a", BS_OK, "") };
	static const struct {
		enum trick trick;
		enum bs_err answer;
		enum bs_ended why;
	} cases[] = {
		{ LAST_WORD, BS_ERR_UNAVAIL, BS_ENDED_KEYS },
		{ LAST_WORD_TOO, BS_OK, BS_ENDED_KEYS },
		{ HANG_UP, BS_ERR_IO, BS_ENDED_GONE },
		{ WRONG_ID, BS_ERR_FORMAT, BS_ENDED_GONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		pid_t pid;
		struct bs_keyclient *kc = start(script, 1, cases[i].trick, TIMEOUT_MS, &pid);

		assert_int_equal(bs_keyclient_exists(kc, "a"), cases[i].answer);
		assert_int_equal(bs_keyclient_ended(kc), cases[i].why);
		assert_true(bs_keyclient_is_dead(kc));
		stop(kc, pid);
	}
}

static void
test_broken_payloads(void **state)
{
	static const struct exchange scripts[] = {
		EX(BS_OP_UNWRAP, "\0\1\0\1a", BS_OK, "\0\1\0\0" "keykeykeykeykeykeykeykeykeykeyk"), /* key too short */
		EX(BS_OP_UNWRAP, "\0\1\0\1a", BS_OK, "\0\2\0\0" KEY "\0\0" KEY),                      /* two for one */
		EX(BS_OP_UNWRAP, "\0\1\0\1a", BS_OK, "\0\1\0\0" KEY "x"),                             /* left over */
		EX(BS_OP_UNWRAP, "\0\1\0\1a", BS_OK, ""),
	};
	const struct bs_msg_prefix prefix = { .bytes = (const uint8_t *)"a", .len = 1 };
	uint8_t keys[1][BS_KEY_LEN];
	enum bs_err status[1];
	pid_t pid;

	(void)state;
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		struct bs_keyclient *kc = start(&scripts[i], 1, NO_TRICK, TIMEOUT_MS, &pid);

		memset(keys, 0x55, sizeof(keys));
		assert_int_equal(bs_keyclient_unwrap(kc, &prefix, 1, status, keys), BS_ERR_FORMAT);
		assert_int_equal(status[0], BS_ERR_FORMAT);
		assert_memory_equal(keys[0], "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", BS_KEY_LEN);
		stop(kc, pid);
	}
}

/* A record that would not fit the caller's buffer, and an unknown status. */
static void
test_broken_record(void **state)
{
	static char reply[2 + BS_RECORD_MAX + 1] = "\x02\x01";
	struct exchange script = { BS_OP_RECORD, "\0\1a", 3, BS_OK, reply, sizeof(reply) };
	uint8_t record[BS_RECORD_MAX];
	size_t len = 4711;
	pid_t pid;
	struct bs_keyclient *kc = start(&script, 1, NO_TRICK, TIMEOUT_MS, &pid);

	(void)state;
	assert_int_equal(bs_keyclient_record(kc, "a", record, &len), BS_ERR_FORMAT);
	assert_int_equal(len, 4711);
	stop(kc, pid);
	script.status = 999;
	kc = start(&script, 1, NO_TRICK, TIMEOUT_MS, &pid);
	assert_int_equal(bs_keyclient_record(kc, "a", record, &len), BS_ERR_FORMAT);
	stop(kc, pid);
}

static void
test_nobody_there(void **state)
{
	struct bs_keyclient *kc = NULL;

	(void)state;
	assert_int_equal(bs_keyclient_connect("/nonexistent/mail", 100, &kc), BS_ERR_UNAVAIL);
	assert_null(kc);
	bs_keyclient_free(NULL);
}

static int
setup(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/s", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mail_session),
		cmocka_unit_test(test_control),
		cmocka_unit_test(test_too_large_to_send),
		cmocka_unit_test(test_transient_answers),
		cmocka_unit_test(test_broken_frames),
		cmocka_unit_test(test_last_word),
		cmocka_unit_test(test_broken_payloads),
		cmocka_unit_test(test_broken_record),
		cmocka_unit_test(test_nobody_there),
	};

	return cmocka_run_group_tests_name("keyclient", tests, setup, teardown);
}
