/*
 * The library judges t= and x= by the clock, with a fudge that one handle has for all its messages: a message of another
 * day gets a handle of its own with a fudge so wide that the library refuses only what we would; we look again.
 */
#include "dkim.h"

#include <inttypes.h>
#include <opendkim/dkim.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "buf.h"
#include "dkim_keys.h"

#define SIGNATURE "DKIM-Signature"
#define TODAY_S 60 /* how far a request's time may be from the clock's and still be served by the common handle */
#define KEY_NAME_MAX (2 * DNS_NAME_MAX + 16)

struct dkim_engine {
	DKIM_LIB *lib;
};

/* One signature that is reported. */
struct slot {
	DKIM_SIGINFO *sig;
	bool live; /* to be processed at the end; else result and reason are known */
	enum auth_dkim_result result;
	const char *reason;
	struct dns_query *query;
	bool answered; /* status and answer are those of the query, which is gone */
	enum dns_status status;
	struct dns_answer *answer;
	DKIM_STAT processed;
};

struct dkim_msg {
	struct dkim_engine *engine;
	DKIM_LIB *own; /* of a message of another day; else NULL */
	DKIM *dkim;    /* NULL: nothing to verify */
	struct dns *dns;
	int64_t now_s, deadline_ms;
	struct bs_buf *header; /* fields as "name:value", CRLF in folds, each ended by NUL */
	bool header_done;
	bool too_long;
	bool hashing; /* some signature needs the body */
	unsigned n_fields;   /* DKIM-Signature fields in the message */
	unsigned n_from;     /* From fields */
	unsigned n_bad;      /* of those looked at, the ones that are no list of tags */
	const char *broken;  /* why no signature could be looked at, or NULL */
	enum auth_dkim_result broken_result;
	uint8_t tail[2];     /* the body's last bytes */
	struct slot slots[DKIM_FIELDS_MAX];
	size_t n_slots, n_live;
};

/* RFC 8601 section 2.7.1: neutral is what can't be read, permerror what can't ever be verified. */
static const struct {
	int error;
	enum auth_dkim_result result;
	const char *reason; /* NULL: the library's own words */
} errors[] = {
	{ DKIM_SIGERROR_EXPIRED, AUTH_DKIM_PERMERROR, "signature expired" },
	{ DKIM_SIGERROR_FUTURE, AUTH_DKIM_PERMERROR, "signature from the future" },
	{ DKIM_SIGERROR_INVALID_H, AUTH_DKIM_PERMERROR, "From is not signed" },
	{ DKIM_SIGERROR_NOKEY, AUTH_DKIM_PERMERROR, "no key" },
	{ DKIM_SIGERROR_KEYREVOKED, AUTH_DKIM_PERMERROR, "key revoked" },
	{ DKIM_SIGERROR_DNSSYNTAX, AUTH_DKIM_PERMERROR, "key record can't be read" },
	{ DKIM_SIGERROR_KEYFAIL, AUTH_DKIM_TEMPERROR, "key can't be asked for" },
	{ DKIM_SIGERROR_MULTIREPLY, AUTH_DKIM_PERMERROR, "several key records" },
	{ DKIM_SIGERROR_KEYVERSION, AUTH_DKIM_PERMERROR, NULL },
	{ DKIM_SIGERROR_KEYUNKNOWNHASH, AUTH_DKIM_PERMERROR, NULL },
	{ DKIM_SIGERROR_KEYHASHMISMATCH, AUTH_DKIM_PERMERROR, NULL },
	{ DKIM_SIGERROR_NOTEMAILKEY, AUTH_DKIM_PERMERROR, NULL },
	{ DKIM_SIGERROR_KEYTYPEMISSING, AUTH_DKIM_PERMERROR, NULL },
	{ DKIM_SIGERROR_KEYTYPEUNKNOWN, AUTH_DKIM_PERMERROR, NULL },
	{ DKIM_SIGERROR_KEYDECODE, AUTH_DKIM_PERMERROR, "key can't be read" },
	{ DKIM_SIGERROR_SUBDOMAIN, AUTH_DKIM_PERMERROR, "key is not for subdomains" },
	{ DKIM_SIGERROR_BADSIG, AUTH_DKIM_FAIL, "signature does not fit" },
};

static void
judge_error(struct slot *slot, int error)
{
	slot->result = AUTH_DKIM_NEUTRAL;
	slot->reason = NULL;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		if (errors[i].error == error) {
			slot->result = errors[i].result;
			slot->reason = errors[i].reason;
		}
	}
	if (slot->reason == NULL)
		slot->reason = dkim_sig_geterrorstr(error);
	if (slot->reason == NULL)
		slot->reason = "unknown error";
}

/* A tag of the signature, blanks taken out; NULL: not there. */
static const char *
tag(DKIM_SIGINFO *sig, const char *name)
{
	unsigned char copy[8];

	(void)snprintf((char *)copy, sizeof(copy), "%s", name);
	return (const char *)dkim_sig_gettagvalue(sig, false, copy);
}

/* A tag with seconds since 1970; -1: not there. More than 12 digits are beyond all times (section 3.5). */
static int64_t
time_tag(DKIM_SIGINFO *sig, const char *name)
{
	const char *text = tag(sig, name);

	if (text == NULL)
		return -1;
	return strlen(text) > 12 ? INT64_MAX / 2 : (int64_t)strtoull(text, NULL, 10);
}

/* How often a list of header names, as in h=, has From. */
static unsigned
count_from(const char *list)
{
	unsigned n = 0;

	while (list != NULL && *list != '\0') {
		size_t len = strcspn(list, ":");

		n += len == 4 && strncasecmp(list, "from", 4) == 0 ? 1 : 0;
		list += len + (list[len] == ':' ? 1 : 0);
	}
	return n;
}

/* Why a signature that the library would verify is not to be; NULL: it is. */
static const char *
objection(const struct dkim_msg *msg, DKIM_SIGINFO *sig, enum auth_dkim_result *result)
{
	const char *query = tag(sig, "q");
	int64_t expires = time_tag(sig, "x");
	dkim_alg_t alg;

	*result = AUTH_DKIM_POLICY;
	if (tag(sig, "l") != NULL)
		return "only a part of the body is signed";
	if (dkim_sig_getsignalg(sig, &alg) != DKIM_STAT_OK || alg == DKIM_SIGN_RSASHA1)
		return "rsa-sha1";
	if (count_from(tag(sig, "h")) < msg->n_from)
		return "not every From is signed"; /* section 8.15 */
	*result = AUTH_DKIM_PERMERROR;
	if (expires >= 0 && msg->now_s > expires + DKIM_CLOCK_S)
		return "signature expired";
	if (time_tag(sig, "t") > msg->now_s + DKIM_CLOCK_S)
		return "signature from the future";
	if (query != NULL && strstr(query, "dns/txt") == NULL)
		return "no such query method";
	return NULL;
}

static void
begin_query(struct dkim_msg *msg, struct slot *slot)
{
	char name[KEY_NAME_MAX];

	(void)snprintf(name, sizeof(name), "%.*s._domainkey.%.*s", DNS_NAME_MAX, dkim_sig_getselector(slot->sig),
	    DNS_NAME_MAX, dkim_sig_getdomain(slot->sig));
	slot->query = dns_begin(msg->dns, name, DNS_TXT, msg->deadline_ms);
}

/* Waits for the key's record at most until the query's deadline. */
static void
end_query(struct dkim_msg *msg, struct slot *slot)
{
	if (slot->answered)
		return;
	slot->status = dns_finish(msg->dns, slot->query, &slot->answer);
	slot->query = NULL;
	slot->answered = true;
}

/* The library's callback once the header is known: chooses what is verified, and asks for its keys. */
static DKIM_CBSTAT
prescreen(DKIM *dkim, DKIM_SIGINFO **sigs, int n)
{
	struct dkim_msg *msg = dkim_get_user_context(dkim);

	for (int i = 0; i < n; i++) {
		struct slot *slot = &msg->slots[msg->n_slots];
		int error = dkim_sig_geterror(sigs[i]);

		if (msg->n_slots == DKIM_FIELDS_MAX || (error == DKIM_SIGERROR_UNKNOWN && msg->n_live == AUTH_SIGNATURES_MAX)) {
			dkim_sig_ignore(sigs[i]);
			continue;
		}
		slot->sig = sigs[i];
		if (error != DKIM_SIGERROR_UNKNOWN)
			judge_error(slot, error);
		else
			slot->reason = objection(msg, sigs[i], &slot->result);
		slot->live = slot->reason == NULL;
		msg->n_slots++;
		if (!slot->live) {
			dkim_sig_ignore(sigs[i]);
			continue;
		}
		msg->n_live++;
		begin_query(msg, slot);
	}
	return DKIM_CBSTAT_CONTINUE;
}

/* The library's callback for a key's record: text, ended by NUL. */
static DKIM_CBSTAT
find_key(DKIM *dkim, DKIM_SIGINFO *sig, u_char *out, size_t size)
{
	struct dkim_msg *msg = dkim_get_user_context(dkim);
	const struct dns_record *record;
	struct slot *slot = msg->slots;

	while (slot < msg->slots + msg->n_slots && slot->sig != sig)
		slot++;
	if (slot == msg->slots + msg->n_slots)
		return DKIM_CBSTAT_ERROR;
	end_query(msg, slot);
	if (slot->status == DNS_TEMPORARY)
		return DKIM_CBSTAT_TRYAGAIN;
	if (slot->status != DNS_FOUND)
		return DKIM_CBSTAT_NOTFOUND;
	record = &slot->answer->records[0];
	if (slot->answer->n > 1) {
		slot->reason = "several key records";
		return DKIM_CBSTAT_REJECT;
	}
	if (record->len >= size || memchr(record->data, 0, record->len) != NULL) {
		slot->reason = "key record can't be read";
		return DKIM_CBSTAT_REJECT;
	}
	memcpy(out, record->data, record->len);
	out[record->len] = '\0';
	return DKIM_CBSTAT_CONTINUE;
}

/* The library's callback once the body is hashed. What it would do next, we have done: hence the refusal. */
static DKIM_CBSTAT
verify_all(DKIM *dkim, DKIM_SIGINFO **sigs, int n)
{
	struct dkim_msg *msg = dkim_get_user_context(dkim);

	(void)sigs;
	(void)n;
	for (size_t i = 0; i < msg->n_slots; i++)
		if (msg->slots[i].live)
			msg->slots[i].processed = dkim_sig_process(dkim, msg->slots[i].sig);
	return DKIM_CBSTAT_REJECT;
}

static DKIM_LIB *
lib_new(uint64_t clock_s)
{
	DKIM_LIB *lib = dkim_init(NULL, NULL);
	unsigned flags = DKIM_LIBFLAGS_DELAYSIGPROC;

	if (lib == NULL)
		return NULL;
	(void)dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_FLAGS, &flags, sizeof(flags));
	(void)dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_CLOCKDRIFT, &clock_s, sizeof(clock_s));
	(void)dkim_set_prescreen(lib, prescreen);
	(void)dkim_set_key_lookup(lib, find_key);
	(void)dkim_set_final(lib, verify_all);
	return lib;
}

enum bs_err
dkim_engine_new(struct dkim_engine **out)
{
	struct dkim_engine *engine = calloc(1, sizeof(*engine));

	if (engine == NULL)
		return BS_ERR_NOMEM;
	engine->lib = lib_new(TODAY_S + DKIM_CLOCK_S);
	if (engine->lib == NULL) {
		free(engine);
		return BS_ERR_NOMEM;
	}
	*out = engine;
	return BS_OK;
}

void
dkim_engine_free(struct dkim_engine *engine)
{
	if (engine == NULL)
		return;
	dkim_close(engine->lib);
	dkim_keys_clear();
	free(engine);
}

enum bs_err
dkim_msg_new(struct dkim_engine *engine, struct dkim_msg **out)
{
	struct dkim_msg *msg = calloc(1, sizeof(*msg));

	if (msg == NULL)
		return BS_ERR_NOMEM;
	msg->engine = engine;
	msg->header = bs_buf_new(DKIM_HEADER_MAX);
	if (msg->header == NULL) {
		free(msg);
		return BS_ERR_NOMEM;
	}
	*out = msg;
	return BS_OK;
}

void
dkim_msg_free(struct dkim_msg *msg)
{
	if (msg == NULL)
		return;
	for (size_t i = 0; i < msg->n_slots; i++) {
		if (msg->slots[i].live && !msg->slots[i].answered)
			end_query(msg, &msg->slots[i]);
		dns_answer_unref(msg->slots[i].answer);
	}
	if (msg->dkim != NULL)
		(void)dkim_free(msg->dkim);
	if (msg->own != NULL)
		dkim_close(msg->own);
	bs_buf_free(msg->header);
	free(msg);
}

/* Without the blanks before the colon, which count to the field, not to its name. */
static bool
is_named(const char *field, const char *name)
{
	size_t len = strlen(name);

	return strncasecmp(field, name, len) == 0 && field[len + strspn(field + len, " \t")] == ':';
}

static enum bs_err
append_value(struct bs_buf *buf, const char *value)
{
	enum bs_err err = BS_OK;

	while (err == BS_OK && *value != '\0') {
		size_t len = strcspn(value, "\n");
		bool fold = value[len] == '\n';

		err = bs_buf_append(buf, value, len > 0 && fold && value[len - 1] == '\r' ? len - 1 : len);
		if (err == BS_OK && fold)
			err = bs_buf_append(buf, "\r\n", 2);
		value += len + (fold ? 1 : 0);
	}
	return err;
}

void
dkim_msg_header(struct dkim_msg *msg, const char *name, const char *value)
{
	size_t at = bs_buf_len(msg->header);
	enum bs_err err;

	err = bs_buf_append(msg->header, name, strlen(name));
	if (err == BS_OK)
		err = bs_buf_append(msg->header, ":", 1);
	if (err == BS_OK)
		err = append_value(msg->header, value);
	if (err == BS_OK)
		err = bs_buf_append(msg->header, "", 1);
	if (err != BS_OK) {
		msg->too_long = true;
		return;
	}
	msg->n_fields += is_named((const char *)bs_buf_data(msg->header) + at, SIGNATURE) ? 1 : 0;
	msg->n_from += is_named((const char *)bs_buf_data(msg->header) + at, "From") ? 1 : 0;
}

static void
set_broken(struct dkim_msg *msg, enum auth_dkim_result result, const char *reason)
{
	msg->broken_result = result;
	msg->broken = reason;
}

/* Gives the fields to the library, of the signatures the first DKIM_FIELDS_MAX. */
static void
feed(struct dkim_msg *msg)
{
	const char *field = (const char *)bs_buf_data(msg->header), *end = field + bs_buf_len(msg->header);
	unsigned n = 0;

	for (size_t len; field < end && msg->broken == NULL; field += len + 1) {
		bool signature = is_named(field, SIGNATURE);
		DKIM_STAT status;

		len = strlen(field);
		if (signature && ++n > DKIM_FIELDS_MAX)
			continue;
		/* The library copies it, though its prototype does not say const. */
		status = dkim_header(msg->dkim, (u_char *)(uintptr_t)field, len); /* NOLINT(performance-no-int-to-ptr): the library's type */
		if (status == DKIM_STAT_NORESOURCE || status == DKIM_STAT_INTERNAL)
			set_broken(msg, AUTH_DKIM_TEMPERROR, "out of memory");
		else if (status != DKIM_STAT_OK && signature)
			msg->n_bad++;
	}
}

static bool
open_handle(struct dkim_msg *msg)
{
	static const unsigned char id[] = "basalt";
	int64_t away_s = llabs((long long)time(NULL) - (long long)msg->now_s);
	DKIM_STAT status;

	if (away_s > TODAY_S) {
		msg->own = lib_new((uint64_t)away_s + DKIM_CLOCK_S);
		if (msg->own == NULL)
			return false;
	}
	msg->dkim = dkim_verify(msg->own != NULL ? msg->own : msg->engine->lib, id, NULL, &status);
	return msg->dkim != NULL && dkim_set_user_context(msg->dkim, msg) == DKIM_STAT_OK;
}

/* Once the header is complete. */
static void
end_header(struct dkim_msg *msg, const struct dkim_request *request)
{
	DKIM_STAT status;

	msg->header_done = true;
	msg->dns = request->dns;
	msg->now_s = request->now_s;
	msg->deadline_ms = request->deadline_ms;
	if (msg->n_fields == 0 && !msg->too_long)
		return;
	if (msg->too_long)
		set_broken(msg, AUTH_DKIM_PERMERROR, "header too long");
	else if (!open_handle(msg))
		set_broken(msg, AUTH_DKIM_TEMPERROR, "out of memory");
	if (msg->broken == NULL)
		feed(msg);
	if (msg->broken != NULL)
		return;
	status = dkim_eoh(msg->dkim);
	if (status == DKIM_STAT_SYNTAX)
		set_broken(msg, AUTH_DKIM_PERMERROR, "no From that can be read");
	else if (status != DKIM_STAT_OK && status != DKIM_STAT_NOSIG)
		set_broken(msg, AUTH_DKIM_TEMPERROR, "out of memory");
	msg->hashing = msg->broken == NULL && msg->n_live > 0;
}

/* The library's prototypes do not say const; it reads only. */
static void
hash(struct dkim_msg *msg, const void *data, size_t len)
{
	if (dkim_body(msg->dkim, (u_char *)(uintptr_t)data, len) == DKIM_STAT_OK) /* NOLINT(performance-no-int-to-ptr): the same */
		return;
	msg->hashing = false;
	set_broken(msg, AUTH_DKIM_TEMPERROR, "out of memory");
}

void
dkim_msg_body(struct dkim_msg *msg, const struct dkim_request *request, const uint8_t *data, size_t len)
{
	if (!msg->header_done)
		end_header(msg, request);
	if (!msg->hashing || len == 0)
		return;
	hash(msg, data, len);
	if (len > 1)
		msg->tail[0] = data[len - 2];
	else
		msg->tail[0] = msg->tail[1];
	msg->tail[1] = data[len - 1];
}

/* Of a signature that was processed. */
static void
judge_processed(struct slot *slot)
{
	unsigned flags = dkim_sig_getflags(slot->sig), bits = 0;
	int error = dkim_sig_geterror(slot->sig);

	if (slot->status == DNS_TEMPORARY || (slot->processed != DKIM_STAT_OK && slot->reason == NULL)) {
		slot->result = AUTH_DKIM_TEMPERROR;
		slot->reason = slot->status == DNS_TEMPORARY ? "key can't be asked for" : "out of memory";
	} else if (slot->reason != NULL) {
		slot->result = AUTH_DKIM_PERMERROR;
	} else if (error != DKIM_SIGERROR_OK) {
		judge_error(slot, error);
		if (error == DKIM_SIGERROR_BADSIG && dkim_sig_getbh(slot->sig) == DKIM_SIGBH_MISMATCH)
			slot->reason = "body was changed";
	} else if (dkim_sig_getkeysize(slot->sig, &bits) == DKIM_STAT_OK && bits > 0 && bits < DKIM_RSA_BITS_MIN) {
		slot->result = AUTH_DKIM_POLICY;
		slot->reason = "key too short";
	} else if ((flags & DKIM_SIGFLAG_PASSED) != 0 && dkim_sig_getbh(slot->sig) == DKIM_SIGBH_MATCH) {
		slot->result = AUTH_DKIM_PASS;
		slot->reason = "";
	} else {
		judge_error(slot, DKIM_SIGERROR_BADSIG);
	}
	if ((flags & DKIM_SIGFLAG_TESTKEY) != 0 && slot->result != AUTH_DKIM_TEMPERROR) {
		/* Section 3.6.1, t=y: what does not fit is as if it were not signed. */
		if (slot->result != AUTH_DKIM_PASS)
			slot->result = AUTH_DKIM_NEUTRAL;
		slot->reason = slot->result == AUTH_DKIM_PASS ? "key under test" : "key under test, signature does not fit";
	}
}

static void
put_text(char *out, size_t size, const char *text)
{
	auth_clean(out, size, text != NULL ? text : "");
}

static void
report(const struct slot *slot, struct auth *out)
{
	struct auth_dkim *to = &out->dkim[out->n_dkim++];

	*to = (struct auth_dkim){ .result = slot->result };
	put_text(to->reason, sizeof(to->reason), slot->reason);
	if (slot->sig == NULL)
		return;
	put_text(to->domain, sizeof(to->domain), tag(slot->sig, "d"));
	put_text(to->selector, sizeof(to->selector), tag(slot->sig, "s"));
	put_text(to->algorithm, sizeof(to->algorithm), tag(slot->sig, "a"));
	put_text(to->b, sizeof(to->b), tag(slot->sig, "b"));
}

/* Those that were verified have a place each; of the others come as many as there is room for. */
static void
report_all(const struct dkim_msg *msg, struct auth *out)
{
	const struct slot bad = { .result = AUTH_DKIM_NEUTRAL, .reason = "signature can't be read" };
	size_t room = AUTH_SIGNATURES_MAX - msg->n_live;

	for (size_t i = 0; i < msg->n_slots; i++) {
		const struct slot *slot = &msg->slots[i];

		if (slot->live || room > 0)
			report(slot, out);
		if (!slot->live && room > 0)
			room--;
	}
	for (unsigned i = 0; i < msg->n_bad && room > 0; i++, room--)
		report(&bad, out);
}

static void
finish_body(struct dkim_msg *msg)
{
	bool empty = msg->tail[1] == 0 && msg->tail[0] == 0;

	if (!empty && (msg->tail[0] != '\r' || msg->tail[1] != '\n'))
		hash(msg, "\r\n", 2);
	if (msg->hashing)
		(void)dkim_eom(msg->dkim, NULL);
}

void
dkim_msg_end(struct dkim_msg *msg, const struct dkim_request *request, struct auth *out)
{
	struct slot all = { .result = AUTH_DKIM_NONE };

	if (!msg->header_done)
		end_header(msg, request);
	out->n_dkim = 0;
	out->dkim_done = true;
	if (msg->hashing)
		finish_body(msg);
	if (msg->broken != NULL) {
		all.result = msg->broken_result;
		all.reason = msg->broken;
		report(&all, out);
		return;
	}
	for (size_t i = 0; i < msg->n_slots; i++)
		if (msg->slots[i].live)
			judge_processed(&msg->slots[i]);
	report_all(msg, out);
}
