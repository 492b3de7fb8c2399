#include "carry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "authres.h"
#include "judge.h"
#include "verdict_header.h"

/* A reply's text as the sealed field takes it: printable ASCII. */
static void
copy_printable(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; n + 1 < size && text[n] != '\0'; n++)
		out[n] = (char)(text[n] >= 0x20 && text[n] < 0x7f ? text[n] : '?');
	out[n] = '\0';
}

/* What is done for one account. */
static void
part_of(const struct final *final, struct bs_verdict_part *out)
{
	const struct verdict *verdict = &final->verdict;

	*out = (struct bs_verdict_part){ .what = BS_VERDICT_DELIVER };
	if (verdict->action == VERDICT_DROP) {
		out->what = BS_VERDICT_DROP;
	} else if (verdict->action == VERDICT_REJECT) {
		out->what = BS_VERDICT_REJECT;
		(void)snprintf(out->code, sizeof(out->code), "%s", verdict->reply.code);
		(void)snprintf(out->status, sizeof(out->status), "%s", verdict->reply.status);
		copy_printable(out->text, sizeof(out->text), verdict->reply.text);
	} else {
		(void)snprintf(out->folder, sizeof(out->folder), "%s", verdict->folder);
		(void)snprintf(out->label, sizeof(out->label), "%s", verdict->label);
		(void)snprintf(out->note, sizeof(out->note), "%s", verdict->note);
		out->label_subject = out->label[0] != '\0' && final->target->policy->label_subject;
		out->keep_detail = final->target->policy->plus_folder;
	}
}

/* Plain delivery is what happens to an account that is not listed. */
static bool
is_plain(const struct bs_verdict_part *part)
{
	return part->what == BS_VERDICT_DELIVER && part->folder[0] == '\0' && part->label[0] == '\0' &&
	    part->note[0] == '\0' && !part->keep_detail;
}

/* --- with basalt-lmtp --- */

static enum bs_err
add_parts(const struct message *msg, struct bs_verdict_writer *writer, size_t *n)
{
	enum bs_err err = BS_OK;

	*n = 0;
	for (size_t i = 0; i < msg->n_finals && err == BS_OK; i++) {
		struct bs_verdict_part part;

		part_of(msg->finals[i], &part);
		if (is_plain(&part))
			continue;
		err = bs_verdict_writer_add(writer, msg->finals[i]->target->address, &part);
		(*n)++;
	}
	return err;
}

static enum bs_err
insert_sealed(struct bs_verdict_writer *writer, struct transport_session *line)
{
	struct bs_buf *value = bs_buf_new(BS_VERDICT_FIELD_MAX + 1);
	enum bs_err err = value == NULL ? BS_ERR_NOMEM : bs_verdict_writer_value(writer, value);

	if (err == BS_OK)
		err = bs_buf_append(value, "", 1);
	if (err == BS_OK)
		err = transport_insert_header(line, 0, BS_VERDICT_FIELD, (const char *)bs_buf_data(value));
	bs_buf_free(value);
	return err;
}

static enum bs_err
seal(const struct carry *carry, const struct session *session, struct transport_session *line)
{
	const struct message *msg = &session->msg;
	/* A dry run may be at a time that no key knows. */
	int64_t now_s = session->dry ? (int64_t)time(NULL) : msg->now_s;
	struct bs_verdict_writer *writer = NULL;
	size_t n = 0;
	enum bs_err err = bs_verdict_writer_new(carry->keys, now_s, &writer);

	if (err != BS_OK)
		return err;
	err = add_parts(msg, writer, &n);
	if (err == BS_OK && n > 0)
		err = insert_sealed(writer, line);
	bs_verdict_writer_free(writer);
	return err;
}

/* --- without --- */

/* What all accounts agree on; what differs becomes plain. left: something was taken away from somebody. */
static void
agree(const struct message *msg, bool foreign, struct bs_verdict_part *out, bool *left)
{
	struct bs_verdict_part part;

	*out = (struct bs_verdict_part){ .what = BS_VERDICT_DELIVER };
	for (size_t i = 0; i < msg->n_finals; i++) {
		part_of(msg->finals[i], &part);
		*left = *left || part.what != BS_VERDICT_DELIVER;
		if (i == 0 && !foreign)
			*out = part;
		if (strcmp(out->folder, part.folder) != 0)
			out->folder[0] = '\0', *left = true;
		if (strcmp(out->label, part.label) != 0)
			out->label[0] = '\0', *left = true;
		if (strcmp(out->note, part.note) != 0)
			out->note[0] = '\0';
	}
}

static enum bs_err
insert_field(struct transport_session *line, const char *name, const char *text)
{
	char value[256];

	if (text[0] == '\0')
		return BS_OK;
	(void)snprintf(value, sizeof(value), " %s", text);
	return transport_insert_header(line, 0, name, value);
}

static enum bs_err
write_plainly(const struct message *msg, bool foreign, struct transport_session *line, bool *left)
{
	struct bs_verdict_part part;
	enum bs_err err;

	agree(msg, foreign, &part, left);
	err = insert_field(line, CARRY_FOLDER_FIELD, part.folder);
	if (err == BS_OK)
		err = insert_field(line, BS_VERDICT_LABEL_FIELD, part.label);
	if (err == BS_OK)
		err = insert_field(line, BS_VERDICT_NOTE_FIELD, part.note);
	return err;
}

/* --- both --- */

/* Takes out what is forged, from the last to the first: downwards no index moves. */
static enum bs_err
remove_forged(const struct message *msg, struct transport_session *line, size_t *removed)
{
	for (size_t i = msg->n_forged; i-- > 0;) {
		enum bs_err err = transport_delete_header(line, msg->forged[i].name, msg->forged[i].index);

		if (err != BS_OK)
			return err;
		(*removed)++;
	}
	return BS_OK;
}

/* Do some of the recipients have no account here? */
static bool
leads_elsewhere(const struct message *msg)
{
	for (size_t i = 0; i < msg->n_recipients; i++) {
		const struct recipient *recipient = msg->recipients[i];

		if (!judge_is_out(recipient) && (recipient->res == NULL || recipient->n_finals < recipient->res->n ||
		    recipient->n_finals == 0))
			return true;
	}
	return false;
}

enum bs_err
carry_out(const struct carry *carry, struct session *session, struct transport_session *line, struct carry_done *done)
{
	const struct message *msg = &session->msg;
	char value[AUTHRES_MAX];
	enum bs_err err;

	*done = (struct carry_done){ 0 };
	err = remove_forged(msg, line, &done->removed);
	if (err == BS_OK)
		err = authres_write(carry->authserv_id, session, value, sizeof(value));
	if (err == BS_OK)
		err = transport_insert_header(line, 0, AUTHRES_NAME, value);
	if (err != BS_OK)
		return err;
	if (carry->keys != NULL)
		return seal(carry, session, line);
	return write_plainly(msg, leads_elsewhere(msg), line, &done->left);
}
