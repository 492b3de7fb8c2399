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

#define IDLE_S 7210 /* libmilter's own default: beyond any SMTP timeout */
#define BACKLOG 256

/* libmilter's callbacks carry no pointer of ours, so what run() serves stands here; set once, before threads start. */
static struct {
	const struct transport_events *events;
	void *app;
} served;

struct transport_session {
	SMFICTX *ctx;
	void *session;
	unsigned silent; /* enum transport_stage bits for which the server waits for no reply */
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
#define ACTIONS (SMFIF_ADDHDRS | SMFIF_CHGHDRS)

static struct transport_session *
line_of(SMFICTX *ctx)
{
	return smfi_getpriv(ctx);
}

static sfsistat
give(struct transport_session *line, unsigned stage, const struct transport_answer *answer)
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

static sfsistat
on_negotiate(SMFICTX *ctx, unsigned long actions, unsigned long steps, unsigned long f2, unsigned long f3,
    unsigned long *want_actions, unsigned long *want_steps, unsigned long *out2, unsigned long *out3)
{
	struct transport_session *line;

	(void)f2;
	(void)f3;
	if ((actions & ACTIONS) != ACTIONS)
		return SMFIS_REJECT;
	line = calloc(1, sizeof(*line));
	if (line == NULL)
		return SMFIS_TEMPFAIL;
	line->ctx = ctx;
	*want_actions = ACTIONS;
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
	line->session = served.events->open(served.app);
	if (line->session == NULL || smfi_setpriv(ctx, line) != MI_SUCCESS) {
		if (line->session != NULL)
			served.events->close(line->session);
		free(line);
		return SMFIS_TEMPFAIL;
	}
	return SMFIS_CONTINUE;
}

static sfsistat
on_connect(SMFICTX *ctx, char *name, _SOCK_ADDR *address)
{
	struct transport_session *line = line_of(ctx);
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
	served.events->connect(line->session, name != NULL ? name : "", text, &answer);
	return give(line, TRANSPORT_CONNECT, &answer);
}

static sfsistat
on_helo(SMFICTX *ctx, char *name)
{
	struct transport_session *line = line_of(ctx);
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };

	if (line == NULL)
		return SMFIS_TEMPFAIL;
	served.events->helo(line->session, name != NULL ? name : "", &answer);
	return give(line, TRANSPORT_HELO, &answer);
}

static sfsistat
on_mail(SMFICTX *ctx, char **argv)
{
	struct transport_session *line = line_of(ctx);
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };

	if (line == NULL || argv == NULL || argv[0] == NULL)
		return SMFIS_TEMPFAIL;
	served.events->mail(line->session, line, argv[0], argv + 1, &answer);
	return give(line, TRANSPORT_MAIL, &answer);
}

/* SMFIP_RCPT_REJ: mailer "error", status and text of the reply in the place of host and address. */
static bool
is_refused(struct transport_session *line, struct transport_refusal *out)
{
	const char *mailer = transport_macro(line, "{rcpt_mailer}"), *status, *text;

	if (mailer == NULL || strcmp(mailer, "error") != 0)
		return false;
	status = transport_macro(line, "{rcpt_host}");
	text = transport_macro(line, "{rcpt_addr}");
	*out = (struct transport_refusal){ status != NULL ? status : "", text != NULL ? text : "refused" };
	return true;
}

static sfsistat
on_rcpt(SMFICTX *ctx, char **argv)
{
	struct transport_session *line = line_of(ctx);
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };
	struct transport_refusal refusal;
	bool refused;

	if (line == NULL || argv == NULL || argv[0] == NULL)
		return SMFIS_TEMPFAIL;
	refused = is_refused(line, &refusal);
	served.events->rcpt(line->session, line, argv[0], refused ? &refusal : NULL, &answer);
	if (refused)
		answer.action = TRANSPORT_CONTINUE;
	return give(line, TRANSPORT_RCPT, &answer);
}

static sfsistat
on_header(SMFICTX *ctx, char *name, char *value)
{
	struct transport_session *line = line_of(ctx);
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };

	if (line == NULL)
		return SMFIS_TEMPFAIL;
	served.events->header(line->session, name, value != NULL ? value : "", &answer);
	return give(line, TRANSPORT_HEADER, &answer);
}

static sfsistat
on_body(SMFICTX *ctx, unsigned char *data, size_t len)
{
	struct transport_session *line = line_of(ctx);
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };

	if (line == NULL)
		return SMFIS_TEMPFAIL;
	served.events->body(line->session, data, len, &answer);
	return give(line, TRANSPORT_BODY, &answer);
}

static sfsistat
on_end(SMFICTX *ctx)
{
	struct transport_session *line = line_of(ctx);
	struct transport_answer answer = { .action = TRANSPORT_CONTINUE };

	if (line == NULL)
		return SMFIS_TEMPFAIL;
	served.events->end(line->session, line, &answer);
	return give(line, TRANSPORT_END, &answer);
}

static sfsistat
on_abort(SMFICTX *ctx)
{
	struct transport_session *line = line_of(ctx);

	if (line != NULL)
		served.events->abort(line->session);
	return SMFIS_CONTINUE;
}

static sfsistat
on_close(SMFICTX *ctx)
{
	struct transport_session *line = line_of(ctx);

	if (line == NULL)
		return SMFIS_CONTINUE;
	served.events->close(line->session);
	(void)smfi_setpriv(ctx, NULL);
	free(line);
	return SMFIS_CONTINUE;
}

const char *
transport_macro(struct transport_session *line, const char *name)
{
	char copy[64];

	(void)snprintf(copy, sizeof(copy), "%s", name);
	return smfi_getsymval(line->ctx, copy);
}

/* libmilter's prototypes take char *, and it only reads. */
static enum bs_err
change(struct transport_session *line, bool insert, int index, const char *name, const char *value)
{
	char *n = strdup(name), *v = value != NULL ? strdup(value) : NULL;
	int rc = MI_FAILURE;

	if (n != NULL && (v != NULL || value == NULL))
		rc = insert ? smfi_insheader(line->ctx, index, n, v) : smfi_chgheader(line->ctx, n, index, v);
	free(n);
	free(v);
	return rc == MI_SUCCESS ? BS_OK : BS_ERR_IO;
}

enum bs_err
transport_insert_header(struct transport_session *line, int index, const char *name, const char *value)
{
	return change(line, true, index, name, value);
}

enum bs_err
transport_delete_header(struct transport_session *line, const char *name, unsigned index)
{
	return change(line, false, (int)index, name, NULL);
}

static enum bs_err
register_filter(const char *path)
{
	static char name[] = "basalt-milter";
	struct smfiDesc filter = {
		.xxfi_name = name, .xxfi_version = SMFI_VERSION, .xxfi_flags = ACTIONS,
		.xxfi_connect = on_connect, .xxfi_helo = on_helo, .xxfi_envfrom = on_mail, .xxfi_envrcpt = on_rcpt,
		.xxfi_header = on_header, .xxfi_body = on_body, .xxfi_eom = on_end, .xxfi_abort = on_abort,
		.xxfi_close = on_close, .xxfi_negotiate = on_negotiate,
	};
	char address[200];

	if (snprintf(address, sizeof(address), "unix:%s", path) >= (int)sizeof(address))
		return BS_ERR_LIMIT;
	if (smfi_setconn(address) != MI_SUCCESS || smfi_register(filter) != MI_SUCCESS)
		return BS_ERR_IO;
	(void)smfi_settimeout(IDLE_S);
	(void)smfi_setbacklog(BACKLOG);
	return BS_OK;
}

static enum bs_err
libmilter_listen(const char *path, gid_t group, const struct transport_events *events, void *app)
{
	mode_t old = umask(0177);
	enum bs_err err;

	served.events = events;
	served.app = app;
	err = register_filter(path);
	if (err == BS_OK && smfi_opensocket(true) != MI_SUCCESS)
		err = BS_ERR_IO;
	(void)umask(old);
	if (err != BS_OK)
		return err;
	if ((group != (gid_t)-1 && chown(path, (uid_t)-1, group) != 0) || chmod(path, 0660) != 0)
		return BS_ERR_IO;
	return BS_OK;
}

static enum bs_err
libmilter_run(void)
{
	return smfi_main() == MI_SUCCESS ? BS_OK : BS_ERR_IO;
}

const struct transport transport_libmilter = {
	.name = "libmilter",
	.listen = libmilter_listen,
	.run = libmilter_run,
};
