/*
 * policy: what one account wants of each check: the typed table of preferences, and their effective values.
 *
 * A preference is an item of the table ("dnsbl", "greylist.delay_s", "folder") with a value as text. It is set for the
 * site, a plan, a domain or an account; of an item that is set for several, the narrowest counts, and one that is set
 * for none has the table's own value. struct bs_policy holds the values of one recipient. Pure functions, any thread.
 *
 *     bs_policy_defaults(&policy);
 *     err = bs_policy_set(&policy, "spf", "folder", why, sizeof(why));
 *     if (policy.check[BS_CHECK_SPF].hit == BS_HIT_FOLDER) ... policy.folder ...
 */
#ifndef BS_POLICY_H
#define BS_POLICY_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define BS_POLICY_ITEM_MAX 32   /* bytes of an item's name */
#define BS_POLICY_VALUE_MAX 128 /* bytes of a value as text */
#define BS_POLICY_FOLDER_MAX 128
#define BS_POLICY_LABEL_MAX 64
#define BS_POLICY_TAKES_MAX 160

/* In the order in which findings are looked at. The numbers are this program's, no format holds them. */
enum bs_check {
	BS_CHECK_RECIPIENT,
	BS_CHECK_DNSBL,
	BS_CHECK_SPF,
	BS_CHECK_LIMITS,
	BS_CHECK_GREYLIST,
	BS_CHECK_DKIM,
	BS_CHECK_DMARC,
	BS_CHECK_COUNT
};

/* What a hit does to the recipient. OFF: the check is not asked for him; NOTE: header and log line only. */
enum bs_hit { BS_HIT_OFF, BS_HIT_NOTE, BS_HIT_LABEL, BS_HIT_FOLDER, BS_HIT_DROP, BS_HIT_REJECT };

/* What a check whose source does not answer does: let pass, defer, or count as a hit. */
enum bs_down { BS_DOWN_SKIP, BS_DOWN_DEFER, BS_DOWN_HIT };

/* A refusal that would become a bounce to an address that nobody has verified does this instead. */
enum bs_unverified { BS_UNVERIFIED_FOLDER, BS_UNVERIFIED_DROP };

struct bs_policy {
	struct {
		enum bs_hit hit;
		enum bs_down down;
	} check[BS_CHECK_COUNT];
	char folder[BS_POLICY_FOLDER_MAX + 1]; /* where BS_HIT_FOLDER sorts */
	char label[BS_POLICY_LABEL_MAX + 1];   /* what BS_HIT_LABEL writes */
	bool label_subject;                    /* into the subject; else a header of its own */
	bool plus_folder;                      /* user+name goes to folder name */
	enum bs_unverified unverified;
	int64_t dnsbl_score;       /* hit from this sum of weights on */
	int64_t greylist_delay_s;  /* how long an unknown sender waits */
	int64_t greylist_passes;   /* a client with so many good deliveries waits no more; 0: never so */
	int64_t size_max;          /* bytes of a message; 0: no limit */
	int64_t rate_account;      /* messages to the account an hour; 0: no limit; so do the next */
	int64_t rate_sender;       /* from one envelope sender to the account an hour */
	int64_t rate_client;       /* from one client network to the account an hour */
	int64_t rate_login;        /* recipients that a login of the account may send to an hour */
};

enum bs_policy_type { BS_POLICY_HIT, BS_POLICY_DOWN, BS_POLICY_UNVERIFIED, BS_POLICY_WHERE, BS_POLICY_BOOL, BS_POLICY_INT, BS_POLICY_TEXT };

struct bs_policy_item {
	const char *name;
	enum bs_policy_type type;
	size_t offset; /* into struct bs_policy */
	const char *def;
	int64_t min, max; /* BS_POLICY_INT; of BS_POLICY_TEXT max is the longest, and min 1 asks for a folder's characters */
	const char *help;
};

extern const struct bs_policy_item bs_policy_items[];
extern const size_t bs_policy_n_items;

void bs_policy_defaults(struct bs_policy *out);
/* Sets one item. BS_ERR_NOENT: no such item; BS_ERR_ARG: no such value; both leave policy as it is, and why (may be NULL)
 * says what would be right. */
enum bs_err bs_policy_set(struct bs_policy *policy, const char *item, const char *value, char *why, size_t why_size) BS_MUST_USE;
/* "one of: off, header, ...", "a number from 0 to 1000": out holds BS_POLICY_TAKES_MAX. */
void bs_policy_takes(const struct bs_policy_item *item, char *out);
/* The value of an item as text: what bs_policy_set() takes. out holds BS_POLICY_VALUE_MAX + 1. */
void bs_policy_get(const struct bs_policy *policy, const struct bs_policy_item *item, char *out);

/* "dnsbl": the check's name, which is also the name of its item. */
const char *bs_check_name(enum bs_check check);
const char *bs_hit_name(enum bs_hit hit);

#endif
