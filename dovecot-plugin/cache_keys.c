#include "compat.h"

#include "cache_priv.h"
#include "keymem.h"
#include "session.h"

/* Data keys asked for in one request; each costs the vault some 45 us, in which it serves nobody else. */
#define BATCH_MAX 128

struct ahead_key {
	uint8_t message_id[BS_ID_LEN];
	uint8_t key[BS_KEY_LEN];
};

/* A user's, in locked memory. */
struct basalt_cache_keys {
	bool have_subkey;
	uint8_t subkey[BS_KEY_LEN];
	unsigned int batch;  /* how many were asked for last time */
	uint32_t next_seq;   /* the mail after the last one whose key was asked for */
	unsigned int at, count;
	struct ahead_key ahead[BATCH_MAX];
};

static struct basalt_cache_keys *
keys_of(struct basalt_user *bu)
{
	if (bu->cache_keys == NULL) {
		bu->cache_keys = bs_secret_new(sizeof(*bu->cache_keys));
		if (bu->cache_keys != NULL)
			memset(bu->cache_keys, 0, sizeof(*bu->cache_keys));
	}
	return bu->cache_keys;
}

void
basalt_cache_user_deinit(struct basalt_user *bu)
{
	bs_secret_free(bu->cache_keys);
	bu->cache_keys = NULL;
}

bool
basalt_cache_subkey(struct basalt_user *bu, uint8_t key[BS_KEY_LEN])
{
	struct basalt_cache_keys *keys;

	/* Not without a session, though the key would do: what is lost is lost at once. */
	if (!basalt_session_lives(bu))
		return false;
	keys = keys_of(bu);
	if (keys == NULL)
		return false;
	if (!keys->have_subkey)
		keys->have_subkey = basalt_session_cache_key(bu, keys->subkey) == BS_OK;
	if (keys->have_subkey)
		memcpy(key, keys->subkey, BS_KEY_LEN);
	return keys->have_subkey;
}

/* --- data keys --- */

static bool
ahead_take(struct basalt_cache_keys *keys, const uint8_t message_id[BS_ID_LEN], uint8_t key[BS_KEY_LEN])
{
	/* They are taken in the order in which they came, but for mails that were skipped. */
	for (unsigned i = keys->at; i < keys->count; i++) {
		if (memcmp(keys->ahead[i].message_id, message_id, BS_ID_LEN) != 0)
			continue;
		memcpy(key, keys->ahead[i].key, BS_KEY_LEN);
		keys->at = i + 1;
		return true;
	}
	return false;
}

/* The prefix of a mail that has been stored and not listed yet. bytes_r is of the data stack. */
static bool
stored_prefix(struct mailbox_transaction_context *t, uint32_t seq, struct bs_msg_prefix *prefix_r)
{
	struct cache_found found;
	struct bs_cache_blob blob;

	return basalt_cache_find(t, seq, &found) && found.bytes[BS_CACHE_ACCOUNT].len == 0 &&
	    bs_cache_parse(found.bytes[BS_CACHE_MESSAGE].p, found.bytes[BS_CACHE_MESSAGE].len, &blob) == BS_OK &&
	    bs_msg_prefix_parse(blob.prefix.p, blob.prefix.len, prefix_r) == BS_OK;
}

/* One for a mail here and there; ever more when they are read one after the other. */
static unsigned
batch_size(struct basalt_cache_keys *keys, uint32_t seq)
{
	if (keys->next_seq == 0 || seq < keys->next_seq || seq > keys->next_seq + keys->batch)
		keys->batch = 1;
	else
		keys->batch = I_MIN(keys->batch * 4, BATCH_MAX);
	return keys->batch;
}

static enum bs_err
unwrap_batch(struct mail *mail, struct basalt_user *bu, const struct bs_msg_prefix *prefix, uint8_t key[BS_KEY_LEN])
{
	struct mailbox_transaction_context *t = mail->transaction;
	struct basalt_cache_keys *keys = bu->cache_keys;
	unsigned want = batch_size(keys, mail->seq), n = 1;
	uint32_t seq = mail->seq + 1, end = mail_index_view_get_messages_count(t->view);
	struct bs_msg_prefix *prefixes = t_new(struct bs_msg_prefix, want);
	uint8_t (*data_keys)[BS_KEY_LEN] = t_malloc0(want * sizeof(*data_keys));
	enum bs_err *status = t_malloc0(want * sizeof(*status));
	enum bs_err err;

	prefixes[0] = *prefix;
	for (; seq <= end && n < want && seq - mail->seq < want * 2; seq++) {
		if (stored_prefix(t, seq, &prefixes[n]))
			n++;
	}
	err = basalt_session_unwrap_many(bu, prefixes, n, status, data_keys);
	keys->next_seq = seq;
	keys->at = keys->count = 0;
	for (unsigned i = 1; err == BS_OK && i < n; i++) {
		if (status[i] != BS_OK)
			continue;
		memcpy(keys->ahead[keys->count].message_id, prefixes[i].message_id, BS_ID_LEN);
		memcpy(keys->ahead[keys->count++].key, data_keys[i], BS_KEY_LEN);
	}
	if (err == BS_OK)
		err = status[0];
	if (err == BS_OK)
		memcpy(key, data_keys[0], BS_KEY_LEN);
	bs_wipe(data_keys, want * sizeof(*data_keys));
	return err;
}

bool
basalt_cache_data_key(struct mail *mail, const struct bs_msg_prefix *prefix, uint8_t key[BS_KEY_LEN])
{
	struct basalt_user *bu = user_of(mail);
	enum bs_err err;

	if (bu->session == NULL || keys_of(bu) == NULL)
		return false;
	if ((ahead_take(bu->cache_keys, prefix->message_id, key) && bs_msg_key_fits(prefix, key) == BS_OK) ||
	    basalt_session_has_key(bu, prefix, key))
		return true;
	T_BEGIN {
		err = unwrap_batch(mail, bu, prefix, key);
	} T_END;
	return err == BS_OK && bs_msg_key_fits(prefix, key) == BS_OK;
}
