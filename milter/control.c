#include "control.h"

#include <stdlib.h>
#include <string.h>

#include "explain.h"
#include "report.h"
#include "sock.h"

#define CLIENTS_MAX 16
#define REPLY_MAX 65536
#define IDLE_MS 10000
#define REQUEST_MS 5000

static enum bs_err
line_frame(const uint8_t *data, size_t data_len, size_t *start, size_t *len, size_t *used)
{
	const uint8_t *end = memchr(data, '\n', data_len);

	if (end == NULL)
		return data_len >= CONTROL_LINE_MAX ? BS_ERR_LIMIT : BS_ERR_SHORT;
	*start = 0;
	*len = (size_t)(end - data);
	*used = *len + 1;
	return BS_OK;
}

static char *
status_line(struct control *control)
{
	struct report_status status = {
		.counters = control->counters,
		.uptime_s = (bs_now_ms() - control->started_ms) / 1000,
	};

	flight_stats(control->flight, &status.flight);
	pool_stats(control->pool, &status.pool);
	resolver_stats(control->resolver, &status.resolver);
	if (control->dns != NULL)
		dns_unbound_stats(control->dns, &status.dns);
	if (control->dnsbl != NULL)
		status.n_lists = dnsbl_states(control->dnsbl, status.lists);
	if (control->ledger != NULL)
		ledger_stats(control->ledger, &status.ledger);
	return report_status(&status);
}

static char *
answer_line(struct control *control, enum bs_err err)
{
	switch (err) {
	case BS_OK:
		return status_line(control);
	case BS_ERR_NOENT:
		return report_error("no such operation");
	case BS_ERR_LIMIT:
		return report_error("something in the request is too long, or missing");
	default:
		return report_error("a JSON object with \"op\" is expected");
	}
}

static enum bs_err
control_begin(void *ctx, struct server_request *request)
{
	struct control *control = ctx;
	enum bs_err err = report_request((const char *)request->data, request->len, &control->request);
	char *line;

	if (err == BS_OK && control->request.op == REPORT_OP_EXPLAIN) {
		request->hand_over = true;
		return BS_OK;
	}
	line = answer_line(control, err);
	if (line == NULL)
		return BS_ERR_NOMEM;
	err = bs_buf_append(request->reply, line, strlen(line));
	if (err == BS_OK)
		err = bs_buf_append(request->reply, "\n", 1);
	free(line);
	return err;
}

static void
control_take(void *ctx, int fd, const uint8_t *rest, size_t rest_len)
{
	struct control *control = ctx;

	explain_begin(control->explain, &control->request, fd, rest, rest_len);
}

/* No operation waits for a job yet. */
static enum bs_err
control_finish(void *ctx, struct server_request *request, enum bs_err err)
{
	(void)ctx;
	(void)request;
	(void)err;
	return BS_ERR_INTERNAL;
}

static const struct server_handler handler = {
	.name = "control",
	.request_max = CONTROL_LINE_MAX,
	.reply_max = REPLY_MAX,
	.clients_max = CLIENTS_MAX,
	.idle_ms = IDLE_MS,
	.request_ms = REQUEST_MS,
	.frame = line_frame,
	.begin = control_begin,
	.finish = control_finish,
	.take = control_take,
};

enum bs_err
control_start(int listen_fd, struct control *control, struct server **out)
{
	return server_start(listen_fd, &handler, control, control->pool, out);
}
