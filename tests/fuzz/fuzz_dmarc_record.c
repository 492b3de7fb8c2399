/* fuzz_dmarc_record: a TXT record of any bytes. What is accepted is whole, printable, and the same when its texts are read again. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "milter/dmarc_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
need(bool ok)
{
	if (!ok)
		abort();
}

static void
need_printable(const char *text, size_t size)
{
	size_t len = strnlen(text, size);

	need(len < size);
	for (size_t i = 0; i < len; i++)
		need(text[i] > 0x20 && text[i] < 0x7f);
}

/* The record written out and read again says the same. */
static void
need_stable(const struct dmarc_record *r)
{
	static const char *const psd[] = { "u", "y", "n" };
	char text[DMARC_RECORD_MAX];
	struct dmarc_record again;
	int n = snprintf(text, sizeof(text), "v=DMARC1; p=%s; sp=%s; %s%s%s adkim=%c; aspf=%c; pct=%u; psd=%s; fo=%s; rua=%s%s",
	    auth_dmarc_policy_text(r->p), auth_dmarc_policy_text(r->sp), r->has_np ? "np=" : "",
	    r->has_np ? auth_dmarc_policy_text(r->np) : "", r->has_np ? ";" : "", r->adkim_strict ? 's' : 'r',
	    r->aspf_strict ? 's' : 'r', r->pct, psd[r->psd], r->fo, r->rua, r->testing ? "; t=y" : r->has_t ? "; t=n" : "");

	need(n > 0 && (size_t)n < sizeof(text));
	need(dmarc_record_parse((const uint8_t *)text, (size_t)n, &again));
	need(again.p == r->p && again.sp == r->sp && again.np == r->np && again.has_np == r->has_np && again.pct == r->pct);
	need(again.adkim_strict == r->adkim_strict && again.aspf_strict == r->aspf_strict && again.psd == r->psd);
	need(again.testing == r->testing && again.has_t == r->has_t && strcmp(again.fo, r->fo) == 0);
	/* "rua=mailto:x" of the longest kind may fill a value of its own: then it is cut off whole. */
	need(strcmp(again.rua, r->rua) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dmarc_record record;

	if (!dmarc_record_parse(data, size, &record))
		return 0;
	need(size <= DMARC_RECORD_MAX && size >= 9 && record.pct <= 100);
	need(record.p <= AUTH_DMARC_P_REJECT && record.sp <= AUTH_DMARC_P_REJECT && record.np <= AUTH_DMARC_P_REJECT);
	need_printable(record.rua, sizeof(record.rua));
	need_printable(record.fo, sizeof(record.fo));
	need_stable(&record);
	return 0;
}
