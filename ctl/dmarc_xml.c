#include "dmarc_xml.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_S 86400
#define VALUE_MAX 300

static void
element(FILE *fp, int depth, const char *name, const char *value)
{
	fprintf(fp, "%*s<%s>", depth * 2, "", name);
	for (; *value != '\0'; value++) {
		if (*value == '&')
			fputs("&amp;", fp);
		else if (*value == '<')
			fputs("&lt;", fp);
		else if (*value == '>')
			fputs("&gt;", fp);
		else
			fputc(*value >= 0x20 && *value < 0x7f ? *value : '?', fp);
	}
	fprintf(fp, "</%s>\n", name);
}

static void
number(FILE *fp, int depth, const char *name, long long value)
{
	fprintf(fp, "%*s<%s>%lld</%s>\n", depth * 2, "", name, value, name);
}

static void
tag(FILE *fp, int depth, const char *text)
{
	fprintf(fp, "%*s<%s>\n", depth * 2, "", text);
}

/* The value of NAME in "p=reject; sp=none; ..."; what an absent one means where it is absent. */
static const char *
published(const char *policy, const char *name, const char *absent, char out[VALUE_MAX])
{
	size_t len = strlen(name);

	while (*policy != '\0') {
		size_t end = strcspn(policy, ";");

		if (end > len && strncmp(policy, name, len) == 0 && policy[len] == '=') {
			snprintf(out, VALUE_MAX, "%.*s", (int)(end - len - 1), policy + len + 1);
			return out;
		}
		policy += end;
		policy += strspn(policy, "; ");
	}
	return absent;
}

static void
put_metadata(FILE *fp, const struct dmarc_report *report)
{
	tag(fp, 1, "report_metadata");
	element(fp, 2, "org_name", report->org);
	element(fp, 2, "email", report->email);
	element(fp, 2, "report_id", report->id);
	tag(fp, 2, "date_range");
	number(fp, 3, "begin", report->rows[0].day * DAY_S);
	number(fp, 3, "end", (report->rows[0].day + 1) * DAY_S - 1);
	tag(fp, 2, "/date_range");
	tag(fp, 1, "/report_metadata");
}

static void
put_policy(FILE *fp, const struct bs_dmarc_row *row)
{
	static const struct {
		const char *name, *absent;
	} items[] = { { "adkim", "r" }, { "aspf", "r" }, { "p", "none" }, { "sp", "none" }, { "pct", "100" }, { "fo", "0" } };
	char value[VALUE_MAX];

	tag(fp, 1, "policy_published");
	element(fp, 2, "domain", row->domain);
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++)
		element(fp, 2, items[i].name, published(row->policy, items[i].name, items[i].absent, value));
	tag(fp, 1, "/policy_published");
}

static void
put_row(FILE *fp, const struct bs_dmarc_row *row)
{
	bool test = strcmp(row->reason, "policy_test_mode") == 0;

	tag(fp, 2, "row");
	element(fp, 3, "source_ip", row->source);
	number(fp, 3, "count", (long long)row->messages);
	tag(fp, 3, "policy_evaluated");
	element(fp, 4, "disposition", row->disposition);
	element(fp, 4, "dkim", row->dkim_aligned ? "pass" : "fail");
	element(fp, 4, "spf", row->spf_aligned ? "pass" : "fail");
	if (row->reason[0] != '\0') {
		tag(fp, 4, "reason");
		element(fp, 5, "type", test ? "other" : row->reason);
		element(fp, 5, "comment", test ? "policy test mode (t=y)" : "");
		tag(fp, 4, "/reason");
	}
	tag(fp, 3, "/policy_evaluated");
	tag(fp, 2, "/row");
}

static void
put_dkim(FILE *fp, const char *results)
{
	char result[16], domain[254], selector[254];

	while (*results != '\0') {
		if (sscanf(results, "%15s %253s %253[^;]", result, domain, selector) == 3) {
			tag(fp, 3, "dkim");
			element(fp, 4, "domain", domain);
			element(fp, 4, "selector", selector);
			element(fp, 4, "result", result);
			tag(fp, 3, "/dkim");
		}
		results += strcspn(results, ";");
		results += strspn(results, ";");
	}
}

/* The schema wants one SPF result at least. */
static void
put_spf(FILE *fp, const struct bs_dmarc_row *row)
{
	char result[16] = "none", domain[254] = "";

	(void)sscanf(row->spf, "%15s %253s", result, domain);
	tag(fp, 3, "spf");
	element(fp, 4, "domain", domain[0] != '\0' ? domain : row->envelope);
	element(fp, 4, "scope", row->envelope[0] != '\0' ? "mfrom" : "helo");
	element(fp, 4, "result", result);
	tag(fp, 3, "/spf");
}

static void
put_record(FILE *fp, const struct bs_dmarc_row *row)
{
	tag(fp, 1, "record");
	put_row(fp, row);
	tag(fp, 2, "identifiers");
	element(fp, 3, "envelope_from", row->envelope);
	element(fp, 3, "header_from", row->author);
	tag(fp, 2, "/identifiers");
	tag(fp, 2, "auth_results");
	put_dkim(fp, row->dkim);
	put_spf(fp, row);
	tag(fp, 2, "/auth_results");
	tag(fp, 1, "/record");
}

char *
dmarc_xml(const struct dmarc_report *report)
{
	char *text = NULL;
	size_t size = 0;
	FILE *fp = open_memstream(&text, &size);
	bool bad;

	if (fp == NULL)
		return NULL;
	fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feedback>\n", fp);
	element(fp, 1, "version", "1.0");
	put_metadata(fp, report);
	put_policy(fp, &report->rows[0]);
	for (size_t i = 0; i < report->n; i++)
		put_record(fp, &report->rows[i]);
	fputs("</feedback>\n", fp);
	bad = ferror(fp) != 0;
	if (fclose(fp) == 0 && !bad)
		return text;
	free(text);
	return NULL;
}

void
dmarc_xml_name(const struct dmarc_report *report, char out[DMARC_NAME_MAX])
{
	int64_t begin = report->rows[0].day * DAY_S;

	snprintf(out, DMARC_NAME_MAX, "%.253s!%.253s!%lld!%lld!%.64s.xml", report->org, report->rows[0].domain, (long long)begin,
	    (long long)begin + DAY_S - 1, report->id);
	for (char *c = out; *c != '\0'; c++)
		if (*c == '/' || *c <= 0x20 || *c >= 0x7f)
			*c = '_';
}
