/*
 * dmarc_record: a DMARC policy record as published (RFC 9989 section 4.7, RFC 7489 section 6.3), read.
 *
 * A record is any bytes that a stranger put into the DNS. Unknown tags are passed over, and a known one whose value
 * makes no sense counts as absent, as both documents say; only the version must be right and stand first. Pure functions.
 *
 *     if (dmarc_record_parse(data, len, &record)) ... record.p ...
 */
#ifndef MILTER_DMARC_RECORD_H
#define MILTER_DMARC_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth.h"

#define DMARC_RECORD_MAX 4096 /* bytes; a longer one is none */
#define DMARC_TAGS_MAX 64     /* that are looked at */
#define DMARC_RUA_MAX 512
#define DMARC_FO_MAX 8

enum dmarc_psd { DMARC_PSD_UNKNOWN, DMARC_PSD_YES, DMARC_PSD_NO };

struct dmarc_record {
	enum auth_dmarc_policy p, sp, np; /* sp and np: what holds if they are absent, too */
	bool has_np;
	bool adkim_strict, aspf_strict;
	bool testing; /* t=y */
	bool has_t;
	unsigned pct; /* 0 to 100 */
	enum dmarc_psd psd;
	char fo[DMARC_FO_MAX];   /* "0", "1:d:s"; as published where it is right */
	char rua[DMARC_RUA_MAX]; /* the URIs that could be read, with commas; "" */
};

/* False: it is no DMARC record, or one that must be ignored (no policy, and nobody to report to). */
bool dmarc_record_parse(const uint8_t *data, size_t len, struct dmarc_record *out);

#endif
