#include "unlock.h"

#include <string.h>
#include <time.h>

#include "lastuse.h"

/* What a slot from the database may cost a kdf worker; nobody's slot is larger (keydconf.c bounds what we make). */
#define SLOT_MEMORY_KIB_MAX 262144u
/* And how many of them one wrong password may cost: an account has one, two while it is being changed. */
#define PASSWORD_SLOTS_MAX 4
/* Of code slots, which cost the vault some 100 us each: by chance no two of a thousand have the same hint often. */
#define CODE_SLOTS_MAX 16

static enum bs_err
reject(struct vault *v, const struct job *job, const char *what, enum bs_err err)
{
	bs_recent_forget(v->recent, job->user);
	if (err == BS_ERR_NOMEM)
		return err;
	vault_alarm(v, job->user, what, err);
	return err == BS_ERR_ROLLBACK || err == BS_ERR_VERSION ? err : BS_ERR_AUTH;
}

/*
 * A newer keyset whose master key is not the open one's: another node renewed it, or a write that this keyd heard no end of. What is open
 * goes, as if it had been changed here.
 */
static void
end_outdated(struct vault *v, const struct bs_keyset *ks)
{
	struct ring *ring = rings_find(v->rings, ks->record.name);

	if (ring != NULL && ring->generation < ks->record.generation && memcmp(ring->account_id, ks->record.account_id, BS_ID_LEN) == 0
	    && bs_keyset_check(ks, ring_amk(ring)) == BS_ERR_ROLLBACK)
		conn_end_account(v, ring, BS_ENDED_KEYS);
}

enum bs_err
unlock_read(struct vault *v, struct job *job, enum bs_err err)
{
	uint8_t digest[BS_HASH_LEN];
	bool verified;

	if (err == BS_ERR_NOENT && seen_knows(v->seen, job->user))
		return reject(v, job, "its keys are gone from the database (`basaltctl key restore` takes them from the mail home)", BS_ERR_ROLLBACK);
	if (err != BS_OK)
		return err;
	if (job->have_ks)
		bs_keyset_clear(&job->ks);
	job->have_ks = false;
	err = bs_keyset_parse(job->blob, job->blob_len, &job->ks);
	if (err != BS_OK)
		return reject(v, job, "keyset cannot be read", err);
	job->have_ks = true;
	bs_sha256(job->ks.record_bytes, job->ks.record_len, digest);
	verified = seen_is_verified(v->seen, job->user, digest);
	err = verified ? BS_OK : bs_keyset_verify(&job->ks, v->site_pub, job->user);
	if (err != BS_OK)
		return reject(v, job, "public record is not ours", err);
	if (job->ks.record.generation != job->store_number)
		return reject(v, job, "keyset lies in another generation's row", BS_ERR_AUTH);
	err = seen_check(v->seen, &job->ks.record);
	if (err != BS_OK)
		return reject(v, job, "the database went back to an older keyset (`basaltctl key restore` takes the newer one from the mail home)", err);
	if (!verified)
		seen_note_verified(v->seen, job->user, digest);
	bs_recent_put(v->recent, job->user, job->ks.record_bytes, job->ks.record_len, v->now_ms);
	end_outdated(v, &job->ks);
	return BS_OK;
}

enum bs_err
unlock_warm_hash(const struct vault *v, const struct bs_record *rec, const struct bs_slot *slot,
    const uint8_t *password, size_t len, uint8_t out[BS_HASH_LEN])
{
	uint8_t text[2 * BS_ID_LEN + 8 + BS_PASSWORD_MAX];
	struct bs_wr wr = bs_wr_init(text, sizeof(text));
	enum bs_err err;

	bs_wr_bytes(&wr, rec->account_id, BS_ID_LEN);
	bs_wr_bytes(&wr, slot->id, BS_ID_LEN);
	bs_wr_u64(&wr, slot->generation);
	bs_wr_bytes(&wr, password, len);
	err = wr.failed ? BS_ERR_INTERNAL : bs_hmac(v->own->boot_key, text, wr.len, out);
	bs_wipe(text, sizeof(text));
	return err;
}

/* The ring is open, of this very generation, and knows this password. */
static bool
try_warm(struct vault *v, struct job *job)
{
	const struct ring *ring = rings_find(v->rings, job->user);
	const struct bs_record *rec = &job->ks.record;
	uint8_t hash[BS_HASH_LEN];

	if (!job->allow_warm || job->sec->code.kind != 0 || ring == NULL || ring->generation != rec->generation
	    || memcmp(ring->account_id, rec->account_id, BS_ID_LEN) != 0)
		return false;
	for (size_t i = 0; i < job->ks.slot_count; i++) {
		const struct bs_slot *slot = &job->ks.slots[i];

		if (slot->kind != BS_SLOT_PASSWORD)
			continue;
		if (unlock_warm_hash(v, rec, slot, job->sec->password, job->sec->password_len, hash) != BS_OK)
			return false;
		if (ring_is_warm(ring, slot->id, hash)) {
			job->slot = i;
			return true;
		}
	}
	return false;
}

static void
on_dummy(struct vault *v, struct job *job, enum bs_err err)
{
	job->unlocked(v, job, err == BS_OK ? BS_ERR_DENIED : err);
}

/* The same work for an account that does not exist. */
static void
run_dummy(struct vault *v, struct job *job)
{
	static const uint8_t salt[BS_SALT_LEN];

	job_kdf(v, job, job->sec->password, job->sec->password_len, salt, (uint32_t)v->conf->kdf_memory_kib,
	    (uint32_t)v->conf->kdf_passes, on_dummy);
}

static void try_slot(struct vault *v, struct job *job);

/* What the KDF's answer is worth. Once the slot's key fits, the password was right: what fails then is not the user's. */
static enum bs_err
judge_seed(struct vault *v, struct job *job, enum bs_err err)
{
	if (err == BS_ERR_LIMIT)
		return reject(v, job, "a slot has impossible Argon2id parameters", err);
	if (err != BS_OK)
		return err;
	/* The ring too, even for who wants no session: a forger's slot and manifest fit each other, his ring not the record. */
	err = bs_keyset_unlock(&job->ks, job->slot, job->sec->seed, job->sec->amk, job->sec->keys, BS_RING_MAX,
	    &job->sec->key_count);
	if (err == BS_ERR_DENIED)
		return err;
	/* A login notes it when it is one. */
	if (err == BS_OK && job->may == UNLOCK_CHANGE)
		lastuse_note(v->uses, job->ks.slots[job->slot].id, (uint64_t)time(NULL));
	return err == BS_OK ? BS_OK : reject(v, job, "slots, ring and record are not those of one generation", err);
}

static void
on_seed(struct vault *v, struct job *job, enum bs_err err)
{
	err = judge_seed(v, job, err);
	if (err == BS_ERR_DENIED) {
		job->slot++;
		try_slot(v, job);
		return;
	}
	job->unlocked(v, job, err);
}

/* The next password slot from job->slot on. */
static void
try_slot(struct vault *v, struct job *job)
{
	const struct bs_slot *slots = job->ks.slots;

	while (job->slot < job->ks.slot_count && slots[job->slot].kind != BS_SLOT_PASSWORD)
		job->slot++;
	if (job->slot == job->ks.slot_count && job->tried == 0) {
		run_dummy(v, job);
	} else if (job->slot == job->ks.slot_count) {
		job->unlocked(v, job, BS_ERR_DENIED);
	} else if (unlock_check_cost(&slots[job->slot]) != BS_OK) {
		job->unlocked(v, job, reject(v, job, "a slot has impossible Argon2id parameters", BS_ERR_LIMIT));
	} else if (job->tried == PASSWORD_SLOTS_MAX) {
		job->unlocked(v, job, reject(v, job, "more password slots than an account can have", BS_ERR_LIMIT));
	} else {
		const struct bs_slot *slot = &slots[job->slot];

		job->tried++;
		job_kdf_slot(v, job, job->sec->password, job->sec->password_len, slot, on_seed);
	}
}

enum bs_err
unlock_check_cost(const struct bs_slot *slot)
{
	return slot->memory_kib > SLOT_MEMORY_KIB_MAX || slot->passes > BS_ARGON2_PASSES_MAX ? BS_ERR_LIMIT : BS_OK;
}

enum bs_err
unlock_code_seed(const struct bs_code *code, const struct bs_slot *slot, uint8_t seed[BS_KEY_LEN])
{
	if (slot->kind != code->kind)
		return BS_ERR_DENIED;
	if (code->kind == BS_CODE_ESCROW) {
		memcpy(seed, code->secret, BS_KEY_LEN);
		return BS_OK;
	}
	return bs_code_hint(slot->id) == code->hint ? bs_slot_seed(slot, code->secret, code->secret_len, seed) : BS_ERR_DENIED;
}

/* No Argon2id: all at once. */
static void
try_code(struct vault *v, struct job *job)
{
	struct job_secret *sec = job->sec;
	enum bs_err err = BS_ERR_DENIED;

	for (; job->slot < job->ks.slot_count && err == BS_ERR_DENIED; job->slot++) {
		err = unlock_code_seed(&sec->code, &job->ks.slots[job->slot], sec->seed);
		if (err == BS_ERR_DENIED)
			continue;
		err = ++job->tried > CODE_SLOTS_MAX ? reject(v, job, "too many slots claim one code", BS_ERR_LIMIT)
		                                    : judge_seed(v, job, err);
		if (err != BS_ERR_DENIED)
			break;
	}
	job->unlocked(v, job, err);
}

/* What was typed: a code that may not be used here is a password like any other, which no slot has. */
static void
classify(struct job *job)
{
	struct job_secret *sec = job->sec;
	unsigned group;

	if (bs_code_read((const char *)sec->password, sec->password_len, &sec->code, &group) != BS_OK
	    || (job->may & 1u << sec->code.kind) == 0)
		sec->code.kind = 0;
}

static void
try_secret(struct vault *v, struct job *job)
{
	if (try_warm(v, job)) {
		job->was_warm = true;
		job->unlocked(v, job, BS_OK);
	} else if (job->sec->code.kind != 0) {
		try_code(v, job);
	} else {
		try_slot(v, job);
	}
}

static void
on_row(struct vault *v, struct job *job, enum bs_err err)
{
	err = unlock_read(v, job, err);
	if (err == BS_OK)
		try_secret(v, job);
	else if (err != BS_ERR_NOENT)
		job->unlocked(v, job, err);
	else if (job->sec->code.kind != 0)
		job->unlocked(v, job, BS_ERR_DENIED);
	else
		run_dummy(v, job);
}

enum bs_err
unlock_settle(struct job *job)
{
	struct bs_keyset *ks = &job->ks;
	size_t n = 0;

	for (size_t i = 0; i < ks->slot_count; i++) {
		/* A password that became pending after this one is another change, which may be under way. */
		bool stays = ks->slots[i].kind != BS_SLOT_PASSWORD || i == job->slot
		    || (i > job->slot && (ks->slots[i].flags & BS_SLOT_PENDING) != 0);

		if (!stays)
			continue;
		if (i == job->slot)
			job->slot = n;
		ks->slots[n++] = ks->slots[i];
	}
	ks->slot_count = n;
	ks->slots[job->slot].flags = 0;
	return bs_keyset_renew_slot(ks->record.account_id, &ks->slots[job->slot], ks->record.generation + 1, job->sec->amk);
}

void
unlock_start(struct vault *v, struct job *job, job_fn unlocked)
{
	classify(job);
	job->unlocked = unlocked;
	job->slot = 0;
	job_store(v, job, LINK_GET, 0, on_row);
}

void
unlock_try(struct vault *v, struct job *job, job_fn unlocked)
{
	classify(job);
	job->unlocked = unlocked;
	job->slot = 0;
	try_secret(v, job);
}
