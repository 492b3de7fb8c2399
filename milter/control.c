#include "control.h"

#include <stdlib.h>
#include <string.h>

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

	pool_stats(control->pool, &status.pool);
	resolver_stats(control->resolver, &status.resolver);
	if (control->dns != NULL)
		dns_unbound_stats(control->dns, &status.dns);
	return report_status(&status);
}

static enum bs_err
control_begin(void *ctx, struct server_request *request)
{
	enum report_op op;
	enum bs_err err = report_request((const char *)request->data, request->len, &op);
	char *line;

	if (err == BS_OK)
		line = status_line(ctx);
	else
		line = report_error(err == BS_ERR_NOENT ? "no such operation" : "a JSON object with \"op\" is expected");
	if (line == NULL)
		return BS_ERR_NOMEM;
	err = bs_buf_append(request->reply, line, strlen(line));
	if (err == BS_OK)
		err = bs_buf_append(request->reply, "\n", 1);
	free(line);
	return err;
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
};

enum bs_err
control_start(int listen_fd, struct control *control, struct server **out)
{
	return server_start(listen_fd, &handler, control, control->pool, out);
}
