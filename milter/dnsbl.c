#include "dnsbl_priv.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "sock.h"

#define TEST_MS (3600 * 1000)   /* between two tests of a list */
#define RETEST_MS (60 * 1000)   /* after a test without an answer */
#define ERROR_MS (600 * 1000)   /* how long a list that made a mistake is set aside */
#define SILENT_MS (60 * 1000)   /* and one that keeps silent */
#define SILENT_MAX 5

struct dnsbl {
	struct dnsbl_list lists[DNSBL_LISTS_MAX];
	size_t n;
	int timeout_ms;
};

struct question {
	struct dnsbl_list *list;
	struct dns_query *query;                    /* NULL: not begun */
	bool aside;                                 /* not asked: it is set aside */
	bool skip;                                  /* not asked: a name of that length can't be listed */
	bool tests;
	struct dns_query *must_list, *must_not_list; /* the test entries, if tests */
};

struct dnsbl_look {
	struct dns *dns;
	size_t n;
	struct question questions[];
};

enum bs_err
dnsbl_new(const char *lists, int timeout_ms, struct dnsbl **out, char *why, size_t why_size)
{
	struct dnsbl *dnsbl = calloc(1, sizeof(*dnsbl));
	enum bs_err err;

	if (dnsbl == NULL)
		return BS_ERR_NOMEM;
	dnsbl->timeout_ms = timeout_ms;
	err = dnsbl_parse(lists, dnsbl->lists, &dnsbl->n, why, why_size);
	if (err == BS_OK)
		*out = dnsbl;
	else
		free(dnsbl);
	return err;
}

void
dnsbl_free(struct dnsbl *dnsbl)
{
	free(dnsbl);
}

/* --- whether a list can be trusted --- */

static bool
is_aside(struct dnsbl_list *list, int64_t now_ms)
{
	return now_ms < atomic_load(&list->aside_until_ms);
}

/* why is a static text. When it is back, it is tested first. */
static void
set_aside(struct dnsbl_list *list, int64_t ms, const char *why)
{
	int64_t now_ms = bs_now_ms();
	bool news = !is_aside(list, now_ms);

	atomic_store(&list->why, why);
	atomic_store(&list->aside_until_ms, now_ms + ms);
	atomic_store(&list->test_due_ms, now_ms + ms);
	atomic_store(&list->silent, 0);
	if (news)
		bs_log(BS_LOG_ERROR, "list %s is not asked for %lld s: %s", list->zone, (long long)ms / 1000, why);
}

static void
note_error(struct dnsbl_list *list, const char *why)
{
	atomic_fetch_add(&list->errors, 1);
	set_aside(list, ERROR_MS, why);
}

static void
note_silence(struct dnsbl_list *list)
{
	atomic_fetch_add(&list->errors, 1);
	if (atomic_fetch_add(&list->silent, 1) + 1 >= SILENT_MAX)
		set_aside(list, SILENT_MS, "it does not answer");
}

/* True for one caller each time that a test is due. */
static bool
takes_test(struct dnsbl_list *list, int64_t now_ms)
{
	long long due = atomic_load(&list->test_due_ms);

	return now_ms >= due && atomic_compare_exchange_strong(&list->test_due_ms, &due, now_ms + TEST_MS);
}

/* --- asking --- */

static struct dns_query *
ask(struct dns *dns, const struct dnsbl_list *list, const char *name, int64_t deadline_ms)
{
	char full[2 * DNS_NAME_MAX + 3];

	(void)snprintf(full, sizeof(full), "%s.%s", name, list->zone);
	return dns_begin(dns, full, DNS_A, deadline_ms);
}

static void
begin(struct dnsbl_look *look, struct question *question, const char *name, int64_t now_ms, int64_t deadline_ms)
{
	struct dnsbl_list *list = question->list;
	bool ip = list->kind == DNSBL_IP;

	question->aside = is_aside(list, now_ms);
	question->skip = strlen(name) + 1 + strlen(list->zone) > DNS_NAME_MAX;
	if (question->aside || question->skip)
		return;
	atomic_fetch_add(&list->asked, 1);
	question->query = ask(look->dns, list, name, deadline_ms);
	question->tests = takes_test(list, now_ms);
	if (!question->tests)
		return;
	/* RFC 5782 section 5. */
	question->must_list = ask(look->dns, list, ip ? "2.0.0.127" : "test", deadline_ms);
	question->must_not_list = ask(look->dns, list, ip ? "1.0.0.127" : "invalid", deadline_ms);
}

static struct dnsbl_look *
begin_all(struct dnsbl *dnsbl, struct dns *dns, enum dnsbl_kind kind, const char *name)
{
	struct dnsbl_look *look;
	int64_t now_ms = bs_now_ms();
	size_t n = 0;

	for (size_t i = 0; i < dnsbl->n; i++)
		n += dnsbl->lists[i].kind == kind ? 1 : 0;
	if (n == 0)
		return NULL;
	look = calloc(1, sizeof(*look) + n * sizeof(look->questions[0]));
	if (look == NULL)
		return NULL;
	look->dns = dns;
	for (size_t i = 0; i < dnsbl->n; i++) {
		if (dnsbl->lists[i].kind != kind)
			continue;
		look->questions[look->n].list = &dnsbl->lists[i];
		begin(look, &look->questions[look->n++], name, now_ms, now_ms + dnsbl->timeout_ms);
	}
	return look;
}

struct dnsbl_look *
dnsbl_begin_client(struct dnsbl *dnsbl, struct dns *dns, const struct network_addr *client)
{
	char name[DNS_REVERSE_MAX];

	if (network_is_private(client))
		return NULL;
	dns_reverse(client->bytes, client->len, name);
	name[strlen(name) - strlen(client->len == 4 ? ".in-addr.arpa" : ".ip6.arpa")] = '\0';
	return begin_all(dnsbl, dns, DNSBL_IP, name);
}

/* Lists of domains do not want to be asked about anything else: addresses in brackets or bare, single words. */
static bool
is_domain(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	const char *last = strrchr(name, '.');

	return dns_name_ok(name) && last != NULL && isalpha((unsigned char)last[1]) && strspn(name, letters) == strlen(name);
}

struct dnsbl_look *
dnsbl_begin_domain(struct dnsbl *dnsbl, struct dns *dns, const char *domain)
{
	return is_domain(domain) ? begin_all(dnsbl, dns, DNSBL_DOMAIN, domain) : NULL;
}

/* --- what came back --- */

static void
append(char out[DNSBL_TEXT_MAX], const char *text)
{
	size_t len = strlen(out);

	if (text[0] != '\0')
		(void)snprintf(out + len, DNSBL_TEXT_MAX - len, "%s%s", len > 0 ? ", " : "", text);
}

void
dnsbl_add(struct dnsbl_score *sum, const struct dnsbl_score *part)
{
	sum->sum += part->sum;
	sum->lowest += part->lowest;
	sum->highest += part->highest;
	sum->credit += part->credit;
	sum->silent_credit += part->silent_credit;
	append(sum->text, part->text);
	append(sum->down, part->down);
}

bool
dnsbl_has_credit(const struct dnsbl_score *score)
{
	return score->credit + score->silent_credit < 0;
}

void
dnsbl_take_credit(struct dnsbl_score *score)
{
	score->sum -= score->credit;
	score->lowest -= score->credit + score->silent_credit;
	score->highest -= score->credit;
	if (score->credit < 0)
		append(score->text, "not counted: a name that nobody proves");
	score->credit = score->silent_credit = 0;
}

void
dnsbl_doubt_credit(struct dnsbl_score *score)
{
	score->sum -= score->credit;
	score->highest -= score->credit;
	append(score->down, "SPF");
	score->credit = score->silent_credit = 0;
}

/* The weightiest of an answer's addresses. */
static enum dnsbl_meaning
weigh_all(const struct dnsbl_list *list, const struct dns_answer *answer, int64_t *weight, const uint8_t **which)
{
	enum dnsbl_meaning meaning = DNSBL_NOT_LISTED;

	*weight = 0;
	for (size_t i = 0; i < answer->n; i++) {
		int64_t one = 0;

		switch (dnsbl_weigh(list, answer->records[i].data, &one)) {
		case DNSBL_ERROR:
			return DNSBL_ERROR;
		case DNSBL_LISTED:
			if (llabs(one) > llabs(*weight)) {
				*weight = one;
				*which = answer->records[i].data;
			}
			meaning = DNSBL_LISTED;
			break;
		case DNSBL_NOT_LISTED:
			break;
		}
	}
	return meaning;
}

static void
add_listing(struct dnsbl_score *score, struct dnsbl_list *list, int64_t weight, const uint8_t which[4])
{
	char addr[INET_ADDRSTRLEN], text[DNS_NAME_MAX + INET_ADDRSTRLEN + 32];

	atomic_fetch_add(&list->listed, 1);
	score->sum += weight;
	score->lowest += weight;
	score->highest += weight;
	score->credit += weight < 0 ? weight : 0;
	(void)inet_ntop(AF_INET, which, addr, sizeof(addr));
	(void)snprintf(text, sizeof(text), "%s %s (%lld)", list->zone, addr, (long long)weight);
	append(score->text, text);
}

static void
add_silence(struct dnsbl_score *score, const struct dnsbl_list *list)
{
	score->lowest += list->lowest;
	score->highest += list->highest;
	score->silent_credit += list->lowest;
	append(score->down, list->zone);
}

static void
take_answer(struct dnsbl_list *list, enum dns_status status, const struct dns_answer *answer, struct dnsbl_score *score)
{
	const uint8_t *which = NULL;
	int64_t weight;

	if (status == DNS_TEMPORARY) {
		note_silence(list);
		add_silence(score, list);
		return;
	}
	atomic_store(&list->silent, 0);
	if (status != DNS_FOUND)
		return;
	switch (weigh_all(list, answer, &weight, &which)) {
	case DNSBL_ERROR:
		note_error(list, "its answer is no listing: it does not serve us, or somebody else answers in its place");
		add_silence(score, list);
		break;
	case DNSBL_LISTED:
		add_listing(score, list, weight, which);
		break;
	case DNSBL_NOT_LISTED:
		break;
	}
}

/* Takes the test entries' answers; false: the list is not to be trusted. */
static bool
passes_test(struct dnsbl_look *look, struct question *question)
{
	struct dns_answer *answer = NULL;
	enum dns_status yes = dns_finish(look->dns, question->must_list, &answer), no;

	if (yes == DNS_FOUND)
		dns_answer_unref(answer);
	no = dns_finish(look->dns, question->must_not_list, &answer);
	if (no == DNS_FOUND)
		dns_answer_unref(answer);
	if (yes == DNS_TEMPORARY || no == DNS_TEMPORARY)
		atomic_store(&question->list->test_due_ms, bs_now_ms() + RETEST_MS);
	if (no == DNS_FOUND)
		note_error(question->list, "it lists everybody");
	else if (yes == DNS_NO_NAME || yes == DNS_NO_DATA)
		note_error(question->list, "it lists nobody, not even the entry that all lists have");
	return no != DNS_FOUND && yes != DNS_NO_NAME && yes != DNS_NO_DATA;
}

static void
finish_one(struct dnsbl_look *look, struct question *question, struct dnsbl_score *score)
{
	struct dns_answer *answer = NULL;
	enum dns_status status;

	if (question->skip)
		return;
	if (question->aside) {
		add_silence(score, question->list);
		return;
	}
	if (question->tests && !passes_test(look, question)) {
		dns_drop(look->dns, question->query);
		add_silence(score, question->list);
		return;
	}
	status = dns_finish(look->dns, question->query, &answer);
	take_answer(question->list, status, answer, score);
	dns_answer_unref(answer);
}

void
dnsbl_finish(struct dnsbl_look *look, struct dnsbl_score *score)
{
	for (size_t i = 0; look != NULL && i < look->n; i++)
		finish_one(look, &look->questions[i], score);
	free(look);
}

void
dnsbl_drop(struct dnsbl_look *look)
{
	for (size_t i = 0; look != NULL && i < look->n; i++) {
		struct question *question = &look->questions[i];

		dns_drop(look->dns, question->query);
		if (!question->tests)
			continue;
		dns_drop(look->dns, question->must_list);
		dns_drop(look->dns, question->must_not_list);
		atomic_store(&question->list->test_due_ms, 0); /* nobody saw the answer */
	}
	free(look);
}

size_t
dnsbl_states(struct dnsbl *dnsbl, struct dnsbl_state out[DNSBL_LISTS_MAX])
{
	int64_t now_ms = bs_now_ms();

	for (size_t i = 0; i < dnsbl->n; i++) {
		struct dnsbl_list *list = &dnsbl->lists[i];

		out[i] = (struct dnsbl_state){ .zone = list->zone, .asked = atomic_load(&list->asked),
			.listed = atomic_load(&list->listed), .errors = atomic_load(&list->errors) };
		if (is_aside(list, now_ms)) {
			out[i].aside_s = (atomic_load(&list->aside_until_ms) - now_ms + 999) / 1000;
			out[i].why = atomic_load(&list->why);
		}
	}
	return dnsbl->n;
}
