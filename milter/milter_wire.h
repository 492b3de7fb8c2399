/*
 * milter_wire: the bytes of the milter protocol, version 6, as a filter reads and writes them. No socket, no state.
 *
 * A packet is a 32-bit length (big-endian), one byte that says what it is, and length - 1 bytes. Strings end with a NUL.
 * Parsed strings point into the packet and live as long as it does. Any thread. Errors: BS_ERR_SHORT (not whole yet),
 * BS_ERR_LIMIT (longer than MILTER_PACKET_MAX), BS_ERR_FORMAT; of writing: BS_ERR_LIMIT, BS_ERR_NOMEM, and BS_ERR_ARG for
 * a text that would break out of its header.
 *
 *     err = milter_wire_next(data, len, &packet, &used);
 *     if (err == BS_OK && packet.command == MILTER_HEADER)
 *         err = milter_wire_pair(&packet, &name, &value);
 *     err = milter_wire_put(out, MILTER_CONTINUE, NULL, 0);
 */
#ifndef MILTER_MILTER_WIRE_H
#define MILTER_MILTER_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "verdict.h"

/* One header of Postfix's header_size_limit (102,400) or one body chunk (65,535), with room. */
#define MILTER_PACKET_MAX ((size_t)256 * 1024)
#define MILTER_ARGS_MAX 64 /* strings of one MAIL or RCPT, or macros of one stage */
#define MILTER_VERSION_MIN 2
#define MILTER_VERSION_MAX 6

/* What the mail server sends. */
enum milter_command {
	MILTER_ABORT = 'A',
	MILTER_BODY = 'B',
	MILTER_CONNECT = 'C',
	MILTER_MACRO = 'D',
	MILTER_END = 'E',
	MILTER_HELO = 'H',
	MILTER_QUIT_NEXT = 'K', /* this session ends, another follows on the same connection */
	MILTER_HEADER = 'L',
	MILTER_MAIL = 'M',
	MILTER_END_OF_HEADER = 'N',
	MILTER_NEGOTIATE = 'O',
	MILTER_QUIT = 'Q',
	MILTER_RCPT = 'R',
	MILTER_DATA = 'T',
	MILTER_UNKNOWN = 'U',
};

/* What a filter sends. */
enum milter_answer {
	MILTER_CONTINUE = 'c',
	MILTER_DISCARD = 'd',
	MILTER_INSERT_HEADER = 'i',
	MILTER_CHANGE_HEADER = 'm',
	MILTER_NEGOTIATED = 'O',
	MILTER_PROGRESS = 'p',
	MILTER_QUARANTINE = 'q',
	MILTER_REJECT = 'r',
	MILTER_TEMPFAIL = 't',
	MILTER_REPLY = 'y',
};

/* Actions that a filter may take. */
enum {
	MILTER_ADDS_HEADERS = 0x1,
	MILTER_CHANGES_HEADERS = 0x10,
	MILTER_QUARANTINES = 0x20,
	MILTER_SETS_MACROS = 0x100,
};

/* Steps: NO_ "do not send", NR_ "do not wait for an answer". */
enum {
	MILTER_NO_CONNECT = 0x1,
	MILTER_NO_HELO = 0x2,
	MILTER_NO_MAIL = 0x4,
	MILTER_NO_RCPT = 0x8,
	MILTER_NO_BODY = 0x10,
	MILTER_NO_HEADERS = 0x20,
	MILTER_NO_END_OF_HEADER = 0x40,
	MILTER_NR_HEADER = 0x80,
	MILTER_NO_UNKNOWN = 0x100,
	MILTER_NO_DATA = 0x200,
	MILTER_REFUSED_RCPT = 0x800, /* send recipients that the server itself refuses, too */
	MILTER_NR_CONNECT = 0x1000,
	MILTER_NR_HELO = 0x2000,
	MILTER_NR_MAIL = 0x4000,
	MILTER_NR_RCPT = 0x8000,
	MILTER_NR_DATA = 0x10000,
	MILTER_NR_UNKNOWN = 0x20000,
	MILTER_NR_END_OF_HEADER = 0x40000,
	MILTER_NR_BODY = 0x80000,
	MILTER_LEADING_BLANK = 0x100000, /* a header's value with what stands behind the colon */
};

/* Numbers of the stages for which a list of macros can be asked. */
enum milter_macro_stage {
	MILTER_AT_CONNECT = 0,
	MILTER_AT_HELO = 1,
	MILTER_AT_MAIL = 2,
	MILTER_AT_RCPT = 3,
	MILTER_AT_DATA = 4,
	MILTER_AT_END = 5,
	MILTER_AT_END_OF_HEADER = 6,
	MILTER_MACRO_STAGES = 7
};

struct milter_packet {
	uint8_t command;
	const uint8_t *data;
	size_t len;
};

struct milter_offer {
	uint32_t version, actions, steps;
};

struct milter_client {
	const char *name;
	const char *address; /* "" for a family other than IP; IPv6 as the server wrote it, without "IPv6:" */
};

/* --- reading --- */

/* The first packet of data and the bytes that it takes with its length. */
enum bs_err milter_wire_next(const uint8_t *data, size_t len, struct milter_packet *out, size_t *used) BS_MUST_USE;
enum bs_err milter_wire_offer(const struct milter_packet *packet, struct milter_offer *out) BS_MUST_USE;
enum bs_err milter_wire_client(const struct milter_packet *packet, struct milter_client *out) BS_MUST_USE;
enum bs_err milter_wire_string(const struct milter_packet *packet, const char **out) BS_MUST_USE;
enum bs_err milter_wire_pair(const struct milter_packet *packet, const char **first, const char **second) BS_MUST_USE;
/* At least one string; out ends with NULL. */
enum bs_err milter_wire_strings(const struct milter_packet *packet, char *out[MILTER_ARGS_MAX + 1]) BS_MUST_USE;
/* The command whose macros these are, and the strings behind it: checked to be pairs of name and value. */
enum bs_err milter_wire_macros(const struct milter_packet *packet, uint8_t *command, const uint8_t **pairs,
    size_t *pairs_len) BS_MUST_USE;
/* The value of a name in checked pairs, or NULL. A name of more than one letter stands in braces on either side or not. */
const char *milter_wire_macro(const uint8_t *pairs, size_t pairs_len, const char *name);

/* --- writing: each appends to out --- */

enum bs_err milter_wire_put(struct bs_buf *out, enum milter_answer answer, const void *data, size_t len) BS_MUST_USE;
/* macros: lists of names by enum milter_macro_stage, NULL where none is wanted; or NULL: what the server likes to send. */
enum bs_err milter_wire_put_offer(struct bs_buf *out, const struct milter_offer *offer, const char *const *macros) BS_MUST_USE;
/* A reply that no SMTP client could be sent goes out as its class alone. */
enum bs_err milter_wire_put_reply(struct bs_buf *out, const struct smtp_reply *reply) BS_MUST_USE;
enum bs_err milter_wire_put_insert(struct bs_buf *out, uint32_t index, const char *name, const char *value) BS_MUST_USE;
/* value "": deletes. */
enum bs_err milter_wire_put_change(struct bs_buf *out, uint32_t index, const char *name, const char *value) BS_MUST_USE;
enum bs_err milter_wire_put_quarantine(struct bs_buf *out, const char *reason) BS_MUST_USE;

#endif
