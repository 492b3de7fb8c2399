#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "hex.h"
#include "verdict_priv.h"
#include "wire.h"

/* Each at most as many as fit into the largest plaintext. */
#define STRINGS_MAX (VERDICT_PLAIN_MAX / 2)
#define OUTCOMES_MAX (VERDICT_PLAIN_MAX / VERDICT_OUTCOME_LEN)
#define ENTRIES_MAX (VERDICT_PLAIN_MAX / VERDICT_ENTRY_LEN)
/* One entry with an outcome and texts of its own, each as long as it may be. */
#define WORST_LEN (VERDICT_ENTRY_LEN + VERDICT_OUTCOME_LEN + sizeof(struct bs_verdict_part))

struct outcome {
	uint8_t what, flags;
	uint16_t text[VERDICT_TEXTS]; /* 0: "", else the number of a string from 1 */
};

struct entry {
	uint8_t hash[VERDICT_HASH_LEN];
	uint16_t outcome;
};

struct bs_verdict_writer {
	struct bs_verdict_key key;
	uint8_t id[VERDICT_ID_LEN];
	char id_text[BS_VERDICT_ID_MAX];
	uint8_t hash_key[BS_KEY_LEN];
	int64_t now_s;
	char *strings[STRINGS_MAX];
	struct outcome outcomes[OUTCOMES_MAX];
	struct entry entries[ENTRIES_MAX];
	size_t n_strings, n_outcomes, n_entries;
	size_t used; /* bytes of plaintext so far */
};

enum bs_err
bs_verdict_writer_new(struct bs_verdict_keys *keys, int64_t now_s, struct bs_verdict_writer **out)
{
	struct bs_verdict_writer *w = calloc(1, sizeof(*w));
	enum bs_err err;

	if (w == NULL)
		return BS_ERR_NOMEM;
	w->now_s = now_s;
	w->used = VERDICT_FIXED_LEN;
	bs_random(w->id, sizeof(w->id));
	bs_hex_encode(w->id, sizeof(w->id), w->id_text);
	err = bs_verdict_keys_writing(keys, now_s, &w->key);
	if (err == BS_OK)
		err = verdict_hash_key(&w->key, w->id, w->hash_key);
	if (err != BS_OK) {
		bs_verdict_writer_free(w);
		return err;
	}
	*out = w;
	return BS_OK;
}

void
bs_verdict_writer_free(struct bs_verdict_writer *w)
{
	if (w == NULL)
		return;
	for (size_t i = 0; i < w->n_strings; i++)
		free(w->strings[i]);
	bs_wipe(w, sizeof(*w));
	free(w);
}

/* The number of text, which is added if it is new. */
static enum bs_err
add_string(struct bs_verdict_writer *w, const char *text, uint16_t *number)
{
	size_t len = strlen(text), i = 0;

	*number = 0;
	if (len == 0)
		return BS_OK;
	while (i < w->n_strings && strcmp(w->strings[i], text) != 0)
		i++;
	*number = (uint16_t)(i + 1);
	if (i < w->n_strings)
		return BS_OK;
	if (i == STRINGS_MAX || VERDICT_PLAIN_MAX - w->used < 1 + len)
		return BS_ERR_LIMIT;
	w->strings[i] = strdup(text);
	if (w->strings[i] == NULL)
		return BS_ERR_NOMEM;
	w->n_strings++;
	w->used += 1 + len;
	return BS_OK;
}

/* Only what counts for this kind of part, so that equal outcomes are equal. */
static bool
counts(enum bs_verdict_what what, int text)
{
	return text <= VERDICT_NOTE ? what == BS_VERDICT_DELIVER : what == BS_VERDICT_REJECT;
}

static enum bs_err
add_outcome(struct bs_verdict_writer *w, const struct bs_verdict_part *part, uint16_t *number)
{
	struct bs_verdict_part copy = *part;
	struct verdict_text texts[VERDICT_TEXTS];
	struct outcome o = { .what = (uint8_t)part->what };
	enum bs_err err = BS_OK;
	size_t i = 0;

	if (part->what == BS_VERDICT_DELIVER)
		o.flags = (uint8_t)((part->label_subject && part->label[0] != '\0' ? VERDICT_FLAG_SUBJECT : 0)
		    | (part->keep_detail ? VERDICT_FLAG_DETAIL : 0));
	verdict_texts(&copy, texts);
	for (int t = 0; t < VERDICT_TEXTS && err == BS_OK; t++)
		if (counts(part->what, t))
			err = add_string(w, texts[t].at, &o.text[t]);
	if (err != BS_OK)
		return err;
	while (i < w->n_outcomes && memcmp(&w->outcomes[i], &o, sizeof(o)) != 0)
		i++;
	*number = (uint16_t)i;
	if (i < w->n_outcomes)
		return BS_OK;
	if (i == OUTCOMES_MAX || VERDICT_PLAIN_MAX - w->used < VERDICT_OUTCOME_LEN)
		return BS_ERR_LIMIT;
	w->outcomes[w->n_outcomes++] = o;
	w->used += VERDICT_OUTCOME_LEN;
	return BS_OK;
}

static enum bs_err
add_entry(struct bs_verdict_writer *w, const uint8_t hash[VERDICT_HASH_LEN], uint16_t outcome)
{
	struct entry *entry = &w->entries[w->n_entries];

	if (w->n_entries == ENTRIES_MAX || VERDICT_PLAIN_MAX - w->used < VERDICT_ENTRY_LEN)
		return BS_ERR_LIMIT;
	memcpy(entry->hash, hash, VERDICT_HASH_LEN);
	entry->outcome = outcome;
	w->n_entries++;
	w->used += VERDICT_ENTRY_LEN;
	return BS_OK;
}

/* Takes back what was added since. */
static void
roll_back(struct bs_verdict_writer *w, size_t n_strings, size_t n_outcomes, size_t used)
{
	while (w->n_strings > n_strings)
		free(w->strings[--w->n_strings]);
	w->n_outcomes = n_outcomes;
	w->used = used;
}

enum bs_err
bs_verdict_writer_add(struct bs_verdict_writer *w, const char *address, const struct bs_verdict_part *part)
{
	size_t n_strings = w->n_strings, n_outcomes = w->n_outcomes, used = w->used;
	uint8_t hash[VERDICT_HASH_LEN];
	uint16_t outcome = 0;
	enum bs_err err;

	if (!verdict_part_ok(part))
		return BS_ERR_ARG;
	err = verdict_hash(w->hash_key, address, hash);
	if (err != BS_OK)
		return err;
	for (size_t i = 0; i < w->n_entries; i++)
		if (memcmp(w->entries[i].hash, hash, sizeof(hash)) == 0)
			return BS_OK;
	err = add_outcome(w, part, &outcome);
	if (err == BS_OK)
		err = add_entry(w, hash, outcome);
	if (err != BS_OK)
		roll_back(w, n_strings, n_outcomes, used);
	return err;
}

size_t
bs_verdict_writer_room(const struct bs_verdict_writer *w)
{
	return (VERDICT_PLAIN_MAX - w->used) / WORST_LEN;
}

const char *
bs_verdict_writer_id(const struct bs_verdict_writer *w)
{
	return w->id_text;
}

static size_t
size_class(size_t used)
{
	size_t size = VERDICT_PLAIN_MIN;

	while (size < used)
		size *= 2;
	return size < VERDICT_PLAIN_MAX ? size : VERDICT_PLAIN_MAX;
}

/* plain is zeroed: what is left is the padding. */
static void
write_plain(const struct bs_verdict_writer *w, struct bs_wr *wr)
{
	bs_wr_bytes(wr, w->id, sizeof(w->id));
	bs_wr_u64(wr, (uint64_t)w->now_s);
	bs_wr_u16(wr, (uint16_t)w->n_strings);
	for (size_t i = 0; i < w->n_strings; i++) {
		size_t len = strlen(w->strings[i]);

		bs_wr_u8(wr, (uint8_t)len);
		bs_wr_bytes(wr, w->strings[i], len);
	}
	bs_wr_u16(wr, (uint16_t)w->n_outcomes);
	for (size_t i = 0; i < w->n_outcomes; i++) {
		bs_wr_u8(wr, w->outcomes[i].what);
		bs_wr_u8(wr, w->outcomes[i].flags);
		for (int t = 0; t < VERDICT_TEXTS; t++)
			bs_wr_u16(wr, w->outcomes[i].text[t]);
	}
	bs_wr_u16(wr, (uint16_t)w->n_entries);
	for (size_t i = 0; i < w->n_entries; i++) {
		bs_wr_bytes(wr, w->entries[i].hash, VERDICT_HASH_LEN);
		bs_wr_u16(wr, w->entries[i].outcome);
	}
}

static enum bs_err
append_folded(struct bs_buf *out, const uint8_t *sealed, size_t len)
{
	enum bs_err err = bs_buf_append(out, " ", 1);

	for (size_t at = 0; err == BS_OK && at < len; at += VERDICT_LINE_BYTES) {
		char line[VERDICT_LINE_CHARS];
		size_t n = bs_base64_encode(sealed + at, len - at < VERDICT_LINE_BYTES ? len - at : VERDICT_LINE_BYTES, line);

		if (at > 0)
			err = bs_buf_append(out, "\n\t", 2);
		if (err == BS_OK)
			err = bs_buf_append(out, line, n);
	}
	return err;
}

enum bs_err
bs_verdict_writer_value(struct bs_verdict_writer *w, struct bs_buf *out)
{
	size_t len = size_class(w->used);
	uint8_t *plain = calloc(1, len), *sealed = malloc(VERDICT_SEALED_MAX);
	uint8_t key[BS_KEY_LEN], aad[VERDICT_AAD_LEN];
	struct bs_wr wr = bs_wr_init(plain, len);
	enum bs_err err = plain == NULL || sealed == NULL ? BS_ERR_NOMEM : verdict_seal_key(&w->key, key);

	if (err != BS_OK)
		goto out;
	write_plain(w, &wr);
	sealed[0] = VERDICT_VERSION;
	memcpy(sealed + 1, w->key.id, sizeof(w->key.id));
	bs_random(sealed + 1 + sizeof(w->key.id), BS_XNONCE_LEN);
	verdict_aad(sealed, aad);
	err = wr.failed ? BS_ERR_INTERNAL : bs_xchacha_seal(key, sealed + 1 + sizeof(w->key.id), aad, sizeof(aad), plain, len,
	    sealed + VERDICT_HEAD_LEN);
	if (err == BS_OK)
		err = append_folded(out, sealed, VERDICT_HEAD_LEN + len + BS_TAG_LEN);
out:
	bs_wipe(key, sizeof(key));
	free(plain);
	free(sealed);
	return err;
}
