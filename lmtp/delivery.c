#include "delivery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dots.h"
#include "group.h"
#include "sock.h"

#define HELD_MAX 131072 /* of the block of fields above the verdict */
#define CHUNK 16384
#define ROOM (2 * CHUNK + 4096) /* a chunk with a dot added to each byte, a label, a note */

struct delivery {
	const struct delivery_site *site;
	struct envelope *env;
	const char *xforward;
	struct backend **spare;
	struct delivery_summary *summary;
	struct fields *fields;
	struct bs_buf *held;
	struct bs_verdict *verdict;
	bool planned;
	bool skipping; /* the field that is under way is taken off */
	bool body;     /* the header has ended */
	struct group groups[GROUPS_MAX];
	size_t n_groups;
};

/* What may stand above our header: it is put at index 0, and only Postfix, the milter and LMTP servers put anything above. */
static bool
may_stand_above(const struct field_piece *piece)
{
	static const char *const names[] = { "Return-Path", "Delivered-To", "X-Original-To", "Received", "Authentication-Results" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (field_is(piece, names[i]))
			return true;
	return piece->first && piece->len > 9 && strncasecmp((const char *)piece->data, "X-Basalt-", 9) == 0;
}

/* --- who gets what --- */

static void
count_verdict(const struct delivery *d, enum bs_err err)
{
	struct tally *t = d->site->tally;

	switch (err) {
	case BS_OK:
		tally_add(&t->verdict_ok);
		break;
	case BS_ERR_SHORT:
		tally_add(&t->verdict_absent);
		break;
	case BS_ERR_EXPIRED:
		tally_add(&t->verdict_expired);
		break;
	case BS_ERR_NOENT:
		tally_add(&t->verdict_unknown_key);
		break;
	default:
		tally_add(&t->verdict_bad);
	}
}

/* By RCPT first: that is who gets the copy; else by whom the sender wrote to. NULL: nothing is said of him. */
static struct bs_verdict_part *
part_of(const struct delivery *d, const struct recipient *rcpt)
{
	struct bs_verdict_part *part = d->verdict == NULL ? NULL : malloc(sizeof(*part));

	if (part == NULL)
		return NULL;
	if (bs_verdict_find(d->verdict, rcpt->base, part) == BS_OK
	    || (rcpt->orcpt[0] != '\0' && bs_verdict_find(d->verdict, rcpt->orcpt, part) == BS_OK))
		return part;
	free(part);
	return NULL;
}

/* The group of a recipient's copy, a new one if there is none; false: there are too many. */
static bool
join_group(struct delivery *d, struct recipient *rcpt)
{
	static const struct bs_verdict_part plain = { .what = BS_VERDICT_DELIVER };
	const struct bs_verdict_part *part = rcpt->part == NULL ? &plain : rcpt->part;
	size_t i = 0;

	while (i < d->n_groups && !group_fits(&d->groups[i], part))
		i++;
	if (i == d->n_groups) {
		if (i == d->site->limits.groups_max)
			return false;
		group_init(&d->groups[d->n_groups++], part);
	}
	rcpt->group = i;
	return true;
}

static void
decide_one(struct delivery *d, struct recipient *rcpt)
{
	struct tally *t = d->site->tally;
	const char *folder;

	rcpt->part = part_of(d, rcpt);
	if (rcpt->part == NULL) {
		if (d->verdict != NULL)
			tally_add(&t->unlisted);
	} else if (rcpt->part->what == BS_VERDICT_DROP) {
		rcpt->done = "drop";
		reply_set(&rcpt->reply, "250", "2.0.0 Ok");
		tally_add(&t->dropped);
		return;
	} else if (rcpt->part->what == BS_VERDICT_REJECT) {
		rcpt->done = "reject";
		reply_set(&rcpt->reply, rcpt->part->code, rcpt->part->status);
		(void)snprintf(rcpt->reply.text, sizeof(rcpt->reply.text), "%s %s", rcpt->part->status, rcpt->part->text);
		tally_add(&t->rejected);
		return;
	}
	folder = recipient_folder(rcpt);
	rcpt->done = rcpt->part == NULL ? "plain" : "deliver";
	tally_add(folder[0] != '\0' ? &t->filed : &t->delivered);
	if (!join_group(d, rcpt)) {
		rcpt->done = "later";
		reply_set(&rcpt->reply, "452", "4.5.3 Too many different outcomes at once, try again");
	}
}

static enum bs_err
group_out(void *ctx, const void *data, size_t len)
{
	struct group *g = ctx;

	if (g->failed == BS_OK)
		stream_put_bytes(g->backend->io, data, len);
	return BS_OK;
}

/* Before bytes are added: all groups have room for a chunk afterwards, or have failed. */
static void
make_room(struct delivery *d)
{
	for (size_t i = 0; i < d->n_groups; i++) {
		if (d->groups[i].failed != BS_OK || stream_room(d->groups[i].backend->io) >= ROOM)
			continue;
		groups_flush(d->groups, d->n_groups, d->env, bs_now_ms() + d->site->limits.data_ms);
		return;
	}
}

static void
put_bytes(struct delivery *d, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < d->n_groups; i++)
		(void)group_out(&d->groups[i], data, len);
}

/* Every verdict is known: opens the connections, and sends what was held. */
static enum bs_err
plan(struct delivery *d, enum bs_err verdict)
{
	int64_t deadline_ms = bs_now_ms() + d->site->limits.setup_ms;
	enum bs_err err = BS_OK;

	d->planned = true;
	d->summary->verdict = verdict;
	count_verdict(d, verdict);
	if (d->verdict != NULL)
		(void)snprintf(d->summary->verdict_id, sizeof(d->summary->verdict_id), "%s", bs_verdict_id(d->verdict));
	for (size_t i = 0; i < d->env->n_recipients; i++)
		decide_one(d, d->env->recipients[i]);
	d->summary->groups = d->n_groups;
	for (size_t i = 0; i < d->n_groups && err == BS_OK; i++) {
		struct group *g = &d->groups[i];

		group_open(g, d->site, d->env, i, d->xforward, deadline_ms, d->spare);
		err = rewrite_begin(&g->rewrite, group_out, g);
	}
	for (size_t at = 0; err == BS_OK && at < bs_buf_len(d->held); at += CHUNK) {
		size_t len = bs_buf_len(d->held) - at < CHUNK ? bs_buf_len(d->held) - at : CHUNK;

		make_room(d);
		put_bytes(d, bs_buf_data(d->held) + at, len);
	}
	bs_buf_reset(d->held);
	return err;
}

/* --- the header --- */

static enum bs_err
open_verdict(struct delivery *d, const struct field_piece *piece)
{
	size_t at = field_value_at(piece);
	enum bs_err err = BS_ERR_FORMAT;

	if (piece->last && d->site->keys != NULL)
		err = bs_verdict_open(d->site->keys, (const char *)piece->data + at, piece->len - at, d->site->now_s(), &d->verdict);
	return plan(d, err);
}

static enum bs_err
put_piece(struct delivery *d, const struct field_piece *piece)
{
	enum bs_err err = BS_OK;

	for (size_t i = 0; i < d->n_groups && err == BS_OK; i++)
		err = rewrite_field(&d->groups[i].rewrite, piece, group_out, &d->groups[i]);
	return err;
}

/* Of a message from nobody: Postfix's own bounces quote the header of what they are about, in their text. */
static bool
is_watched_body(const struct delivery *d)
{
	return d->env->sender[0] == '\0';
}

static enum bs_err
on_piece(struct delivery *d, const struct field_piece *piece)
{
	enum bs_err err = BS_OK;

	if (piece->first && field_is(piece, BS_VERDICT_FIELD)) {
		d->skipping = true;
		d->summary->stripped++;
		if (!d->planned)
			err = open_verdict(d, piece);
	}
	if (d->skipping) {
		d->skipping = !piece->last;
		return err;
	}
	if (d->body) {
		put_bytes(d, piece->data, piece->len);
		return BS_OK;
	}
	if (!d->planned && (!piece->first || may_stand_above(piece)) && bs_buf_room(d->held) >= piece->len)
		return bs_buf_append(d->held, piece->data, piece->len);
	if (!d->planned)
		err = plan(d, BS_ERR_SHORT);
	return err == BS_OK ? put_piece(d, piece) : err;
}

/* The streams' room is more than a chunk and what is added to it; a piece may be four times as much. */
static enum bs_err
on_field(void *ctx, const struct field_piece *piece)
{
	struct delivery *d = ctx;
	enum bs_err err = BS_OK;

	for (size_t at = 0; err == BS_OK && at < piece->len;) {
		struct field_piece part = *piece;

		/* A verdict is looked at whole, all else in chunks. */
		part.data += at;
		part.len = at == 0 && field_is(piece, BS_VERDICT_FIELD) ? piece->len : piece->len - at < CHUNK ? piece->len - at : CHUNK;
		part.first = piece->first && at == 0;
		at += part.len;
		part.last = piece->last && at == piece->len;
		make_room(d);
		err = on_piece(d, &part);
	}
	return err;
}

static enum bs_err
on_header_end(void *ctx, const uint8_t *blank_line, size_t len)
{
	struct delivery *d = ctx;
	enum bs_err err = d->planned ? BS_OK : plan(d, BS_ERR_SHORT);

	make_room(d);
	for (size_t i = 0; i < d->n_groups && err == BS_OK && !d->body; i++)
		err = rewrite_end(&d->groups[i].rewrite, group_out, &d->groups[i]);
	put_bytes(d, blank_line, len);
	d->body = true;
	/* What follows an empty line is taken for a header again. */
	if (is_watched_body(d) && len > 0)
		fields_init(d->fields, on_field, on_header_end, d);
	return err;
}

/* --- the bytes --- */

static enum bs_err
take_chunk(struct delivery *d, const uint8_t *data, size_t len)
{
	size_t used = 0;
	enum bs_err err = BS_OK;

	if (!d->fields->ended)
		err = fields_feed(d->fields, data, len, &used);
	if (err != BS_OK || used == len)
		return err;
	make_room(d);
	put_bytes(d, data + used, len - used);
	return BS_OK;
}

static enum bs_err
read_message(struct delivery *d, struct stream *client)
{
	struct dots dots = DOTS_START;
	uint8_t out[2 * CHUNK + 4];
	enum bs_err err = BS_OK;

	while (err == BS_OK && !dots_ended(&dots)) {
		const uint8_t *in;
		size_t len, used, n;

		err = stream_wait(client, -1, bs_now_ms() + d->site->limits.data_ms);
		if (err != BS_OK)
			break;
		stream_input(client, &in, &len);
		n = dots_feed(&dots, in, len < CHUNK ? len : CHUNK, out, &used);
		stream_take(client, used);
		err = take_chunk(d, out, n);
	}
	return err == BS_OK ? fields_finish(d->fields) : err;
}

static void
count_replies(const struct delivery *d)
{
	for (size_t i = 0; i < d->env->n_recipients; i++) {
		const struct recipient *rcpt = d->env->recipients[i];

		if (rcpt->reply.code[0] == '4')
			tally_add(&d->site->tally->deferred);
		else if (rcpt->reply.code[0] == '5' && strcmp(rcpt->done, "reject") != 0)
			tally_add(&d->site->tally->refused);
	}
}

enum bs_err
delivery_run(const struct delivery_site *site, struct stream *client, struct envelope *env, const char *xforward,
    struct backend **spare, struct delivery_summary *summary)
{
	struct delivery *d = calloc(1, sizeof(*d));
	enum bs_err err = BS_ERR_NOMEM;

	if (d == NULL)
		return err;
	d->site = site;
	d->env = env;
	d->xforward = xforward;
	d->spare = spare;
	d->summary = summary;
	d->held = bs_buf_new(HELD_MAX);
	d->fields = malloc(sizeof(*d->fields));
	if (d->held != NULL && d->fields != NULL) {
		fields_init(d->fields, on_field, on_header_end, d);
		err = read_message(d, client);
	}
	if (err == BS_OK)
		groups_finish(d->groups, d->n_groups, env, bs_now_ms() + site->limits.answer_ms, spare);
	for (size_t i = 0; i < d->n_groups; i++)
		group_clear(&d->groups[i]);
	if (err == BS_OK)
		count_replies(d);
	bs_verdict_free(d->verdict);
	bs_buf_free(d->held);
	free(d->fields);
	free(d);
	return err;
}
