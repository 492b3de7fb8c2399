#include "dmarc_walk.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static size_t
count_labels(const char *name)
{
	size_t n = 1;

	for (; *name != '\0'; name++)
		n += *name == '.' ? 1 : 0;
	return n;
}

static const char *
parent(const char *name)
{
	const char *dot = strchr(name, '.');

	return dot != NULL ? dot + 1 : NULL;
}

/* The only DMARC record of an answer; several count as none (section 4.10). */
static bool
only_record(const struct dns_answer *answer, struct dmarc_record *out)
{
	struct dmarc_record record;
	size_t n = 0;

	for (size_t i = 0; i < answer->n; i++) {
		if (!dmarc_record_parse(answer->records[i].data, answer->records[i].len, &record))
			continue;
		*out = record;
		n++;
	}
	return n == 1;
}

static struct dns_query *
begin(struct dns *dns, const char *name, int64_t deadline_ms)
{
	char question[DNS_NAME_MAX + 8];

	(void)snprintf(question, sizeof(question), "_dmarc.%s", name);
	return dns_begin(dns, question, DNS_TXT, deadline_ms);
}

static void
finish(struct dns *dns, struct dns_query *query, struct dmarc_step *step)
{
	struct dns_answer *answer = NULL;

	step->status = dns_finish(dns, query, &answer);
	if (step->status == DNS_FOUND && !only_record(answer, &step->record))
		step->status = DNS_NO_DATA;
	dns_answer_unref(answer);
}

/* From a name of eight labels or more the walk goes on with the last seven. */
static const char *
next_name(const char *name)
{
	name = parent(name);
	while (name != NULL && count_labels(name) > DMARC_WALK_MAX - 1)
		name = parent(name);
	return name;
}

void
dmarc_walk(struct dns *dns, const char *name, int64_t deadline_ms, struct dmarc_walk *out)
{
	struct dns_query *queries[DMARC_WALK_MAX];

	(void)snprintf(out->start, sizeof(out->start), "%s", name);
	for (char *c = out->start; *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	out->n = 0;
	for (const char *at = out->start; at != NULL && out->n < DMARC_WALK_MAX; at = next_name(at)) {
		out->steps[out->n] = (struct dmarc_step){ .name = at };
		queries[out->n++] = begin(dns, at, deadline_ms);
	}
	for (size_t i = 0; i < out->n; i++)
		finish(dns, queries[i], &out->steps[i]);
}

bool
dmarc_walk_failed(const struct dmarc_walk *walk)
{
	for (size_t i = 0; i < walk->n; i++)
		if (walk->steps[i].status == DNS_TEMPORARY)
			return true;
	return false;
}

/* The name one label below above, on the way from start. */
static const char *
one_below(const char *start, const char *above)
{
	while (parent(start) != NULL && parent(start) != above)
		start = parent(start);
	return start;
}

/* Section 4.10.2. */
static const char *
by_records(const struct dmarc_walk *walk)
{
	const char *found = walk->start;

	for (size_t i = 0; i < walk->n; i++) {
		const struct dmarc_step *step = &walk->steps[i];

		if (step->status != DNS_FOUND)
			continue;
		if (step->record.psd == DMARC_PSD_NO)
			return step->name;
		if (step->record.psd == DMARC_PSD_YES && i > 0)
			return one_below(walk->start, step->name);
		found = step->name;
	}
	return found;
}

const char *
dmarc_walk_organisation(const struct dmarc_walk *walk, const struct suffix_list *suffixes)
{
	const char *found = by_records(walk), *registered;

	if (found == walk->start || !suffix_is_public(suffixes, found))
		return found;
	for (size_t i = 0; i < walk->n; i++)
		if (walk->steps[i].name == found && walk->steps[i].record.psd == DMARC_PSD_NO &&
		    walk->steps[i].status == DNS_FOUND)
			return found;
	registered = suffix_organisation(suffixes, walk->start);
	return registered;
}

bool
dmarc_is_below(const char *name, const char *other)
{
	size_t len = strlen(name), other_len = strlen(other);

	if (len < other_len || strcasecmp(name + len - other_len, other) != 0)
		return false;
	return len == other_len || name[len - other_len - 1] == '.';
}
