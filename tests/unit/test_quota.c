/* milter/quota: what an answer means, and a service that is good, slow, gone or mad. */
#include "milter/quota.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "sock.h"

static void
test_answers(void **state)
{
	static const struct {
		const char *text;
		enum quota_state expected;
		const char *code, *status, *says;
	} table[] = {
		{ "action=DUNNO\n\n", QUOTA_ROOM, "", "", "" },
		{ "action=ok\n\n", QUOTA_ROOM, "", "", "" },
		{ "action=552 5.2.2 Mailbox is full\n\n", QUOTA_FULL, "552", "5.2.2", "Mailbox is full" },
		{ "action=452 4.2.2 Full for now\n\n", QUOTA_FULL, "452", "4.2.2", "Full for now" },
		{ "action=554 5.2.2 100%s of it\r\n\n", QUOTA_FULL, "554", "5.2.2", "100?s of it?" },
		{ "action=552 5.2.3\n\n", QUOTA_FULL, "552", "5.2.3", "Mailbox is full" },
		{ "action=552 4.2.2 Mixed\n\n", QUOTA_UNKNOWN, "", "", "" },
		{ "action=550 5.1.1 Unknown user\n\n", QUOTA_UNKNOWN, "", "", "" },
		{ "action=552 5.2.22 x\n\n", QUOTA_UNKNOWN, "", "", "" },
		{ "action=252 2.2.2 x\n\n", QUOTA_UNKNOWN, "", "", "" },
		{ "action=REJECT Unknown user\n\n", QUOTA_UNKNOWN, "", "", "" },
		{ "action=DEFER_IF_PERMIT Internal error\n\n", QUOTA_UNKNOWN, "", "", "" },
		{ "action=\n\n", QUOTA_UNKNOWN, "", "", "" },
		{ "actio", QUOTA_UNKNOWN, "", "", "" },
		{ "action=55", QUOTA_UNKNOWN, "", "", "" },
		{ "", QUOTA_UNKNOWN, "", "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct quota_answer answer;

		quota_read_answer(table[i].text, &answer);
		if (answer.state != table[i].expected)
			fail_msg("%s: %d", table[i].text, (int)answer.state);
		assert_string_equal(answer.reply.code, table[i].code);
		assert_string_equal(answer.reply.status, table[i].status);
		assert_string_equal(answer.reply.text, table[i].says);
	}
}

/* A service on a UNIX socket: one thread accepts, one a connection answers what say has, or nothing. */
struct service {
	char folder[64], path[108], address[116];
	int fd;
	pthread_t thread;
	_Atomic(const char *) say; /* NULL: silent; "": closes at once */
	atomic_bool stop;
	atomic_int connections, requests;
};

static struct service svc;

static void *
talk(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char line[2000];
	ssize_t n;

	while ((n = recv(fd, line, sizeof(line) - 1, 0)) > 0) {
		const char *say = atomic_load(&svc.say);

		line[n] = '\0';
		assert_non_null(strstr(line, "\nprotocol_state=RCPT\n"));
		atomic_fetch_add(&svc.requests, 1);
		if (say != NULL && say[0] == '\0')
			break;
		if (say != NULL && send(fd, say, strlen(say), MSG_NOSIGNAL) < 0)
			break;
	}
	(void)close(fd);
	return NULL;
}

static void *
serve(void *arg)
{
	(void)arg;
	while (!atomic_load(&svc.stop)) {
		pthread_t thread;
		int fd = accept(svc.fd, NULL, NULL);

		if (fd < 0) {
			usleep(2000);
			continue;
		}
		atomic_fetch_add(&svc.connections, 1);
		assert_int_equal(pthread_create(&thread, NULL, talk, (void *)(intptr_t)fd), 0);
		pthread_detach(thread);
	}
	return NULL;
}

static int
start(void **state)
{
	(void)state;
	memset(&svc, 0, sizeof(svc));
	snprintf(svc.folder, sizeof(svc.folder), "/tmp/basalt-unit-XXXXXX");
	if (mkdtemp(svc.folder) == NULL)
		return -1;
	snprintf(svc.path, sizeof(svc.path), "%s/quota", svc.folder);
	snprintf(svc.address, sizeof(svc.address), "unix:%s", svc.path);
	if (bs_sock_listen(svc.path, 0600, (uid_t)-1, (gid_t)-1, &svc.fd) != BS_OK)
		return -1;
	return pthread_create(&svc.thread, NULL, serve, NULL);
}

static int
finish(void **state)
{
	(void)state;
	atomic_store(&svc.stop, true);
	(void)pthread_join(svc.thread, NULL);
	(void)close(svc.fd);
	(void)unlink(svc.path);
	return rmdir(svc.folder);
}

static enum quota_state
ask(struct quota *quota, const char *address, int ms)
{
	struct quota_answer answer;

	quota_ask(quota, address, 0, bs_now_ms() + ms, &answer);
	return answer.state;
}

static struct quota *
make(int64_t cache_ms)
{
	struct quota *quota = quota_new(&(struct quota_settings){ .address = svc.address, .cache_ms = cache_ms });

	assert_non_null(quota);
	return quota;
}

static void
test_one_connection_serves_many_questions(void **state)
{
	struct quota *quota = make(0);

	(void)state;
	atomic_store(&svc.say, "action=DUNNO\n\n");
	for (int i = 0; i < 50; i++)
		assert_int_equal(ask(quota, "a@x.org", 5000), QUOTA_ROOM);
	assert_int_equal(atomic_load(&svc.connections), 1);
	assert_int_equal(atomic_load(&svc.requests), 50);
	quota_free(quota);
}

static void
test_answers_are_remembered(void **state)
{
	struct quota *quota = make(60000);

	(void)state;
	atomic_store(&svc.say, "action=552 5.2.2 Full\n\n");
	for (int i = 0; i < 50; i++)
		assert_int_equal(ask(quota, i % 2 ? "a@x.org" : "b@x.org", 5000), QUOTA_FULL);
	assert_int_equal(atomic_load(&svc.requests), 2);
	quota_free(quota);
}

/* A service that was restarted has closed what we kept: nobody notices. */
static void
test_a_closed_connection_is_made_anew(void **state)
{
	struct quota *quota = make(0);

	(void)state;
	atomic_store(&svc.say, "action=DUNNO\n\n");
	assert_int_equal(ask(quota, "a@x.org", 5000), QUOTA_ROOM);
	atomic_store(&svc.say, "");
	assert_int_equal(ask(quota, "a@x.org", 5000), QUOTA_UNKNOWN); /* closes the kept one, and the next one */
	quota_free(quota);
	quota = make(0);
	atomic_store(&svc.say, "action=DUNNO\n\n");
	assert_int_equal(ask(quota, "a@x.org", 5000), QUOTA_ROOM);
	(void)finish(state);
	assert_int_equal(ask(quota, "a@x.org", 5000), QUOTA_ROOM); /* the connection is still there */
	quota_free(quota);
	assert_int_equal(start(state), 0);
}

static void
test_a_silent_service_costs_its_deadline_once(void **state)
{
	struct quota *quota = make(60000);
	struct quota_stats stats;
	int64_t begin = bs_now_ms();

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(ask(quota, "a@x.org", 300), QUOTA_UNKNOWN);
	assert_in_range(bs_now_ms() - begin, 290, 1000);
	quota_stats(quota, &stats);
	assert_int_equal(stats.asked, 1);
	assert_int_equal(stats.failed, 100);
	usleep(1100000);
	atomic_store(&svc.say, "action=DUNNO\n\n");
	assert_int_equal(ask(quota, "a@x.org", 5000), QUOTA_ROOM);
	quota_free(quota);
}

static void
test_a_mad_service_is_no_answer(void **state)
{
	static char endless[3 * QUOTA_ANSWER_MAX];
	struct quota *quota = make(0);

	(void)state;
	memset(endless, 'x', sizeof(endless) - 1);
	atomic_store(&svc.say, endless);
	assert_int_equal(ask(quota, "a@x.org", 2000), QUOTA_UNKNOWN);
	quota_free(quota);
}

static void *
asker(void *arg)
{
	char address[40];

	for (int i = 0; i < 20; i++) {
		snprintf(address, sizeof(address), "u%d-%p@x.org", i, (void *)&i);
		assert_int_equal(ask(arg, address, 20000), QUOTA_ROOM);
	}
	return NULL;
}

static void
test_many_askers_few_connections(void **state)
{
	struct quota *quota = make(0);
	pthread_t threads[30];

	(void)state;
	atomic_store(&svc.say, "action=DUNNO\n\n");
	for (int i = 0; i < 30; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, asker, quota), 0);
	for (int i = 0; i < 30; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(atomic_load(&svc.requests), 600);
	assert_in_range(atomic_load(&svc.connections), 1, 4);
	quota_free(quota);
}

int
main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, start, finish)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		EACH(test_one_connection_serves_many_questions),
		EACH(test_answers_are_remembered),
		EACH(test_a_closed_connection_is_made_anew),
		EACH(test_a_silent_service_costs_its_deadline_once),
		EACH(test_a_mad_service_is_no_answer),
		EACH(test_many_askers_few_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
