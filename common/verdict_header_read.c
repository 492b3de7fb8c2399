#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "hex.h"
#include "verdict_priv.h"
#include "wire.h"

#define VALUE_MAX 65536      /* longer than any that we write: not looked into */
#define CLOCK_AHEAD_S 3600   /* so far may the clock of the node that wrote it be ahead of ours */

struct string {
	const uint8_t *at;
	size_t len;
};

struct bs_verdict {
	uint8_t plain[VERDICT_PLAIN_MAX];
	uint8_t hash_key[BS_KEY_LEN];
	char id_text[BS_VERDICT_ID_MAX];
	int64_t time_s;
	struct string *strings; /* number 1 is [0]; all inside plain */
	size_t n_strings, n_outcomes, n_entries;
	const uint8_t *outcomes, *entries; /* inside plain */
};

static enum bs_err
read_strings(struct bs_verdict *v, struct bs_rd *rd)
{
	v->n_strings = bs_rd_u16(rd);
	if (v->n_strings > rd->left)
		return BS_ERR_FORMAT;
	v->strings = calloc(v->n_strings + 1, sizeof(v->strings[0]));
	if (v->strings == NULL)
		return BS_ERR_NOMEM;
	for (size_t i = 0; i < v->n_strings; i++) {
		v->strings[i].len = bs_rd_u8(rd);
		v->strings[i].at = bs_rd_bytes(rd, v->strings[i].len);
		if (rd->failed || v->strings[i].len == 0 || memchr(v->strings[i].at, 0, v->strings[i].len) != NULL)
			return BS_ERR_FORMAT;
	}
	return BS_OK;
}

/* Outcome i as a part; false: it says what the format does not know. */
static bool
get_part(const struct bs_verdict *v, size_t i, struct bs_verdict_part *out)
{
	struct bs_rd rd = bs_rd_init(v->outcomes + i * VERDICT_OUTCOME_LEN, VERDICT_OUTCOME_LEN);
	struct verdict_text texts[VERDICT_TEXTS];
	unsigned flags;

	memset(out, 0, sizeof(*out));
	out->what = (enum bs_verdict_what)bs_rd_u8(&rd);
	flags = bs_rd_u8(&rd);
	out->label_subject = (flags & VERDICT_FLAG_SUBJECT) != 0;
	out->keep_detail = (flags & VERDICT_FLAG_DETAIL) != 0;
	if ((flags & ~(unsigned)VERDICT_FLAGS) != 0)
		return false;
	verdict_texts(out, texts);
	for (int t = 0; t < VERDICT_TEXTS; t++) {
		size_t number = bs_rd_u16(&rd);
		const struct string *s = number == 0 ? NULL : &v->strings[number - 1];

		if (number > v->n_strings || (s != NULL && s->len >= texts[t].size))
			return false;
		if (s != NULL)
			memcpy(texts[t].at, s->at, s->len);
	}
	return verdict_part_ok(out);
}

static bool
all_zero(const uint8_t *data, size_t len)
{
	uint8_t any = 0;

	for (size_t i = 0; i < len; i++)
		any |= data[i];
	return any == 0;
}

/* All is looked at here, so that bs_verdict_find() meets nothing that is wrong. */
static enum bs_err
parse_plain(struct bs_verdict *v, size_t len)
{
	struct bs_rd rd = bs_rd_init(v->plain, len);
	struct bs_verdict_part part;
	uint64_t time_s;
	enum bs_err err;

	(void)bs_rd_bytes(&rd, VERDICT_ID_LEN);
	time_s = bs_rd_u64(&rd);
	err = read_strings(v, &rd);
	if (err != BS_OK)
		return err;
	v->n_outcomes = bs_rd_u16(&rd);
	v->outcomes = bs_rd_bytes(&rd, v->n_outcomes * VERDICT_OUTCOME_LEN);
	v->n_entries = bs_rd_u16(&rd);
	v->entries = bs_rd_bytes(&rd, v->n_entries * VERDICT_ENTRY_LEN);
	if (rd.failed || !all_zero(rd.p, rd.left) || time_s > INT64_MAX / 2)
		return BS_ERR_FORMAT;
	v->time_s = (int64_t)time_s;
	for (size_t i = 0; i < v->n_outcomes; i++)
		if (!get_part(v, i, &part))
			return BS_ERR_FORMAT;
	for (size_t i = 0; i < v->n_entries; i++) {
		const uint8_t *number = v->entries + i * VERDICT_ENTRY_LEN + VERDICT_HASH_LEN;

		if (((size_t)number[0] << 8 | number[1]) >= v->n_outcomes)
			return BS_ERR_FORMAT;
	}
	return BS_OK;
}

/* Opens sealed into v->plain and readies the keyed hash. */
static enum bs_err
open_sealed(struct bs_verdict *v, struct bs_verdict_keys *keys, const uint8_t *sealed, size_t len, int64_t now_s)
{
	struct bs_verdict_key key;
	uint8_t seal_key[BS_KEY_LEN], aad[VERDICT_AAD_LEN];
	enum bs_err err = bs_verdict_keys_find(keys, sealed + 1, now_s, &key);

	if (err != BS_OK)
		return err;
	verdict_aad(sealed, aad);
	err = verdict_seal_key(&key, seal_key);
	if (err == BS_OK)
		err = bs_xchacha_open(seal_key, sealed + 1 + BS_VERDICT_KEY_ID_LEN, aad, sizeof(aad), sealed + VERDICT_HEAD_LEN,
		    len - VERDICT_HEAD_LEN, v->plain);
	if (err == BS_OK)
		err = verdict_hash_key(&key, v->plain, v->hash_key);
	bs_wipe(&key, sizeof(key));
	bs_wipe(seal_key, sizeof(seal_key));
	return err;
}

static enum bs_err
open_value(struct bs_verdict *v, struct bs_verdict_keys *keys, const char *value, size_t len, int64_t now_s)
{
	uint8_t *sealed = malloc(VERDICT_SEALED_MAX);
	size_t n = 0;
	enum bs_err err = BS_ERR_NOMEM;

	if (sealed == NULL)
		return err;
	err = len > VALUE_MAX ? BS_ERR_FORMAT : bs_base64_decode(value, len, sealed, VERDICT_SEALED_MAX, &n);
	if (err == BS_ERR_LIMIT || (err == BS_OK && n == 0))
		err = BS_ERR_FORMAT;
	if (err == BS_OK && sealed[0] != VERDICT_VERSION)
		err = BS_ERR_VERSION;
	if (err == BS_OK && n < VERDICT_HEAD_LEN + VERDICT_FIXED_LEN + BS_TAG_LEN)
		err = BS_ERR_FORMAT;
	if (err == BS_OK)
		err = open_sealed(v, keys, sealed, n, now_s);
	if (err == BS_OK)
		err = parse_plain(v, n - VERDICT_HEAD_LEN - BS_TAG_LEN);
	if (err == BS_OK && (v->time_s + bs_verdict_keys_lifetime(keys) < now_s || v->time_s > now_s + CLOCK_AHEAD_S))
		err = BS_ERR_EXPIRED;
	free(sealed);
	return err;
}

enum bs_err
bs_verdict_open(struct bs_verdict_keys *keys, const char *value, size_t len, int64_t now_s, struct bs_verdict **out)
{
	struct bs_verdict *v = calloc(1, sizeof(*v));
	enum bs_err err = v == NULL ? BS_ERR_NOMEM : open_value(v, keys, value, len, now_s);

	if (err != BS_OK) {
		bs_verdict_free(v);
		return err;
	}
	bs_hex_encode(v->plain, VERDICT_ID_LEN, v->id_text);
	*out = v;
	return BS_OK;
}

void
bs_verdict_free(struct bs_verdict *v)
{
	if (v == NULL)
		return;
	free(v->strings);
	bs_wipe(v, sizeof(*v));
	free(v);
}

enum bs_err
bs_verdict_find(const struct bs_verdict *v, const char *address, struct bs_verdict_part *out)
{
	uint8_t hash[VERDICT_HASH_LEN];
	enum bs_err err = verdict_hash(v->hash_key, address, hash);

	if (err != BS_OK)
		return err == BS_ERR_ARG ? BS_ERR_NOENT : err;
	for (size_t i = 0; i < v->n_entries; i++) {
		const uint8_t *entry = v->entries + i * VERDICT_ENTRY_LEN;

		if (!bs_equal(entry, hash, sizeof(hash)))
			continue;
		return get_part(v, (size_t)entry[VERDICT_HASH_LEN] << 8 | entry[VERDICT_HASH_LEN + 1], out) ? BS_OK : BS_ERR_INTERNAL;
	}
	return BS_ERR_NOENT;
}

const char *
bs_verdict_id(const struct bs_verdict *v)
{
	return v->id_text;
}

int64_t
bs_verdict_time(const struct bs_verdict *v)
{
	return v->time_s;
}
