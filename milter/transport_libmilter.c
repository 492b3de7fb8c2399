/*
 * Debian's libmilter runs callbacks on a small pool of threads that grows badly (two long callbacks at a time): no event
 * may take long. A thread of libmilter waits for SIGHUP, SIGTERM and SIGINT; each ends smfi_main(), slowly (main.c).
 */
#include "transport.h"

#include <arpa/inet.h>
#include <libmilter/mfapi.h>
#include <libmilter/mfdef.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sock.h"

#define IDLE_S 7210 /* libmilter's own default: beyond any SMTP timeout */
#define BACKLOG 256
#define PROGRESS_MS 1000

/* libmilter's callbacks carry no pointer of ours, so what run() serves stands here; set once, before threads start. */
static struct transport_engine {
	const struct transport_events *events;
	void *app;
} served;

struct line {
	struct transport_session session; /* first: what the events are given */
	SMFICTX *ctx;
	void *app;           /* the application's session */
	unsigned silent;     /* enum transport_stage bits for which the server waits for no reply */
	int64_t progress_ms; /* of the last sign of life */
};

/* Which negotiation bits spare what: "don't send" and "don't wait" of each stage. */
static const struct {
	unsigned stage;
	unsigned long dont_send, dont_wait;
} stage_bits[] = {
	{ TRANSPORT_CONNECT, SMFIP_NOCONNECT, SMFIP_NR_CONN }, { TRANSPORT_HELO, SMFIP_NOHELO, SMFIP_NR_HELO },
	{ TRANSPORT_MAIL, SMFIP_NOMAIL, SMFIP_NR_MAIL },       { TRANSPORT_RCPT, SMFIP_NORCPT, SMFIP_NR_RCPT },
	{ TRANSPORT_HEADER, SMFIP_NOHDRS, SMFIP_NR_HDR },      { TRANSPORT_BODY, SMFIP_NOBODY, SMFIP_NR_BODY },
};
#define N_STAGES (sizeof(stage_bits) / sizeof(stage_bits[0]))

/* Never of use here. */
#define ALWAYS_OFF (SMFIP_NOUNKNOWN | SMFIP_NODATA | SMFIP_NOEOH)
#define ALWAYS_ON (SMFIP_RCPT_REJ | SMFIP_HDR_LEADSPC)
#define ACTIONS (SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_QUARANTINE)


static struct line *
line_of(SMFICTX *ctx)
{
	return smfi_getpriv(ctx);
}

static struct line *
line_from(struct transport_session *session)
{
	return (struct line *)session;
}

static const char *
get_macro(struct transport_session *session, const char *name)
{
	char copy[64];

	(void)snprintf(copy, sizeof(copy), "%s", name);
	return smfi_getsymval(line_from(session)->ctx, copy);
}

/* libmilter's prototypes take char *, and it only reads. */
static enum bs_err
change(struct transport_session *session, bool insert, int index, const char *name, const char *value)
{
	SMFICTX *ctx = line_from(session)->ctx;
	char *n = strdup(name), *v = value != NULL ? strdup(value) : NULL;
	int rc = MI_FAILURE;

	if (n != NULL && (v != NULL || value == NULL))
		rc = insert ? smfi_insheader(ctx, index, n, v) : smfi_chgheader(ctx, n, index, v);
	free(n);
	free(v);
	return rc == MI_SUCCESS ? BS_OK : BS_ERR_IO;
}

static enum bs_err
insert_header(struct transport_session *session, int index, const char *name, const char *value)
{
	return change(session, true, index, name, value);
}

static enum bs_err
delete_header(struct transport_session *session, const char *name, unsigned index)
{
	return change(session, false, (int)index, name, NULL);
}

static enum bs_err
change_header(struct transport_session *session, const char *name, unsigned index, const char *value)
{
	return value[0] == '\0' ? BS_ERR_ARG : change(session, false, (int)index, name, value);
}

static enum bs_err
quarantine(struct transport_session *session, const char *reason)
{
	char copy[TRANSPORT_REASON_MAX + 1];

	(void)snprintf(copy, sizeof(copy), "%s", reason);
	return smfi_quarantine(line_from(session)->ctx, copy) == MI_SUCCESS ? BS_OK : BS_ERR_IO;
}

static enum bs_err
progress(struct transport_session *session)
{
	struct line *line = line_from(session);
	int64_t now = bs_now_ms();

	if (now - line->progress_ms < PROGRESS_MS)
		return BS_OK;
	line->progress_ms = now;
	return smfi_progress(line->ctx) == MI_SUCCESS ? BS_OK : BS_ERR_IO;
}

static const struct transport_line libmilter_line = {
	.macro = get_macro,
	.insert_header = insert_header,
	.delete_header = delete_header,
	.change_header = change_header,
	.quarantine = quarantine,
	.progress = progress,
};

static sfsistat
give(struct line *line, unsigned stage, const struct transport_answer *answer)
{
	const struct smtp_reply *reply = &answer->reply;
	char code[sizeof(reply->code)], status[sizeof(reply->status)], text[sizeof(reply->text)];

	if ((line->silent & stage) != 0)
		return SMFIS_NOREPLY;
	if (answer->action == TRANSPORT_CONTINUE)
		return SMFIS_CONTINUE;
	if (answer->action == TRANSPORT_DISCARD)
		return SMFIS_DISCARD;
	memcpy(code, reply->code, sizeof(code));
	memcpy(status, reply->status, sizeof(status));
	memcpy(text, reply->text, sizeof(text));
	/* Refused by libmilter (a bad character): its general answer of the same class goes out. */
	(void)smfi_setreply(line->ctx, code, status, text);
	return code[0] == '5' ? SMFIS_REJECT : SMFIS_TEMPFAIL;
}

/* Each stage's list of macros, where the server takes lists; else it sends what it likes. */
static void
set_macros(SMFICTX *ctx, const struct transport_macros *macros)
{
	const struct {
		int stage;
		const char *names;
	} lists[] = { { SMFIM_CONNECT, macros->connect }, { SMFIM_HELO, macros->helo }, { SMFIM_ENVFROM, macros->mail },
		{ SMFIM_ENVRCPT, macros->rcpt }, { SMFIM_EOM, macros->end } };
	char copy[512];

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		if (lists[i].names == NULL || lists[i].names[0] == '\0')
			continue;
		(void)snprintf(copy, sizeof(copy), "%s", lists[i].names);
		(void)smfi_setsymlist(ctx, lists[i].stage, copy);
	}
}

static sfsistat
on_negotiate(SMFICTX *ctx, unsigned long actions, unsigned long steps, unsigned long f2, unsigned long f3,
    unsigned long *want_actions, unsigned long *want_steps, unsigned long *out2, unsigned long *out3)
{
	struct line *line;

	(void)f2;
	(void)f3;
	if ((actions & ACTIONS) != ACTIONS)
		return SMFIS_REJECT;
	line = calloc(1, sizeof(*line));
	if (line == NULL)
		return SMFIS_TEMPFAIL;
	line->session.does = &libmilter_line;
	line->ctx = ctx;
	*want_actions = ACTIONS | (actions & SMFIF_SETSYMLIST);
	if ((actions & SMFIF_SETSYMLIST) != 0)
		set_macros(ctx, &served.events->macros);
	*want_steps = (ALWAYS_OFF | ALWAYS_ON) & steps;
	for (size_t i = 0; i < N_STAGES; i++) {
		if ((served.events->want & stage_bits[i].stage) == 0)
			*want_steps |= stage_bits[i].dont_send & steps;
		else if ((served.events->answers & stage_bits[i].stage) == 0)
			*want_steps |= stage_bits[i].dont_wait & steps;
		if ((*want_steps & stage_bits[i].dont_wait) != 0)
			line->silent |= stage_bits[i].stage;
	}
	*out2 = *out3 = 0;
	line->app = served.events->open(served.app);
	if (line->app == NULL || smfi_setpriv(ctx, line) != MI_SUCCESS) {
		if (line->app != NULL)
			served.events->close(line->app);
		free(line);
		return SMFIS_TEMPFAIL;
	}
	return SMFIS_CONTINUE;
}

static sfsistat
on_connect(SMFICTX *ctx, char *name, _SOCK_ADDR *address)
{
	struct line *line = line_of(ctx);
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };
	char text[INET6_ADDRSTRLEN] = "";
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (line == NULL)
		return SMFIS_TEMPFAIL;
	if (address != NULL && address->sa_family == AF_INET) {
		memcpy(&in, address, sizeof(in));
		(void)inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
	} else if (address != NULL && address->sa_family == AF_INET6) {
		memcpy(&in6, address, sizeof(in6));
		(void)inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
	}
	served.events->connect(line->app, name != NULL ? name : "", text, &answer);
	return give(line, TRANSPORT_CONNECT, &answer);
}

static sfsistat
on_helo(SMFICTX *ctx, char *name)
{
	struct line *line = line_of(ctx);
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };

	if (line == NULL)
		return SMFIS_TEMPFAIL;
	served.events->helo(line->app, name != NULL ? name : "", &answer);
	return give(line, TRANSPORT_HELO, &answer);
}

static sfsistat
on_mail(SMFICTX *ctx, char **argv)
{
	struct line *line = line_of(ctx);
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };

	if (line == NULL || argv == NULL || argv[0] == NULL)
		return SMFIS_TEMPFAIL;
	served.events->mail(line->app, &line->session, argv[0], argv + 1, &answer);
	return give(line, TRANSPORT_MAIL, &answer);
}

static sfsistat
on_rcpt(SMFICTX *ctx, char **argv)
{
	struct line *line = line_of(ctx);
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };
	struct transport_refusal refusal;
	bool refused;

	if (line == NULL || argv == NULL || argv[0] == NULL)
		return SMFIS_TEMPFAIL;
	refused = transport_is_refused(&line->session, &refusal);
	served.events->rcpt(line->app, &line->session, argv[0], refused ? &refusal : NULL, &answer);
	if (refused)
		answer.action = TRANSPORT_CONTINUE;
	return give(line, TRANSPORT_RCPT, &answer);
}

static sfsistat
on_header(SMFICTX *ctx, char *name, char *value)
{
	struct line *line = line_of(ctx);
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };

	if (line == NULL)
		return SMFIS_TEMPFAIL;
	served.events->header(line->app, name, value != NULL ? value : "", &answer);
	return give(line, TRANSPORT_HEADER, &answer);
}

static sfsistat
on_body(SMFICTX *ctx, unsigned char *data, size_t len)
{
	struct line *line = line_of(ctx);
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };

	if (line == NULL)
		return SMFIS_TEMPFAIL;
	served.events->body(line->app, data, len, &answer);
	return give(line, TRANSPORT_BODY, &answer);
}

static sfsistat
on_end(SMFICTX *ctx)
{
	struct line *line = line_of(ctx);
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };

	if (line == NULL)
		return SMFIS_TEMPFAIL;
	line->progress_ms = bs_now_ms();
	served.events->end(line->app, &line->session, &answer);
	return give(line, TRANSPORT_END, &answer);
}

static sfsistat
on_abort(SMFICTX *ctx)
{
	struct line *line = line_of(ctx);

	if (line != NULL)
		served.events->abort(line->app);
	return SMFIS_CONTINUE;
}

static sfsistat
on_close(SMFICTX *ctx)
{
	struct line *line = line_of(ctx);

	if (line == NULL)
		return SMFIS_CONTINUE;
	served.events->close(line->app);
	(void)smfi_setpriv(ctx, NULL);
	free(line);
	return SMFIS_CONTINUE;
}

/* libmilter's way to write an address: "inet:PORT@HOST". */
static enum bs_err
write_address(const char *address, char *out, size_t size)
{
	const char *host = address + strlen("inet:"), *port = strrchr(address, ':');
	int n;

	if (strncmp(address, "inet:", 5) == 0 && port > host)
		n = snprintf(out, size, "inet:%s@%.*s", port + 1, (int)(port - host), host);
	else
		n = snprintf(out, size, "%s", address);
	return n >= 0 && (size_t)n < size ? BS_OK : BS_ERR_LIMIT;
}

static enum bs_err
register_filter(const char *where)
{
	static char name[] = "basalt-milter";
	struct smfiDesc filter = {
		.xxfi_name = name, .xxfi_version = SMFI_VERSION, .xxfi_flags = ACTIONS,
		.xxfi_connect = on_connect, .xxfi_helo = on_helo, .xxfi_envfrom = on_mail, .xxfi_envrcpt = on_rcpt,
		.xxfi_header = on_header, .xxfi_body = on_body, .xxfi_eom = on_end, .xxfi_abort = on_abort,
		.xxfi_close = on_close, .xxfi_negotiate = on_negotiate,
	};
	char address[200];
	enum bs_err err = write_address(where, address, sizeof(address));

	if (err != BS_OK)
		return err;
	if (smfi_setconn(address) != MI_SUCCESS || smfi_register(filter) != MI_SUCCESS)
		return BS_ERR_IO;
	(void)smfi_settimeout(IDLE_S);
	(void)smfi_setbacklog(BACKLOG);
	return BS_OK;
}

static enum bs_err
libmilter_listen(const struct transport_settings *settings, struct transport_engine **out)
{
	const char *path = strncmp(settings->address, "unix:", 5) == 0 ? settings->address + 5 : NULL;
	mode_t old = umask(0177);
	enum bs_err err = register_filter(settings->address);

	if (err == BS_OK && smfi_opensocket(true) != MI_SUCCESS)
		err = BS_ERR_IO;
	(void)umask(old);
	if (err == BS_OK && path != NULL && (chown(path, settings->owner, settings->group) != 0 || chmod(path, 0660) != 0))
		err = BS_ERR_IO;
	if (err == BS_OK)
		*out = &served;
	return err;
}

static enum bs_err
libmilter_run(struct transport_engine *engine, const struct transport_events *events, void *app)
{
	engine->events = events;
	engine->app = app;
	return smfi_main() == MI_SUCCESS ? BS_OK : BS_ERR_IO;
}

static void
libmilter_stop(struct transport_engine *engine)
{
	(void)engine;
	(void)smfi_stop();
}

const struct transport transport_libmilter = {
	.name = "libmilter",
	.listen = libmilter_listen,
	.run = libmilter_run,
	.stop = libmilter_stop,
};
