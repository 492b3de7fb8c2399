/* fuzz_verdict: the value of a verdict header. The input is taken for a plaintext, which is sealed as it should be, and for
 * a value and a key file as they are. What opens can be asked, and says nothing that the format does not permit. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base64.h"
#include "common/utf8.h"
#include "common/verdict_priv.h"

#define NOW 1800000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
need(bool ok)
{
	if (!ok)
		abort();
}

static struct bs_verdict_keys *
make_keys(void)
{
	struct bs_verdict_keyfile *file = calloc(1, sizeof(*file));
	struct bs_verdict_keys *keys;
	char dir[] = "/tmp/basalt-fuzz-XXXXXX", path[64], why[256];

	need(bs_crypto_init() == BS_OK && file != NULL && mkdtemp(dir) != NULL);
	(void)snprintf(path, sizeof(path), "%s/keys", dir);
	need(bs_verdict_keyfile_add(file, 1) == BS_OK);
	need(bs_verdict_keyfile_write(path, file, true, (gid_t)-1, why, sizeof(why)) == BS_OK);
	need(bs_verdict_keys_open(path, BS_VERDICT_LIFETIME_S, NULL, NULL, &keys, why, sizeof(why)) == BS_OK);
	(void)unlink(path);
	(void)rmdir(dir);
	free(file);
	return keys;
}

static void
look_at(struct bs_verdict *v)
{
	struct bs_verdict_part part;

	if (bs_verdict_find(v, "alice@example.org", &part) != BS_OK)
		return;
	need(part.what >= BS_VERDICT_DELIVER && part.what <= BS_VERDICT_REJECT);
	need(part.folder[0] == '\0' || part.what != BS_VERDICT_DELIVER || bs_verdict_folder_ok(part.folder));
	need(part.what != BS_VERDICT_DELIVER || bs_utf8_is_text(part.label, strlen(part.label)));
	need(part.what != BS_VERDICT_REJECT || part.code[0] == '5');
}

static void
open_plain(struct bs_verdict_keys *keys, const uint8_t *data, size_t size)
{
	static uint8_t sealed[VERDICT_SEALED_MAX];
	static char text[BS_BASE64_LEN(VERDICT_SEALED_MAX)];
	struct bs_verdict_key key;
	uint8_t seal_key[BS_KEY_LEN], aad[VERDICT_AAD_LEN];
	struct bs_verdict *v;
	size_t n;

	need(bs_verdict_keys_writing(keys, NOW, &key) == BS_OK && verdict_seal_key(&key, seal_key) == BS_OK);
	sealed[0] = VERDICT_VERSION;
	memcpy(sealed + 1, key.id, sizeof(key.id));
	memset(sealed + 1 + sizeof(key.id), 7, BS_XNONCE_LEN);
	verdict_aad(sealed, aad);
	need(bs_xchacha_seal(seal_key, sealed + 1 + sizeof(key.id), aad, sizeof(aad), data, size, sealed + VERDICT_HEAD_LEN) == BS_OK);
	n = bs_base64_encode(sealed, VERDICT_HEAD_LEN + size + BS_TAG_LEN, text);
	if (bs_verdict_open(keys, text, n, NOW, &v) != BS_OK)
		return;
	look_at(v);
	bs_verdict_free(v);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bs_verdict_keys *keys;
	static struct bs_verdict_keyfile file;
	struct bs_verdict *v;
	unsigned line;

	if (keys == NULL)
		keys = make_keys();
	if (size > VERDICT_PLAIN_MAX)
		return 0;
	open_plain(keys, data, size);
	if (bs_verdict_open(keys, (const char *)data, size, NOW, &v) == BS_OK)
		bs_verdict_free(v);
	(void)bs_verdict_keyfile_parse((const char *)data, size, &file, &line);
	return 0;
}
