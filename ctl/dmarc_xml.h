/*
 * dmarc_xml: one aggregate report as XML: RFC 7489 section 7.2 and its appendix C.
 *
 *     struct dmarc_report report = { .org = "example.org", .email = "postmaster@example.org", .rows = rows, .n = n };
 *     char *xml = dmarc_xml(&report);      // for free(); NULL: out of memory
 */
#ifndef CTL_DMARC_XML_H
#define CTL_DMARC_XML_H

#include "store_policy_dmarc.h"

#define DMARC_NAME_MAX 800

/* Rows of one day, domain and policy. */
struct dmarc_report {
	const char *org, *email; /* who reports */
	const char *id;          /* of this report, once for ever */
	const struct bs_dmarc_row *rows;
	size_t n; /* at least 1 */
};

char *dmarc_xml(const struct dmarc_report *report);
/* Its file's name (section 7.2.1.1), without ".gz": receiver!domain!begin!end!id.xml */
void dmarc_xml_name(const struct dmarc_report *report, char out[DMARC_NAME_MAX]);

#endif
