/*
 * fuzz_mailfile: the readers of mail files that basaltctl runs over whole trees, often as root: dbox frames, and what a
 * sealed message says without a key. Every message lies inside the file, they do not overlap, and every chunk lies
 * inside its message. And the lines of dbox metadata behind a message: with another length of the text they are the same but for that.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "ctl/dboxmeta.c"
#undef MAGIC
#include "ctl/mailfile.c"
#include "ctl/sealed.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct walk {
	int fd;
	uint64_t size;
	uint64_t end; /* of the message before */
};

static void
need(bool ok)
{
	if (!ok)
		abort();
}

static enum bs_err
on_chunk(void *ctx, const struct ctl_chunk *chunk)
{
	const struct ctl_look *look = ctx;

	need(chunk->off >= look->prefix.len && chunk->off < look->trailer_off);
	return BS_OK;
}

static void
try_metadata(const struct walk *walk, uint64_t off)
{
	struct dboxmeta meta;
	size_t len;

	if (dboxmeta_read(walk->fd, off, walk->size, &meta) != BS_OK)
		return;
	need(dboxmeta_set_text_len(&meta, UINT64_MAX) == BS_OK && dboxmeta_has(&meta, DBOXMETA_TEXT_LEN));
	len = meta.len;
	need(dboxmeta_set_text_len(&meta, UINT64_MAX) == BS_OK && meta.len == len);
	need(dboxmeta_set_text_len(&meta, 0) == BS_OK && meta.len + sizeof("Zffffffffffffffff") == len);
	dboxmeta_clear(&meta);
}

static enum bs_err
on_mail(void *ctx, const struct ctl_mail *mail)
{
	struct walk *walk = ctx;
	struct ctl_look look;

	need(mail->off >= walk->end && mail->len <= walk->size && mail->off <= walk->size - mail->len);
	walk->end = mail->off + mail->len;
	try_metadata(walk, walk->end);
	need(ctl_sealed_look(walk->fd, mail, &look) == BS_OK);
	need(look.what == CTL_SEALED || look.damage == NULL);
	need(!look.have_prefix || look.prefix.len <= mail->len);
	need(!look.have_footer || look.trailer_off + look.trailer_len + BS_MSG_FOOTER_LEN == mail->len);
	if (look.have_prefix && look.have_footer) {
		enum bs_err err = ctl_sealed_chunks(walk->fd, mail, &look, on_chunk, &look);

		need(err == BS_OK || err == BS_ERR_FORMAT);
	}
	return BS_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct walk walk = { .size = size };
	uint64_t bad_off;
	enum bs_err err;

	if (fd < 0) {
		need(bs_crypto_init() == BS_OK);
		fd = memfd_create("mailfile", MFD_CLOEXEC);
	}
	walk.fd = fd;
	need(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
	err = ctl_mailfile_each(fd, size, on_mail, &walk, &bad_off);
	need(err == BS_OK || err == BS_ERR_FORMAT || err == BS_ERR_VERSION);
	return 0;
}
