#include "policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(id, name, hit_def, down_def, what) \
	{ name, BS_POLICY_HIT, offsetof(struct bs_policy, check[id].hit), hit_def, 0, 0, "what a hit does: " what }, \
	{ name ".down", BS_POLICY_DOWN, offsetof(struct bs_policy, check[id].down), down_def, 0, 0, "and when it can't be asked" }
#define INT(field, name, def, max, help) \
	{ name, BS_POLICY_INT, offsetof(struct bs_policy, field), def, 0, max, help }

const struct bs_policy_item bs_policy_items[] = {
	CHECK(BS_CHECK_RECIPIENT, "recipient", "reject", "defer", "no such mailbox, or a full one"),
	CHECK(BS_CHECK_DNSBL, "dnsbl", "reject", "skip", "the client stands on block lists"),
	{ "dnsbl.score", BS_POLICY_INT, offsetof(struct bs_policy, dnsbl_score), "10", 1, 1000, "a hit from this sum of the lists' weights on" },
	CHECK(BS_CHECK_SPF, "spf", "header", "skip", "the client may not send for the sender's domain"),
	CHECK(BS_CHECK_LIMITS, "limits", "reject", "skip", "too large, or too many in an hour"),
	INT(size_max, "limits.size", "0", INT64_C(1) << 40, "bytes of a message; 0: no limit"),
	INT(rate_account, "limits.account", "0", 1000000, "messages to the account an hour; 0: no limit"),
	INT(rate_sender, "limits.sender", "0", 1000000, "messages from one sender an hour; 0: no limit"),
	INT(rate_client, "limits.client", "0", 1000000, "messages from one client network an hour; 0: no limit"),
	INT(rate_login, "limits.login", "0", 1000000, "recipients that the account's login may send to an hour; 0: no limit"),
	CHECK(BS_CHECK_GREYLIST, "greylist", "off", "skip", "the sender is new: he is asked to come again"),
	INT(greylist_delay_s, "greylist.delay_s", "300", 86400, "seconds until he may"),
	INT(greylist_passes, "greylist.passes", "5", 1000, "a client with so many good deliveries waits no more; 0: never so"),
	CHECK(BS_CHECK_DKIM, "dkim", "header", "skip", "a signature does not fit"),
	CHECK(BS_CHECK_DMARC, "dmarc", "reject", "skip", "not from whom it says, as far as that domain's policy goes"),
	{ "folder", BS_POLICY_TEXT, offsetof(struct bs_policy, folder), "Junk", 1, BS_POLICY_FOLDER_MAX, "where \"folder\" sorts" },
	{ "label", BS_POLICY_TEXT, offsetof(struct bs_policy, label), "[SPAM]", 0, BS_POLICY_LABEL_MAX, "what \"label\" writes" },
	{ "label.in", BS_POLICY_WHERE, offsetof(struct bs_policy, label_subject), "subject", 0, 0, "where: subject or header" },
	{ "plus_folder", BS_POLICY_BOOL, offsetof(struct bs_policy, plus_folder), "no", 0, 0, "user+name goes to folder name: yes or no" },
	{ "unverified", BS_POLICY_UNVERIFIED, offsetof(struct bs_policy, unverified), "folder", 0, 0,
	    "a refusal that would bounce to an unverified sender: folder or drop" },
};
const size_t bs_policy_n_items = sizeof(bs_policy_items) / sizeof(bs_policy_items[0]);

static const char *const check_names[] = { "recipient", "dnsbl", "spf", "limits", "greylist", "dkim", "dmarc" };
static const char *const hit_names[] = { "off", "header", "label", "folder", "drop", "reject", NULL };
static const char *const down_names[] = { "skip", "defer", "hit", NULL };
static const char *const unverified_names[] = { "folder", "drop", NULL };
static const char *const where_names[] = { "header", "subject", NULL }; /* as bool: label_subject */
static const char *const bool_names[] = { "no", "yes", NULL };

const char *
bs_check_name(enum bs_check check)
{
	return check < BS_CHECK_COUNT ? check_names[check] : "?";
}

const char *
bs_hit_name(enum bs_hit hit)
{
	return hit_names[hit];
}

/* The words of a type that has such, by number; NULL: it has none. */
static const char *const *
words_of(enum bs_policy_type type)
{
	switch (type) {
	case BS_POLICY_HIT:
		return hit_names;
	case BS_POLICY_DOWN:
		return down_names;
	case BS_POLICY_UNVERIFIED:
		return unverified_names;
	case BS_POLICY_WHERE:
		return where_names;
	case BS_POLICY_BOOL:
		return bool_names;
	case BS_POLICY_INT:
	case BS_POLICY_TEXT:
		break;
	}
	return NULL;
}

static const struct bs_policy_item *
find_item(const char *name)
{
	for (size_t i = 0; i < bs_policy_n_items; i++)
		if (strcmp(bs_policy_items[i].name, name) == 0)
			return &bs_policy_items[i];
	return NULL;
}

/* The enums and bools of a policy, each read and written as what it is. */
static int
word_get(const struct bs_policy *policy, const struct bs_policy_item *item)
{
	const char *at = (const char *)policy + item->offset;

	switch (item->type) {
	case BS_POLICY_HIT:
		return (int)*(const enum bs_hit *)(const void *)at;
	case BS_POLICY_DOWN:
		return (int)*(const enum bs_down *)(const void *)at;
	case BS_POLICY_UNVERIFIED:
		return (int)*(const enum bs_unverified *)(const void *)at;
	case BS_POLICY_WHERE:
	case BS_POLICY_BOOL:
		return *(const bool *)(const void *)at;
	case BS_POLICY_INT:
	case BS_POLICY_TEXT:
		break;
	}
	return 0;
}

static void
word_set(struct bs_policy *policy, const struct bs_policy_item *item, int word)
{
	char *at = (char *)policy + item->offset;

	switch (item->type) {
	case BS_POLICY_HIT:
		*(enum bs_hit *)(void *)at = (enum bs_hit)word;
		break;
	case BS_POLICY_DOWN:
		*(enum bs_down *)(void *)at = (enum bs_down)word;
		break;
	case BS_POLICY_UNVERIFIED:
		*(enum bs_unverified *)(void *)at = (enum bs_unverified)word;
		break;
	case BS_POLICY_WHERE:
	case BS_POLICY_BOOL:
		*(bool *)(void *)at = word != 0;
		break;
	case BS_POLICY_INT:
	case BS_POLICY_TEXT:
		break;
	}
}

static bool
set_word(struct bs_policy *policy, const struct bs_policy_item *item, const char *const *words, const char *value)
{
	for (int i = 0; words[i] != NULL; i++) {
		if (strcmp(words[i], value) == 0) {
			word_set(policy, item, i);
			return true;
		}
	}
	return false;
}

static bool
set_int(struct bs_policy *policy, const struct bs_policy_item *item, const char *value)
{
	char *end;
	long long number;

	errno = 0;
	number = strtoll(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || number < item->min || number > item->max)
		return false;
	*(int64_t *)(void *)((char *)policy + item->offset) = number;
	return true;
}

/* A folder stands in an address on its way to the mailbox: what is safe there, hierarchy included. */
static bool
is_folder(const char *value)
{
	return value[strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./")] == '\0' &&
	    value[0] != '.' && value[0] != '/' && strstr(value, "..") == NULL && strstr(value, "//") == NULL &&
	    value[strlen(value) - 1] != '/';
}

static bool
set_text(struct bs_policy *policy, const struct bs_policy_item *item, const char *value)
{
	size_t len = strlen(value);

	if (len == 0 || len > (size_t)item->max || (item->min == 1 && !is_folder(value)))
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
			return false;
	memcpy((char *)policy + item->offset, value, len + 1);
	return true;
}

/* "off, header, label, ..." */
static void
list_words(const char *const *words, char *out, size_t size)
{
	size_t n = 0;

	for (; *words != NULL && n < size; words++)
		n += (size_t)snprintf(out + n, size - n, "%s%s", n > 0 ? ", " : "", *words);
}

void
bs_policy_takes(const struct bs_policy_item *item, char *out)
{
	const char *const *words = words_of(item->type);
	char list[80] = "";

	if (words != NULL) {
		list_words(words, list, sizeof(list));
		(void)snprintf(out, BS_POLICY_TAKES_MAX, "one of: %s", list);
	} else if (item->type == BS_POLICY_INT) {
		(void)snprintf(out, BS_POLICY_TAKES_MAX, "a number from %lld to %lld", (long long)item->min, (long long)item->max);
	} else {
		(void)snprintf(out, BS_POLICY_TAKES_MAX, "a text of at most %lld bytes%s", (long long)item->max,
		    item->min == 1 ? ": a folder of letters, digits, - _ . and / between its parts" : " in one line");
	}
}

static void
explain(const struct bs_policy_item *item, char *why, size_t size)
{
	char takes[BS_POLICY_TAKES_MAX];

	if (why == NULL)
		return;
	bs_policy_takes(item, takes);
	(void)snprintf(why, size, "%s takes %s", item->name, takes);
}

enum bs_err
bs_policy_set(struct bs_policy *policy, const char *name, const char *value, char *why, size_t why_size)
{
	const struct bs_policy_item *item = find_item(name);
	const char *const *words;
	bool ok;

	if (item == NULL) {
		if (why != NULL)
			(void)snprintf(why, why_size, "there is no preference \"%.*s\"", BS_POLICY_ITEM_MAX, name);
		return BS_ERR_NOENT;
	}
	words = words_of(item->type);
	if (words != NULL)
		ok = set_word(policy, item, words, value);
	else if (item->type == BS_POLICY_INT)
		ok = set_int(policy, item, value);
	else
		ok = set_text(policy, item, value);
	if (ok)
		return BS_OK;
	explain(item, why, why_size);
	return BS_ERR_ARG;
}

void
bs_policy_get(const struct bs_policy *policy, const struct bs_policy_item *item, char *out)
{
	const char *at = (const char *)policy + item->offset;
	const char *const *words = words_of(item->type);

	if (words != NULL)
		(void)snprintf(out, BS_POLICY_VALUE_MAX + 1, "%s", words[word_get(policy, item)]);
	else if (item->type == BS_POLICY_INT)
		(void)snprintf(out, BS_POLICY_VALUE_MAX + 1, "%lld", (long long)*(const int64_t *)(const void *)at);
	else
		(void)snprintf(out, BS_POLICY_VALUE_MAX + 1, "%s", at);
}

void
bs_policy_defaults(struct bs_policy *out)
{
	*out = (struct bs_policy){ 0 };
	for (size_t i = 0; i < bs_policy_n_items; i++) {
		/* The table's own values are right: test_policy.c sets each. */
		enum bs_err err = bs_policy_set(out, bs_policy_items[i].name, bs_policy_items[i].def, NULL, 0);

		(void)err;
	}
}
