/* What writer and reader of verdict headers share: keys, hashes, and what a part may say. */
#include <string.h>

#include "address.h"
#include "utf8.h"
#include "verdict_priv.h"

void
verdict_texts(struct bs_verdict_part *part, struct verdict_text out[VERDICT_TEXTS])
{
	out[VERDICT_FOLDER] = (struct verdict_text){ part->folder, sizeof(part->folder) };
	out[VERDICT_LABEL] = (struct verdict_text){ part->label, sizeof(part->label) };
	out[VERDICT_NOTE] = (struct verdict_text){ part->note, sizeof(part->note) };
	out[VERDICT_CODE] = (struct verdict_text){ part->code, sizeof(part->code) };
	out[VERDICT_STATUS] = (struct verdict_text){ part->status, sizeof(part->status) };
	out[VERDICT_TEXT] = (struct verdict_text){ part->text, sizeof(part->text) };
}

static bool
is_printable(const char *text)
{
	for (; *text != '\0'; text++)
		if (*text < ' ' || *text > '~')
			return false;
	return true;
}

bool
bs_verdict_folder_ok(const char *folder)
{
	const char *at = folder;

	if (folder[0] == '\0' || !is_printable(folder) || strpbrk(folder, "%*\"\\") != NULL || folder[0] == '~')
		return false;
	for (;;) {
		size_t level = strcspn(at, "/");

		if (level == 0 || at[0] == ' ' || at[level - 1] == ' ' || (level <= 2 && strspn(at, ".") == level))
			return false;
		if (at[level] == '\0')
			return true;
		at += level + 1;
	}
}

/* "550" and "5.7.1" (RFC 3463), and what an SMTP server may say behind them. */
static bool
reply_ok(const struct bs_verdict_part *part)
{
	return strlen(part->code) == 3 && strspn(part->code, "0123456789") == 3 && part->code[0] == '5'
	    && strncmp(part->status, "5.", 2) == 0 && strspn(part->status, "0123456789.") == strlen(part->status)
	    && is_printable(part->text);
}

bool
verdict_part_ok(const struct bs_verdict_part *part)
{
	switch (part->what) {
	case BS_VERDICT_DELIVER:
		return (part->folder[0] == '\0' || bs_verdict_folder_ok(part->folder))
		    && bs_utf8_is_text(part->label, strlen(part->label)) && bs_utf8_is_text(part->note, strlen(part->note));
	case BS_VERDICT_DROP:
		return true;
	case BS_VERDICT_REJECT:
		return reply_ok(part);
	default:
		return false;
	}
}

enum bs_err
verdict_seal_key(const struct bs_verdict_key *key, uint8_t out[BS_KEY_LEN])
{
	static const char info[] = "basalt verdict v1 seal";

	return bs_hkdf(key->key, sizeof(key->key), key->id, sizeof(key->id), info, sizeof(info) - 1, out);
}

enum bs_err
verdict_hash_key(const struct bs_verdict_key *key, const uint8_t id[VERDICT_ID_LEN], uint8_t out[BS_KEY_LEN])
{
	static const char info[] = "basalt verdict v1 recipients";

	return bs_hkdf(key->key, sizeof(key->key), id, VERDICT_ID_LEN, info, sizeof(info) - 1, out);
}

enum bs_err
verdict_hash(const uint8_t hash_key[BS_KEY_LEN], const char *address, uint8_t out[VERDICT_HASH_LEN])
{
	char whole[BS_ADDRESS_MAX + 1], base[BS_ADDRESS_MAX + 1];
	uint8_t hash[BS_HASH_LEN];
	enum bs_err err = bs_address_parse(address, whole);

	if (err != BS_OK)
		return err;
	bs_address_base(whole, base);
	err = bs_hmac(hash_key, base, strlen(base), hash);
	if (err == BS_OK)
		memcpy(out, hash, VERDICT_HASH_LEN);
	return err;
}

void
verdict_aad(const uint8_t head[VERDICT_HEAD_LEN], uint8_t out[VERDICT_AAD_LEN])
{
	memcpy(out, BS_VERDICT_FIELD, sizeof(BS_VERDICT_FIELD) - 1);
	memcpy(out + sizeof(BS_VERDICT_FIELD) - 1, head, 1 + BS_VERDICT_KEY_ID_LEN);
}
