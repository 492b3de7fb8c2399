#include "outcome.h"

#include <poll.h>
#include <string.h>

#include "sock.h"

#define LOOK_MS 20000  /* more than keyd waits for its database */
#define EVERY_MS 250
#define SETTLED_MS 3000 /* a database that was away does what it was told before a little later */
#define GONE_MS 2000    /* whoever restarts keyd has done so by then */

enum verdict { MADE, NOT_MADE, UNKNOWN };

int
outcome_begin(struct ctl *ctl, const char *address, struct outcome *out)
{
	enum bs_err err = bs_keyclient_slots(ctl->keyd, address, &out->before);

	out->address = address;
	out->known = err == BS_OK;
	if (bs_err_is_transient(err))
		return ctl_fail(err, "keys of %s: %s; nothing was changed", address, ctl_keyd_text(err));
	return CTL_OK;
}

/* A refusal is none. */
static bool
leaves_open(enum bs_err err)
{
	return bs_err_is_transient(err) && err != BS_ERR_BUSY && err != BS_ERR_NOMEM;
}

static bool
has_same_slots(const struct bs_slot_list *a, const struct bs_slot_list *b, bool *raised)
{
	*raised = false;
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct bs_slot_info *x = &a->slots[i], *y = &b->slots[i];

		if (memcmp(x->id, y->id, BS_ID_LEN) != 0 || x->flags != y->flags)
			return false;
		*raised |= x->memory_kib != y->memory_kib || x->passes != y->passes;
	}
	return true;
}

/* That a login raised a password's Argon2id meanwhile is not what was asked for. */
static bool
is_changed(const struct bs_slot_list *before, const struct bs_slot_list *now)
{
	bool raised;

	if (now->record.generation <= before->record.generation)
		return false;
	return !has_same_slots(before, now, &raised) || !raised || before->kept != now->kept || before->record.flags != now->record.flags
	    || memcmp(before->record.key_id, now->record.key_id, BS_ID_LEN) != 0;
}

/* By another connection, if that one is of no use any more. BS_ERR_IO: nobody listens. */
static enum bs_err
look(struct ctl *ctl, const struct outcome *outcome, bool *changed)
{
	struct bs_slot_list now;
	enum bs_err err;

	if (bs_keyclient_is_dead(ctl->keyd) && ctl_reopen_keyd(ctl) != BS_OK)
		return BS_ERR_IO;
	err = bs_keyclient_slots(ctl->keyd, outcome->address, &now);
	if (err != BS_OK)
		return err;
	*changed = is_changed(&outcome->before, &now);
	bs_slot_list_clear(&now);
	return BS_OK;
}

static enum verdict
find_out(struct ctl *ctl, const struct outcome *outcome)
{
	int64_t began_ms = bs_now_ms(), now_ms = began_ms, heard_ms = began_ms, same_ms = 0;
	bool changed = false;

	while (now_ms - began_ms < LOOK_MS && now_ms - heard_ms < GONE_MS) {
		enum bs_err err = look(ctl, outcome, &changed);

		now_ms = bs_now_ms();
		if (err != BS_ERR_IO)
			heard_ms = now_ms;
		if (err == BS_OK && changed)
			return MADE;
		if (err == BS_OK && same_ms == 0)
			same_ms = now_ms;
		if (err == BS_OK && now_ms - same_ms >= SETTLED_MS)
			return NOT_MADE;
		if (err != BS_OK && !bs_err_is_transient(err))
			return UNKNOWN;
		(void)poll(NULL, 0, EVERY_MS);
	}
	return UNKNOWN;
}

static void
tell(const char *address, enum verdict verdict)
{
	static const char *const texts[] = {
		[MADE] = "but the change was made",
		[NOT_MADE] = "and the change was not made: run it again",
		[UNKNOWN] = "and whether the change was made is not known: `basaltctl key show` tells, once keyd answers. If it was, its owner has to be told",
	};

	fprintf(stderr, "basaltctl: %s: keyd did not answer in time, %s\n", address, texts[verdict]);
}

enum bs_err
outcome_end(struct ctl *ctl, struct outcome *outcome, enum bs_err err)
{
	enum verdict verdict;

	if (outcome->known && leaves_open(err)) {
		verdict = find_out(ctl, outcome);
		tell(outcome->address, verdict);
		if (verdict == MADE)
			err = BS_OK;
	}
	if (outcome->known)
		bs_slot_list_clear(&outcome->before);
	outcome->known = false;
	return err;
}
