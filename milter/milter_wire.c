#include "milter_wire.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "transport.h"
#include "wire.h"

#define LENGTH_SIZE 4

enum bs_err
milter_wire_next(const uint8_t *data, size_t len, struct milter_packet *out, size_t *used)
{
	struct bs_rd rd = bs_rd_init(data, len);
	uint32_t size = bs_rd_u32(&rd);

	if (rd.failed)
		return BS_ERR_SHORT;
	if (size == 0)
		return BS_ERR_FORMAT;
	if (size > MILTER_PACKET_MAX)
		return BS_ERR_LIMIT;
	if (rd.left < size)
		return BS_ERR_SHORT;
	*out = (struct milter_packet){ .command = rd.p[0], .data = rd.p + 1, .len = size - 1 };
	*used = LENGTH_SIZE + size;
	return BS_OK;
}

enum bs_err
milter_wire_offer(const struct milter_packet *packet, struct milter_offer *out)
{
	struct bs_rd rd = bs_rd_init(packet->data, packet->len);
	struct milter_offer offer;

	offer.version = bs_rd_u32(&rd);
	offer.actions = bs_rd_u32(&rd);
	offer.steps = bs_rd_u32(&rd);
	if (rd.failed)
		return BS_ERR_FORMAT;
	if (offer.version < MILTER_VERSION_MIN)
		return BS_ERR_VERSION;
	*out = offer;
	return BS_OK;
}

/* The next string and what is left behind its NUL; NULL when none ends here. */
static const char *
take_string(const uint8_t **p, size_t *left)
{
	const uint8_t *start = *p, *end = *left > 0 ? memchr(start, '\0', *left) : NULL;

	if (end == NULL)
		return NULL;
	*left -= (size_t)(end - start) + 1;
	*p = end + 1;
	return (const char *)start;
}

enum bs_err
milter_wire_client(const struct milter_packet *packet, struct milter_client *out)
{
	const uint8_t *p = packet->data;
	size_t left = packet->len;
	const char *name = take_string(&p, &left), *address = "";
	uint8_t family;

	if (name == NULL || left == 0)
		return BS_ERR_FORMAT;
	family = *p;
	if (family == '4' || family == '6') {
		if (left < 1 + 2)
			return BS_ERR_FORMAT;
		p += 1 + 2; /* the family and the port */
		left -= 1 + 2;
		address = take_string(&p, &left);
		if (address == NULL || left != 0)
			return BS_ERR_FORMAT;
		if (family == '6' && strncmp(address, "IPv6:", 5) == 0)
			address += 5;
	}
	*out = (struct milter_client){ .name = name, .address = address };
	return BS_OK;
}

enum bs_err
milter_wire_strings(const struct milter_packet *packet, char *out[MILTER_ARGS_MAX + 1])
{
	const uint8_t *p = packet->data;
	size_t left = packet->len, n = 0;

	while (left > 0) {
		const char *text = take_string(&p, &left);

		if (text == NULL)
			return BS_ERR_FORMAT;
		if (n == MILTER_ARGS_MAX)
			return BS_ERR_LIMIT;
		out[n++] = (char *)(uintptr_t)text; /* NOLINT(performance-no-int-to-ptr): the events' type; nobody writes */
	}
	out[n] = NULL;
	return n > 0 ? BS_OK : BS_ERR_FORMAT;
}

enum bs_err
milter_wire_string(const struct milter_packet *packet, const char **out)
{
	const uint8_t *p = packet->data;
	size_t left = packet->len;
	const char *text = take_string(&p, &left);

	if (text == NULL || left != 0)
		return BS_ERR_FORMAT;
	*out = text;
	return BS_OK;
}

enum bs_err
milter_wire_pair(const struct milter_packet *packet, const char **first, const char **second)
{
	const uint8_t *p = packet->data;
	size_t left = packet->len;
	const char *a = take_string(&p, &left), *b = take_string(&p, &left);

	if (a == NULL || b == NULL || left != 0)
		return BS_ERR_FORMAT;
	*first = a;
	*second = b;
	return BS_OK;
}

enum bs_err
milter_wire_macros(const struct milter_packet *packet, uint8_t *command, const uint8_t **pairs, size_t *pairs_len)
{
	const uint8_t *p = packet->data + 1;
	size_t left = packet->len - 1;

	if (packet->len == 0)
		return BS_ERR_FORMAT;
	for (size_t n = 0; left > 0; n++) {
		if (n == MILTER_ARGS_MAX)
			return BS_ERR_LIMIT;
		if (take_string(&p, &left) == NULL || take_string(&p, &left) == NULL)
			return BS_ERR_FORMAT;
	}
	*command = packet->data[0];
	*pairs = packet->data + 1;
	*pairs_len = packet->len - 1;
	return BS_OK;
}

/* Without the braces around it. */
static size_t
bare(const char **name)
{
	size_t len = strlen(*name);

	if (len >= 2 && (*name)[0] == '{' && (*name)[len - 1] == '}') {
		(*name)++;
		len -= 2;
	}
	return len;
}

const char *
milter_wire_macro(const uint8_t *pairs, size_t pairs_len, const char *name)
{
	const uint8_t *p = pairs;
	size_t left = pairs_len, len = bare(&name);

	while (left > 0) {
		const char *key = take_string(&p, &left), *value = take_string(&p, &left);
		size_t key_len;

		if (key == NULL || value == NULL)
			return NULL;
		key_len = bare(&key);
		if (key_len == len && memcmp(key, name, len) == 0)
			return value;
	}
	return NULL;
}

/* --- writing --- */

/* The head of a packet of len bytes, and where they go: the caller fills in exactly so many. */
static enum bs_err
begin(struct bs_buf *out, enum milter_answer answer, size_t len, struct bs_wr *wr)
{
	uint8_t *to;
	enum bs_err err;

	if (len >= MILTER_PACKET_MAX)
		return BS_ERR_LIMIT;
	err = bs_buf_reserve(out, LENGTH_SIZE + 1 + len, &to);
	if (err != BS_OK)
		return err;
	*wr = bs_wr_init(to, LENGTH_SIZE + 1 + len);
	bs_wr_u32(wr, (uint32_t)len + 1);
	bs_wr_u8(wr, (uint8_t)answer);
	return BS_OK;
}

static enum bs_err
finish(struct bs_buf *out, const struct bs_wr *wr)
{
	if (wr->failed || wr->len != wr->size)
		return BS_ERR_INTERNAL;
	bs_buf_commit(out, wr->len);
	return BS_OK;
}

enum bs_err
milter_wire_put(struct bs_buf *out, enum milter_answer answer, const void *data, size_t len)
{
	struct bs_wr wr;
	enum bs_err err = begin(out, answer, len, &wr);

	if (err != BS_OK)
		return err;
	if (len > 0)
		bs_wr_bytes(&wr, data, len);
	return finish(out, &wr);
}

static size_t
macros_size(const char *const *macros)
{
	size_t size = 0;

	for (unsigned i = 0; macros != NULL && i < MILTER_MACRO_STAGES; i++)
		if (macros[i] != NULL)
			size += 4 + strlen(macros[i]) + 1;
	return size;
}

enum bs_err
milter_wire_put_offer(struct bs_buf *out, const struct milter_offer *offer, const char *const *macros)
{
	struct bs_wr wr;
	enum bs_err err = begin(out, MILTER_NEGOTIATED, 12 + macros_size(macros), &wr);

	if (err != BS_OK)
		return err;
	bs_wr_u32(&wr, offer->version);
	bs_wr_u32(&wr, offer->actions);
	bs_wr_u32(&wr, offer->steps);
	for (unsigned i = 0; macros != NULL && i < MILTER_MACRO_STAGES; i++) {
		if (macros[i] == NULL)
			continue;
		bs_wr_u32(&wr, i);
		bs_wr_bytes(&wr, macros[i], strlen(macros[i]) + 1);
	}
	return finish(out, &wr);
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* RFC 5321 section 4.2 and RFC 3463: one line of printable ASCII, and a status of the code's class. */
static bool
is_sendable(const struct smtp_reply *reply)
{
	const char *code = reply->code;

	if ((code[0] != '4' && code[0] != '5') || !is_digit(code[1]) || !is_digit(code[2]) || code[3] != '\0')
		return false;
	if (reply->status[0] != code[0] || reply->status[1] != '.')
		return false;
	for (const char *p = reply->status; *p != '\0'; p++)
		if (!is_digit(*p) && *p != '.')
			return false;
	for (const char *p = reply->text; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			return false;
	return reply->text[0] != '\0';
}

/* Sendmail takes the text for a format: each % is written twice. */
static void
double_percents(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (; *text != '\0' && n + 2 < size; text++) {
		if (*text == '%')
			out[n++] = '%';
		out[n++] = *text;
	}
	out[n] = '\0';
}

enum bs_err
milter_wire_put_reply(struct bs_buf *out, const struct smtp_reply *reply)
{
	char text[2 * sizeof(reply->text) + 1], line[sizeof(text) + sizeof(reply->code) + sizeof(reply->status) + 2];
	int len;

	if (!is_sendable(reply))
		return milter_wire_put(out, reply->code[0] == '5' ? MILTER_REJECT : MILTER_TEMPFAIL, NULL, 0);
	double_percents(reply->text, text, sizeof(text));
	len = snprintf(line, sizeof(line), "%s %s %s", reply->code, reply->status, text);
	return milter_wire_put(out, MILTER_REPLY, line, (size_t)len + 1);
}

/* Neither name nor value begins a header of its own: no CR, each line of the value after the first begins blank. */
static bool
is_one_header(const char *name, const char *value)
{
	if (name[0] == '\0')
		return false;
	if (strpbrk(name, ":\r\n") != NULL)
		return false;
	for (const char *p = value; *p != '\0'; p++)
		if (*p == '\r' || (*p == '\n' && p[1] != ' ' && p[1] != '\t'))
			return false;
	return true;
}

static enum bs_err
put_header(struct bs_buf *out, enum milter_answer answer, uint32_t index, const char *name, const char *value)
{
	size_t name_len = strlen(name) + 1, value_len = strlen(value) + 1;
	struct bs_wr wr;
	enum bs_err err;

	if (!is_one_header(name, value))
		return BS_ERR_ARG;
	err = begin(out, answer, 4 + name_len + value_len, &wr);
	if (err != BS_OK)
		return err;
	bs_wr_u32(&wr, index);
	bs_wr_bytes(&wr, name, name_len);
	bs_wr_bytes(&wr, value, value_len);
	return finish(out, &wr);
}

enum bs_err
milter_wire_put_insert(struct bs_buf *out, uint32_t index, const char *name, const char *value)
{
	return put_header(out, MILTER_INSERT_HEADER, index, name, value);
}

enum bs_err
milter_wire_put_change(struct bs_buf *out, uint32_t index, const char *name, const char *value)
{
	return put_header(out, MILTER_CHANGE_HEADER, index, name, value);
}

enum bs_err
milter_wire_put_quarantine(struct bs_buf *out, const char *reason)
{
	char line[TRANSPORT_REASON_MAX + 1];

	(void)snprintf(line, sizeof(line), "%s", reason);
	for (char *p = line; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	return milter_wire_put(out, MILTER_QUARANTINE, line, strlen(line) + 1);
}
