/*
 * fuzz_milter_dialogue: a mail server's bytes through the engine's conversation into the whole dialogue, without a socket.
 * Policy store and DNS are such that never answer. What goes back must be packets of the protocol.
 */
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "milter/dialogue.h"
#include "milter/dkim.h"
#include "milter/dns.h"
#include "milter/milter_conn.h"
#include "milter/pool.h"
#include "milter/resolve.h"
#include "milter/settings.h"
#include "milter/suffix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct counters counters;
static struct settings settings = { .spf_timeout_ms = 100 };
static struct dialogue dialogue = { .carry = { .authserv_id = "mx.example.org" }, .counters = &counters };
static struct transport_events events;

static void
need(bool ok)
{
	if (!ok)
		abort();
}

static void
tell(void *ctx, const struct session *session, enum report_outcome outcome, const struct verdict *verdict)
{
	(void)ctx;
	(void)session;
	(void)outcome;
	(void)verdict;
}

static void
prepare(void)
{
	const struct pool_settings pool_settings = { .database = "sqlite:/nonexistent/policy.db", .password_file = "",
		.timeout_ms = 100, .threads = 1, .queue_max = 10 };
	const struct resolver_settings resolver_settings = { .known_ms = 1000, .unknown_ms = 1000, .entries_max = 100 };
	struct pool *pool;

	if (dialogue.services.resolver != NULL)
		return;
	bs_log_level(BS_LOG_FATAL);
	need(pool_new(&pool_settings, &pool) == BS_OK);
	dialogue.services = (struct check_services){ .settings = &settings, .pool = pool, .dns = dns_none(),
		.resolver = resolver_new(pool, &resolver_settings) };
	need(dkim_engine_new(&dialogue.services.dkim) == BS_OK && suffix_list_new(&dialogue.services.suffixes) == BS_OK);
	dialogue.tell = tell;
	dialogue_events(&events);
}

static bool
begin(void *ctx)
{
	(void)ctx;
	return true;
}

static void
done(void *ctx)
{
	(void)ctx;
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
	(void)ctx;
	return BS_OK;
}

static const struct milter_conn_hooks hooks = { begin, done, ending, progress };

/* At most one answer to a packet, behind the changes that belong to it. */
static void
look_at_output(struct bs_buf *output)
{
	struct milter_packet packet = { 0 };
	size_t used;

	while (bs_buf_len(output) > 0) {
		need(milter_wire_next(bs_buf_data(output), bs_buf_len(output), &packet, &used) == BS_OK);
		need(strchr("cdimOqrty", packet.command) != NULL && packet.command != '\0');
		bs_buf_consume(output, used);
		need(bs_buf_len(output) == 0 || strchr("imq", packet.command) != NULL);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct milter_conn *conn;
	struct milter_packet packet;
	size_t used = 0;

	prepare();
	need(milter_conn_new(&events, &dialogue, &hooks, NULL, &conn) == BS_OK);
	while (!milter_conn_is_over(conn) && milter_wire_next(data, size, &packet, &used) == BS_OK &&
	    milter_conn_packet(conn, &packet) == BS_OK) {
		look_at_output(milter_conn_output(conn));
		data += used;
		size -= used;
	}
	milter_conn_free(conn);
	need(atomic_load(&counters.sessions_open) == 0);
	return 0;
}
