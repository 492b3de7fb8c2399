/* msgfmt: where the RFC 5322 header ends, lines, and sizes as an IMAP server counts them. */
#include <string.h>

#include "msgfmt_priv.h"

size_t
bs_msg_scan(struct bs_msg_scan *scan, const uint8_t *data, size_t len, bool stop_at_empty_line)
{
	const uint8_t *p = data, *end = data + len, *lf;
	uint64_t line_len;
	bool cr;

	scan->empty_line = false;
	while (p < end) {
		lf = memchr(p, '\n', (size_t)(end - p));
		if (lf == NULL) {
			scan->line_len += (uint64_t)(end - p);
			scan->cr = end[-1] == '\r';
			p = end;
			break;
		}
		cr = lf > p ? lf[-1] == '\r' : scan->cr;
		line_len = scan->line_len + (uint64_t)(lf - p);
		scan->lines++;
		scan->bare_lfs += cr ? 0 : 1;
		scan->line_len = 0;
		scan->cr = false;
		p = lf + 1;
		scan->empty_line = line_len == 0 || (line_len == 1 && cr);
		if (scan->empty_line && stop_at_empty_line)
			break;
	}
	scan->len += (uint64_t)(p - data);
	return (size_t)(p - data);
}
