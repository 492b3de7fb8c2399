#include "mailfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_HEADER_MAX 1024     /* "2 M1e C5f3ec9a1\n" and what a later Dovecot adds */
#define DBOX_VERSION 2
#define MESSAGE_HEADER_MIN 30    /* struct dbox_message_header */
#define MESSAGE_HEADER_MAX 1024
#define SIZE_AT 13               /* message_size_hex in it */
#define SIZE_DIGITS 16
#define METADATA_MAX (256u * 1024)
#define MAGIC_PRE "\001\002N "
#define MAGIC_POST "\n\001\003\n"

struct dbox {
	int fd;
	uint64_t size;               /* of the file */
	uint64_t header_len;         /* of the file's header line */
	uint64_t message_header_len;
};

enum bs_err
ctl_pread(int fd, uint64_t off, void *out, size_t len, size_t *got)
{
	size_t n = 0;

	while (n < len) {
		ssize_t r = pread(fd, (char *)out + n, len - n, (off_t)(off + n));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return BS_ERR_IO;
		if (r == 0)
			break;
		n += (size_t)r;
	}
	*got = n;
	return BS_OK;
}

/* Hex digits up to the first other byte; at least one, at most 16. */
static bool
parse_hex(const char *p, size_t len, size_t *used, uint64_t *out)
{
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < len && i < SIZE_DIGITS; i++) {
		char c = p[i];
		unsigned digit;

		if (c >= '0' && c <= '9')
			digit = (unsigned)(c - '0');
		else if (c >= 'a' && c <= 'f')
			digit = (unsigned)(c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			digit = (unsigned)(c - 'A' + 10);
		else
			break;
		v = v << 4 | digit;
	}
	*used = i;
	*out = v;
	return i > 0;
}

/* The first line of a dbox file: a version, then fields, of which M says how long a message's header is. */
static bool
parse_file_header(const char *head, size_t len, struct dbox *out, bool *version_known)
{
	const char *end = memchr(head, '\n', len);
	uint64_t version;
	size_t used;

	if (end == NULL || !parse_hex(head, len, &used, &version) || used > 2 || len < used + 2 || head[used] != ' ' ||
	    head[used + 1] != 'M')
		return false;
	*version_known = version == DBOX_VERSION;
	out->header_len = (uint64_t)(end - head) + 1;
	used += 2;
	return parse_hex(head + used, len - used, &used, &out->message_header_len) &&
	       out->message_header_len >= MESSAGE_HEADER_MIN && out->message_header_len <= MESSAGE_HEADER_MAX;
}

static enum bs_err
message_header(const struct dbox *dbox, uint64_t off, struct ctl_mail *out)
{
	char head[MESSAGE_HEADER_MAX];
	size_t got, used;
	uint64_t len;
	enum bs_err err = ctl_pread(dbox->fd, off, head, dbox->message_header_len, &got);

	if (err != BS_OK)
		return err;
	if (got < dbox->message_header_len || memcmp(head, MAGIC_PRE, sizeof(MAGIC_PRE) - 1) != 0 || head[got - 1] != '\n' ||
	    !parse_hex(head + SIZE_AT, SIZE_DIGITS, &used, &len) || used != SIZE_DIGITS)
		return BS_ERR_FORMAT;
	out->kind = CTL_MAILFILE_DBOX;
	out->head = off;
	out->off = off + got;
	if (len > dbox->size - out->off)
		return BS_ERR_FORMAT;
	out->len = len;
	return BS_OK;
}

enum bs_err
ctl_mailfile_set_len(int fd, const struct ctl_mail *mail, uint64_t len)
{
	char digits[SIZE_DIGITS + 1];

	(void)snprintf(digits, sizeof(digits), "%016llX", (unsigned long long)len);
	return pwrite(fd, digits, SIZE_DIGITS, (off_t)(mail->head + SIZE_AT)) == SIZE_DIGITS ? BS_OK : BS_ERR_IO;
}

/* The metadata behind a message: lines up to an empty one. */
static enum bs_err
skip_metadata(const struct dbox *dbox, uint64_t off, uint64_t *next)
{
	char block[4096];
	bool line_start = true;
	size_t got;
	uint64_t start = off + sizeof(MAGIC_POST) - 1;
	enum bs_err err = ctl_pread(dbox->fd, off, block, sizeof(MAGIC_POST) - 1, &got);

	if (err != BS_OK)
		return err;
	if (got < sizeof(MAGIC_POST) - 1 || memcmp(block, MAGIC_POST, got) != 0)
		return BS_ERR_FORMAT;
	for (uint64_t at = start; at < start + METADATA_MAX; at += got) {
		err = ctl_pread(dbox->fd, at, block, sizeof(block), &got);
		if (err != BS_OK)
			return err;
		if (got == 0)
			break;
		for (size_t i = 0; i < got; i++) {
			if (line_start && block[i] == '\n') {
				*next = at + i + 1;
				return BS_OK;
			}
			line_start = block[i] == '\n';
		}
	}
	return BS_ERR_FORMAT;
}

static enum bs_err
each_in_dbox(const struct dbox *dbox, ctl_mail_fn fn, void *ctx, uint64_t *bad_off)
{
	uint64_t off = dbox->header_len;

	while (off < dbox->size) {
		struct ctl_mail mail;
		uint64_t next;
		enum bs_err err = message_header(dbox, off, &mail);

		if (err == BS_OK)
			err = skip_metadata(dbox, mail.off + mail.len, &next);
		if (err != BS_OK) {
			*bad_off = off;
			return err;
		}
		err = fn(ctx, &mail);
		if (err != BS_OK)
			return err;
		off = next;
	}
	return BS_OK;
}

enum bs_err
ctl_mailfile_each(int fd, uint64_t size, ctl_mail_fn fn, void *ctx, uint64_t *bad_off)
{
	struct dbox dbox = { .fd = fd, .size = size };
	struct ctl_mail whole = { .kind = CTL_MAILFILE_SINGLE, .off = 0, .len = size };
	char head[FILE_HEADER_MAX];
	bool version_known = true;
	size_t got;
	enum bs_err err = ctl_pread(fd, 0, head, sizeof(head), &got);

	*bad_off = 0;
	if (err != BS_OK)
		return err;
	if (!parse_file_header(head, got, &dbox, &version_known))
		return fn(ctx, &whole);
	return version_known ? each_in_dbox(&dbox, fn, ctx, bad_off) : BS_ERR_VERSION;
}

enum bs_err
ctl_mailfile_look(const char *path, int *fd, ctl_mail_fn fn, void *ctx)
{
	enum bs_err err = BS_ERR_FORMAT;
	uint64_t bad_off;
	struct stat st;

	*fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0)
		return errno == ENOENT ? BS_ERR_NOENT : BS_ERR_IO;
	if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode))
		err = ctl_mailfile_each(*fd, (uint64_t)st.st_size, fn, ctx, &bad_off);
	(void)close(*fd);
	*fd = -1;
	return err;
}
