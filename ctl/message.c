/* basaltctl message inspect: what a sealed file says without a key. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "sealed.h"
#include "verbs.h"

#define CHUNKS_SHOWN 20 /* in text; --json has them all */

struct inspection {
	int fd;
	json_t *messages; /* an array; NULL: print text */
	unsigned sealed;
	unsigned damaged;
	unsigned plaintext;
};

static const char *
suite_name(uint8_t suite)
{
	return suite == BS_MSG_SUITE_PLAIN ? "not encrypted, SHA-256 digests" : "X25519, HKDF-SHA256, AES-256-GCM";
}

static bool
is_encrypted(const struct ctl_look *look)
{
	return look->what == CTL_SEALED && !(look->have_prefix && look->prefix.suite == BS_MSG_SUITE_PLAIN);
}

static const char *
what_name(const struct ctl_look *look)
{
	if (look->what != CTL_SEALED)
		return "plaintext, not one of our files";
	return is_encrypted(look) ? "sealed" : "not encrypted, with a digest";
}

static enum bs_err
append_chunk(void *ctx, const struct ctl_chunk *chunk)
{
	json_t *row = json_pack("{s:s, s:b, s:b, s:I, s:I, s:I}", "kind", chunk->kind == 1 ? "header" : "body", "final",
	    chunk->final, "compressed", chunk->compressed, "offset", (json_int_t)chunk->off, "plain_length",
	    (json_int_t)chunk->plain_len, "stored_length", (json_int_t)chunk->stored_len);

	return json_array_append_new(ctx, row) == 0 ? BS_OK : BS_ERR_NOMEM;
}

static enum bs_err
print_chunk(void *ctx, const struct ctl_chunk *chunk)
{
	unsigned *n = ctx;

	if ((*n)++ < CHUNKS_SHOWN)
		printf("  chunk %-4u      %-6s %6u bytes, stored %6u%s%s\n", *n - 1, chunk->kind == 1 ? "header" : "body",
		    chunk->plain_len, chunk->stored_len, chunk->compressed ? " compressed" : "", chunk->final ? ", the last" : "");
	return BS_OK;
}

/* What the prefix says, as text three times over: account id, message id, key id. */
struct ids {
	char account[2 * BS_ID_LEN + 1];
	char message[2 * BS_ID_LEN + 1];
	char key[2 * BS_ID_LEN + 1];
};

static struct ids
ids_of(const struct bs_msg_prefix *prefix)
{
	struct ids ids = { 0 };

	ctl_hex(prefix->account_id, BS_ID_LEN, ids.account);
	ctl_hex(prefix->message_id, BS_ID_LEN, ids.message);
	ctl_hex(prefix->key_id, BS_ID_LEN, ids.key);
	return ids;
}

static enum bs_err
as_json(struct inspection *in, const struct ctl_mail *mail, const struct ctl_look *look)
{
	json_t *row = json_pack("{s:I, s:I, s:b}", "offset", (json_int_t)mail->off, "length", (json_int_t)mail->len, "sealed",
	    is_encrypted(look));
	json_t *chunks = json_array();
	enum bs_err err = BS_OK;

	if (look->what == CTL_SEALED)
		json_object_set_new(row, "damage", look->damage == NULL ? json_null() : json_string(look->damage));
	if (look->have_prefix) {
		struct ids ids = ids_of(&look->prefix);

		json_object_set_new(row, "version", json_integer(look->prefix.version));
		json_object_set_new(row, "suite", json_integer(look->prefix.suite));
		json_object_set_new(row, "suite_name", json_string(suite_name(look->prefix.suite)));
		json_object_set_new(row, "account_id", json_string(ids.account));
		json_object_set_new(row, "message_id", json_string(ids.message));
		json_object_set_new(row, "key_id", json_string(ids.key));
		json_object_set_new(row, "prefix_length", json_integer((json_int_t)look->prefix.len));
	}
	if (look->have_footer) {
		json_object_set_new(row, "trailer_offset", json_integer((json_int_t)look->trailer_off));
		json_object_set_new(row, "trailer_length", json_integer((json_int_t)look->trailer_len));
	}
	if (look->have_prefix && look->have_footer)
		err = ctl_sealed_chunks(in->fd, mail, look, append_chunk, chunks);
	if (look->what == CTL_SEALED) {
		json_object_set(row, "chunks", chunks);
		json_object_set_new(row, "chunks_complete", json_boolean(look->have_prefix && look->have_footer && err == BS_OK));
	}
	json_decref(chunks);
	json_array_append_new(in->messages, row);
	return err == BS_ERR_FORMAT ? BS_OK : err;
}

static enum bs_err
as_text(struct inspection *in, const struct ctl_mail *mail, const struct ctl_look *look)
{
	unsigned chunks = 0;
	enum bs_err err = BS_OK;

	printf("message at offset %llu, %llu bytes: %s\n", (unsigned long long)mail->off, (unsigned long long)mail->len,
	    what_name(look));
	if (look->what == CTL_SEALED)
		printf("  digest          %s%s\n", look->damage == NULL ? "ok" : "DAMAGED: ", look->damage == NULL ? "" : look->damage);
	if (look->have_prefix) {
		struct ids ids = ids_of(&look->prefix);

		printf("  version         %u\n  suite           %u (%s)\n  account id      %s\n  message id      %s\n"
		       "  key id          %s\n  prefix          %zu bytes\n",
		    look->prefix.version, look->prefix.suite, suite_name(look->prefix.suite), ids.account, ids.message, ids.key,
		    look->prefix.len);
	}
	if (look->have_prefix && look->have_footer) {
		err = ctl_sealed_chunks(in->fd, mail, look, print_chunk, &chunks);
		if (chunks > CHUNKS_SHOWN)
			printf("  ...             %u chunks in all; --json lists them\n", chunks);
		if (err == BS_ERR_FORMAT)
			printf("  chunk %-4u      its header is damaged\n", chunks);
	}
	if (look->have_footer)
		printf("  trailer         %u bytes at %llu\n", look->trailer_len, (unsigned long long)look->trailer_off);
	return err == BS_ERR_FORMAT ? BS_OK : err;
}

static enum bs_err
on_message(void *ctx, const struct ctl_mail *mail)
{
	struct inspection *in = ctx;
	struct ctl_look look;
	enum bs_err err = ctl_sealed_look(in->fd, mail, &look);

	if (err != BS_OK)
		return err;
	if (look.what == CTL_SEALED)
		in->sealed++;
	else
		in->plaintext++;
	if (look.damage != NULL)
		in->damaged++;
	return in->messages != NULL ? as_json(in, mail, &look) : as_text(in, mail, &look);
}

int
message_inspect(struct ctl *ctl)
{
	const char *path = ctl->args.words[0];
	bool json = (ctl->args.given & CTL_JSON) != 0;
	struct inspection in = { .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) };
	struct stat st;
	uint64_t bad_off = 0;
	enum bs_err err;
	int rc = CTL_OK;

	if (in.fd < 0)
		return ctl_fail(BS_ERR_NOENT, "%s: %s", path, strerror(errno));
	if (fstat(in.fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		rc = ctl_fail(BS_ERR_ARG, "%s is no file", path);
		goto out;
	}
	in.messages = json ? json_array() : NULL;
	err = ctl_mailfile_each(in.fd, (uint64_t)st.st_size, on_message, &in, &bad_off);
	if (json)
		rc = ctl_print_json(json_pack("{s:o, s:o}", "path", ctl_json_path(path), "messages", in.messages));
	if (err == BS_ERR_FORMAT || err == BS_ERR_VERSION)
		rc = ctl_fail(err, "%s: the dbox frame at offset %llu is %s", path, (unsigned long long)bad_off, bs_err_text(err));
	else if (err != BS_OK)
		rc = ctl_fail(err, "%s: %s", path, err == BS_ERR_IO ? strerror(errno) : bs_err_text(err));
	else if (rc == CTL_OK && (in.sealed == 0 || in.damaged > 0))
		rc = CTL_FAILED;
out:
	close(in.fd);
	return rc;
}
