#include "compat.h"

#include <istream.h>
#include <istream-concat.h>
#include <mail-storage-private.h>

#include <sys/stat.h>

#include "carrier.h"
#include "layer.h"
#include "rawsync.h"
#include "read.h"
#include "surroundings.h"
#include "wire.h"

#define CHUNK_HEAD 8   /* docs/FORMAT.message.md: kind, flags, plain length, stored length */
#define CHUNK_FRAME 24 /* with the tag */
#define KIND_TRAILER 3

struct rawsync_mail {
	union mail_module_context module_ctx;
	struct istream *out; /* what dsync reads, of a mail that is open */
	bool counting;       /* sizes are asked for: nobody may open the mail to count them */
	bool told;           /* the two below are the sizes of the mail that is being saved */
	uint64_t physical_len;
	uint64_t virtual_len;
};

static MODULE_CONTEXT_DEFINE_INIT(rawsync_mail_module, &mail_module_register);
#define RAWSYNC_MAIL(obj) MODULE_CONTEXT(obj, rawsync_mail_module)

static struct rawsync_mail *
of(struct mail *mail)
{
	return RAWSYNC_MAIL(private_of(mail));
}

bool
basalt_rawsync_active(struct mail_user *user)
{
	const struct basalt_user *bu = basalt_user_get(user);

	return bu != NULL && (user->dsyncing || bu->carries);
}

bool
basalt_rawsync_wanted(struct mail_user *user)
{
	return basalt_rawsync_active(user) && basalt_user_get(user)->session == NULL;
}

bool
basalt_rawsync_possible(const struct mail_user *user)
{
	return user->dsyncing || strcmp(user->service, "doveadm") == 0;
}

/* --- a copy between two mail users --- */

bool
basalt_rawsync_copy_begin(struct mailbox *dest, struct mail *src)
{
	struct basalt_user *from = user_of(src), *to = basalt_user_get(dest->storage->user);

	if (from == to || from == NULL || from != basalt_box_owner(src->box) || to != basalt_box_owner(dest) ||
	    strcmp(from->account, to->account) != 0 || from->session != NULL || to->session != NULL ||
	    !basalt_rawsync_possible(from->user) || !basalt_rawsync_possible(to->user))
		return false;
	from->carries = to->carries = true;
	return true;
}

void
basalt_rawsync_copy_end(struct mailbox *dest, struct mail *src)
{
	user_of(src)->carries = basalt_user_get(dest->storage->user)->carries = false;
}

/* --- sizes without a key --- */

static bool
read_at(struct istream *raw, uint64_t off, uint8_t *out, size_t len)
{
	const unsigned char *data;
	size_t size;

	i_stream_seek(raw, off);
	if (i_stream_read_bytes(raw, &data, &size, len) <= 0)
		return false;
	memcpy(out, data, len);
	return true;
}

/* The plaintext's physical size, from what stands before each chunk in the clear. */
static bool
count_chunks(struct istream *raw, const struct bs_msg_prefix *prefix, uint64_t *len_r)
{
	uint64_t off = prefix->len, sum = 0;
	uint8_t head[CHUNK_HEAD];

	while (read_at(raw, off, head, sizeof(head))) {
		struct bs_rd rd = bs_rd_init(head, sizeof(head));
		uint8_t kind = bs_rd_u8(&rd);

		(void)bs_rd_u8(&rd);
		if (kind == KIND_TRAILER) {
			*len_r = sum;
			return true;
		}
		sum += bs_rd_u24(&rd);
		off += CHUNK_FRAME + bs_rd_u24(&rd);
	}
	return false;
}

/*
 * Of an intact file the chunks' own lengths count: names and indexes may lie. Only what zlib compressed before it was sealed
 * is longer than they say.
 */
static void
find_physical_size(struct mail *mail, struct istream *raw, const struct bs_msg_prefix *prefix, struct bs_carrier *head)
{
	uint64_t counted = 0;
	bool has_counted = prefix != NULL && count_chunks(raw, prefix, &counted);
	bool exact = has_counted && head->kind == BS_CARRIER_INTACT && !basalt_has_plugin("zlib");
	uoff_t told;

	if (!exact && mail_get_physical_size(mail, &told) == 0) {
		head->physical_len = told;
		if (bs_carrier_physical_possible(head))
			return;
	}
	head->physical_len = has_counted ? counted : head->file_len;
	if (!bs_carrier_physical_possible(head))
		head->physical_len = head->file_len;
}

/* As dbox's metadata or maildir's file name has it; in place of a lie, the size of lines that end in CRLF, as they are stored. */
static void
find_virtual_size(struct mail *mail, struct bs_carrier *head)
{
	uoff_t told;

	if (mail_get_virtual_size(mail, &told) == 0)
		head->virtual_len = told;
	else
		head->virtual_len = head->kind == BS_CARRIER_DAMAGED ? head->physical_len : UINT64_MAX;
	if (!bs_carrier_virtual_possible(head))
		head->virtual_len = head->physical_len;
}

static void
find_sizes(struct mail *mail, struct istream *raw, const struct bs_msg_prefix *prefix, struct bs_carrier *head)
{
	struct rawsync_mail *rm = of(mail);

	rm->counting = true;
	find_physical_size(mail, raw, prefix, head);
	find_virtual_size(mail, head);
	rm->counting = false;
}

/* --- reading --- */

static bool
is_intact(struct istream *raw, uint64_t file_len)
{
	struct bs_passing *pass = bs_passing_new(file_len);
	const unsigned char *data;
	size_t size;
	bool intact;

	i_stream_seek(raw, 0);
	while (i_stream_read_more(raw, &data, &size) > 0) {
		bs_passing_update(pass, data, size);
		i_stream_skip(raw, size);
	}
	intact = raw->stream_errno == 0 && bs_passing_end(pass) == BS_OK;
	bs_passing_free(pass);
	return intact;
}

/* Suite 0 needs no key; what is damaged is carried like sealed mail. */
static bool
is_readable(struct istream *raw, const struct bs_msg_prefix *prefix)
{
	uoff_t size;

	return prefix != NULL && prefix->suite == BS_MSG_SUITE_PLAIN && i_stream_get_size(raw, TRUE, &size) > 0 &&
	    is_intact(raw, size);
}

static struct istream *
with_head(const struct bs_carrier *head, struct istream *rest)
{
	uint8_t bytes[BS_CARRIER_LEN];
	struct istream *inputs[3] = { NULL, rest, NULL }, *out;

	bs_carrier_write(head, bytes);
	inputs[0] = i_stream_create_copy_from_data(bytes, sizeof(bytes));
	i_stream_seek(rest, 0);
	out = i_stream_create_concat(inputs);
	i_stream_unref(&inputs[0]);
	i_stream_set_name(out, i_stream_get_name(rest));
	return out;
}

/* A dbox frame may promise more than is left of its file. */
static uoff_t
bytes_there(struct istream *raw, uoff_t promised)
{
	uoff_t base = i_stream_get_absolute_offset(raw) - raw->v_offset;
	int fd = i_stream_get_fd(raw);
	struct stat st;

	if (fd == -1 || fstat(fd, &st) < 0 || base + promised <= (uoff_t)st.st_size)
		return promised;
	return (uoff_t)st.st_size > base ? (uoff_t)st.st_size - base : 0;
}

static int
make_carrier(struct mail *mail, struct istream *raw, const struct bs_msg_prefix *prefix)
{
	struct bs_carrier head = { .kind = BS_CARRIER_DAMAGED };
	uoff_t size;

	if (i_stream_get_size(raw, TRUE, &size) <= 0) {
		mail_set_critical(mail, "basalt: size of %s: %s", i_stream_get_name(raw), i_stream_get_error(raw));
		return -1;
	}
	head.file_len = size = bytes_there(raw, size);
	if (prefix != NULL && is_intact(raw, size))
		head.kind = BS_CARRIER_INTACT;
	else
		e_warning(mail_event(mail), "basalt: %s is damaged: dsync carries it as it is", i_stream_get_name(raw));
	find_sizes(mail, raw, prefix, &head);
	of(mail)->out = with_head(&head, raw);
	return 0;
}

int
basalt_rawsync_get_stream(struct mail *mail, bool count, struct istream **stream_r)
{
	struct rawsync_mail *rm = of(mail);
	const struct bs_msg_prefix *prefix = NULL;
	enum basalt_state state;
	struct istream *raw;

	if (rm->counting) {
		mail_set_aborted(mail);
		return -1;
	}
	if (count)
		return 0;
	if (rm->out == NULL) {
		state = basalt_mail_probe(mail, &prefix);
		raw = basalt_mail_raw(mail);
		if (raw == NULL)
			return state == BASALT_BROKEN ? -1 : 0;
		if (state == BASALT_PLAINTEXT || is_readable(raw, prefix))
			return 0;
		if (make_carrier(mail, raw, prefix) < 0)
			return -1;
	}
	i_stream_seek(rm->out, 0);
	*stream_r = rm->out;
	return 1;
}

void
basalt_rawsync_escape(struct mail *mail, struct istream **stream)
{
	static const struct bs_carrier literal = { .kind = BS_CARRIER_LITERAL };
	struct rawsync_mail *rm = of(mail);
	const unsigned char *data;
	size_t size;

	i_stream_seek(*stream, 0);
	(void)i_stream_read_bytes(*stream, &data, &size, 4);
	if (bs_carrier_begins(data, size)) {
		i_stream_unref(&rm->out);
		rm->out = with_head(&literal, *stream);
		*stream = rm->out;
	} else {
		i_stream_seek(*stream, 0);
	}
}

/* --- hooks --- */

static void
rawsync_close(struct mail *mail)
{
	struct rawsync_mail *rm = of(mail);

	i_stream_unref(&rm->out);
	rm->module_ctx.super.close(mail);
}

/* Of a storage whose mails read.c leaves alone (imapc, mbox): what begins like a carrier is none there either. */
static int
rawsync_get_foreign_stream(struct mail *mail, bool get_body, struct message_size *hdr_size,
    struct message_size *body_size, struct istream **stream_r)
{
	struct rawsync_mail *rm = of(mail);

	if (rm->module_ctx.super.get_stream(mail, get_body, hdr_size, body_size, stream_r) < 0)
		return -1;
	if (hdr_size == NULL && body_size == NULL && basalt_rawsync_active(mail->box->storage->user))
		basalt_rawsync_escape(mail, stream_r);
	return 0;
}

static int
rawsync_get_virtual_size(struct mail *mail, uoff_t *size_r)
{
	struct rawsync_mail *rm = of(mail);

	if (!rm->told)
		return rm->module_ctx.super.get_virtual_size(mail, size_r);
	if (rm->virtual_len == UINT64_MAX) {
		mail_set_aborted(mail);
		return -1;
	}
	*size_r = rm->virtual_len;
	return 0;
}

static int
rawsync_get_physical_size(struct mail *mail, uoff_t *size_r)
{
	struct rawsync_mail *rm = of(mail);

	if (!rm->told)
		return rm->module_ctx.super.get_physical_size(mail, size_r);
	*size_r = rm->physical_len;
	return 0;
}

void
basalt_rawsync_set_sizes(struct mail *dest, uint64_t physical_len, uint64_t virtual_len)
{
	struct rawsync_mail *rm = of(dest);

	rm->physical_len = physical_len;
	rm->virtual_len = virtual_len;
	rm->told = true;
}

void
basalt_rawsync_unset_sizes(struct mail *dest)
{
	of(dest)->told = false;
}

void
basalt_rawsync_mail_allocated(struct mail *mail)
{
	struct mail_private *pmail = private_of(mail);
	struct mail_vfuncs *v = pmail->vlast;
	struct rawsync_mail *rm;

	if (!basalt_rawsync_possible(mail->box->storage->user) || user_of(mail) == NULL)
		return;
	rm = p_new(pmail->pool, struct rawsync_mail, 1);
	rm->module_ctx.super = *v;
	pmail->vlast = &rm->module_ctx.super;
	v->close = rawsync_close;
	v->get_virtual_size = rawsync_get_virtual_size;
	v->get_physical_size = rawsync_get_physical_size;
	if (!basalt_box_is_binary(mail->box))
		v->get_stream = rawsync_get_foreign_stream;
	MODULE_CONTEXT_SET(pmail, rawsync_mail_module, rm);
}
