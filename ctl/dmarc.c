/* basaltctl dmarc: what DMARC made of other people's mail, and the reports that their domains asked for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "crypto.h"
#include "ctl.h"
#include "dmarc_xml.h"
#include "gzip.h"
#include "verbs.h"

#define DAY_S 86400
#define ROWS_MAX 100000 /* of one report */
#define ID_MAX 33

/* "2026-11-28" as a day since 1970. */
static int
day_arg(const char *text, int64_t *out)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y-%m-%d", &tm);
	int month_day = tm.tm_mday; /* timegm() makes the 31st of a short month the first of the next */
	time_t at = timegm(&tm);

	if (end == NULL || *end != '\0' || at < 0 || tm.tm_mday != month_day) {
		ctl_fail(BS_ERR_ARG, "--day %s: a day is written YYYY-MM-DD", text);
		return CTL_USAGE;
	}
	*out = at / DAY_S;
	return CTL_OK;
}

/* --domain and --day; domain stays "" and day BS_DMARC_ANY_DAY where they are not given. Opens the store. */
static int
begin(struct ctl *ctl, char domain[BS_DOMAIN_MAX + 1], int64_t *day)
{
	const char *name = ctl_arg(&ctl->args, CTL_DOMAIN), *text = ctl_arg(&ctl->args, CTL_DAY);
	int rc = CTL_OK;

	domain[0] = '\0';
	*day = BS_DMARC_ANY_DAY;
	if (name != NULL)
		rc = ctl_domain_arg(name, domain);
	if (rc == CTL_OK && text != NULL)
		rc = day_arg(text, day);
	return rc == CTL_OK ? ctl_open_store(ctl) : rc;
}

static void
day_text(int64_t day, char out[16])
{
	time_t at = (time_t)(day * DAY_S);
	struct tm tm;

	if (gmtime_r(&at, &tm) == NULL || strftime(out, 16, "%Y-%m-%d", &tm) == 0)
		snprintf(out, 16, "?");
}

/* --- list --- */

/* The counts of one day and domain, until the next one's first row comes. */
struct summary {
	json_t *list; /* NULL: lines are printed */
	bool any;
	int64_t day;
	char domain[BS_DOMAIN_MAX + 1], rua[513];
	unsigned long long messages, passed, quarantined, rejected;
};

static enum bs_err
put_summary(struct summary *s)
{
	char day[16];

	if (!s->any)
		return BS_OK;
	day_text(s->day, day);
	if (s->list == NULL) {
		printf("%s  %-30s %llu messages, %llu passed, %llu quarantined, %llu rejected%s%s\n", day, s->domain, s->messages,
		    s->passed, s->quarantined, s->rejected, s->rua[0] != '\0' ? "; wants a report at " : "", s->rua);
		return BS_OK;
	}
	return json_array_append_new(s->list, json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:s}", "day", day, "domain", s->domain,
	    "messages", (json_int_t)s->messages, "passed", (json_int_t)s->passed, "quarantined", (json_int_t)s->quarantined,
	    "rejected", (json_int_t)s->rejected, "rua", s->rua)) == 0 ? BS_OK : BS_ERR_NOMEM;
}

static enum bs_err
add_to_summary(void *ctx, const struct bs_dmarc_row *row)
{
	struct summary *s = ctx;
	enum bs_err err = BS_OK;

	if (!s->any || s->day != row->day || strcmp(s->domain, row->domain) != 0) {
		err = put_summary(s);
		*s = (struct summary){ .list = s->list, .any = true, .day = row->day };
		snprintf(s->domain, sizeof(s->domain), "%s", row->domain);
		snprintf(s->rua, sizeof(s->rua), "%s", row->rua);
	}
	s->messages += row->messages;
	s->passed += row->dkim_aligned || row->spf_aligned ? row->messages : 0;
	s->quarantined += strcmp(row->disposition, "quarantine") == 0 ? row->messages : 0;
	s->rejected += strcmp(row->disposition, "reject") == 0 ? row->messages : 0;
	return err;
}

int
dmarc_list(struct ctl *ctl)
{
	struct summary summary = { 0 };
	char domain[BS_DOMAIN_MAX + 1];
	int64_t day;
	int rc = begin(ctl, domain, &day);
	enum bs_err err;

	if (rc == CTL_OK)
		rc = ctl_begin_list(ctl, &summary.list);
	if (rc != CTL_OK)
		return rc;
	err = bs_dmarc_list(ctl->store, domain[0] != '\0' ? domain : NULL, day, add_to_summary, &summary);
	if (err == BS_OK)
		err = put_summary(&summary);
	return ctl_end_list(ctl, summary.list, err, "DMARC results");
}

/* --- report --- */

/* The rows of the report that is being collected. */
struct collection {
	struct dmarc_report report;
	struct bs_dmarc_row *rows;
	size_t n;
	const char *folder; /* NULL: to standard output */
	unsigned reports;
	int failed_errno;
};

/* Of what it is about: the same report made twice has the same name. */
static void
make_id(const struct dmarc_report *report, char id[ID_MAX])
{
	struct bs_sha256 *hash = bs_sha256_new();
	uint8_t digest[BS_HASH_LEN] = { 0 };

	if (hash != NULL) {
		bs_sha256_update(hash, &report->rows[0].day, sizeof(report->rows[0].day));
		bs_sha256_update(hash, report->org, strlen(report->org) + 1);
		bs_sha256_update(hash, report->rows[0].domain, strlen(report->rows[0].domain) + 1);
		bs_sha256_update(hash, report->rows[0].policy, strlen(report->rows[0].policy));
		bs_sha256_final(hash, digest);
		bs_sha256_free(hash);
	}
	ctl_hex(digest, (ID_MAX - 1) / 2, id);
}

static enum bs_err
write_report(struct collection *c, const char *xml)
{
	char name[DMARC_NAME_MAX], path[DMARC_NAME_MAX + 4096];
	enum bs_err err;

	if (c->folder == NULL)
		return fputs(xml, stdout) >= 0 ? BS_OK : BS_ERR_IO;
	dmarc_xml_name(&c->report, name);
	if (snprintf(path, sizeof(path), "%s/%s.gz", c->folder, name) >= (int)sizeof(path))
		return BS_ERR_LIMIT;
	err = gzip_write(path, xml, strlen(xml));
	if (err == BS_OK)
		printf("%s%s%s\n", path, c->rows[0].rua[0] != '\0' ? "  for " : "", c->rows[0].rua);
	else
		c->failed_errno = errno;
	return err;
}

static int
check_folder(const char *folder)
{
	if (folder == NULL || access(folder, W_OK | X_OK) == 0)
		return CTL_OK;
	return ctl_fail(BS_ERR_ARG, "--to %s: %s%s", folder, strerror(errno), errno == ENOENT ? ": make it first" : "");
}

static enum bs_err
finish_report(struct collection *c)
{
	char id[ID_MAX], *xml;
	enum bs_err err;

	if (c->n == 0)
		return BS_OK;
	c->report.rows = c->rows;
	c->report.n = c->n;
	make_id(&c->report, id);
	c->report.id = id;
	xml = dmarc_xml(&c->report);
	err = xml != NULL ? write_report(c, xml) : BS_ERR_NOMEM;
	free(xml);
	c->report.id = NULL;
	c->n = 0;
	c->reports++;
	return err;
}

/* A report is of one day, domain and policy; the rows come in this order. */
static enum bs_err
collect(void *ctx, const struct bs_dmarc_row *row)
{
	struct collection *c = ctx;
	enum bs_err err = BS_OK;

	if (c->n > 0 && (c->rows[0].day != row->day || strcmp(c->rows[0].domain, row->domain) != 0 ||
	    strcmp(c->rows[0].policy, row->policy) != 0))
		err = finish_report(c);
	if (err != BS_OK)
		return err;
	if (c->n == ROWS_MAX)
		return BS_ERR_LIMIT;
	if ((c->n & (c->n - 1)) == 0) {
		struct bs_dmarc_row *more = realloc(c->rows, (c->n == 0 ? 1 : c->n * 2) * sizeof(*more));

		if (more == NULL)
			return BS_ERR_NOMEM;
		c->rows = more;
	}
	c->rows[c->n++] = *row;
	return BS_OK;
}

static int
end_report(const struct ctl *ctl, const struct collection *c, enum bs_err err)
{
	if (c->failed_errno != 0)
		return ctl_fail(err, "%s: %s", c->folder, strerror(c->failed_errno));
	if (err != BS_OK)
		return ctl_fail(err, "DMARC results: %s", ctl_store_text(ctl, err));
	if (c->reports == 0)
		return ctl_fail(BS_ERR_NOENT, "there are no DMARC results of that day and domain: see `basaltctl dmarc list`");
	return CTL_OK;
}

int
dmarc_report(struct ctl *ctl)
{
	struct collection c = { .folder = ctl_arg(&ctl->args, CTL_TO) };
	char domain[BS_DOMAIN_MAX + 1], org[BS_DOMAIN_MAX + 1];
	int64_t day, today = (int64_t)time(NULL) / DAY_S;
	int rc;
	enum bs_err err;

	c.report.org = ctl_arg(&ctl->args, CTL_ORG);
	c.report.email = ctl_arg(&ctl->args, CTL_EMAIL);
	if (c.report.org == NULL || c.report.email == NULL) {
		ctl_fail(BS_ERR_ARG, "who reports? --org DOMAIN and --email ADDRESS say so");
		return CTL_USAGE;
	}
	if (strchr(c.report.email, '@') == NULL) {
		ctl_fail(BS_ERR_ARG, "--email %s: is no address", c.report.email);
		return CTL_USAGE;
	}
	rc = check_folder(c.folder);
	if (rc == CTL_OK)
		rc = ctl_domain_arg(c.report.org, org);
	if (rc == CTL_OK)
		rc = begin(ctl, domain, &day);
	if (rc != CTL_OK)
		return rc;
	c.report.org = org;
	if (day == BS_DMARC_ANY_DAY)
		day = today - 1;
	if (day >= today && c.folder != NULL)
		fprintf(stderr, "basaltctl: warning: that day is not over: the whole day's report will have the same name\n");
	err = bs_dmarc_list(ctl->store, domain[0] != '\0' ? domain : NULL, day, collect, &c);
	if (err == BS_OK)
		err = finish_report(&c);
	free(c.rows);
	c.rows = NULL;
	return end_report(ctl, &c, err);
}
