/*
 * ctl: what every subcommand of basaltctl gets: its arguments, and the store and keyd when it asks for them.
 *
 * A subcommand is a function that returns the exit status; it says what failed and what to do by ctl_fail(), once.
 * The configuration is read, and store and keyd are opened, only when a subcommand needs them. One thread.
 *
 *     static int
 *     run(struct ctl *ctl)
 *     {
 *         int rc = ctl_open_store(ctl);
 *         ...
 *         return err == BS_OK ? CTL_OK : ctl_fail(err, "domain %s: %s", domain, bs_store_policy_errmsg(ctl->store));
 *     }
 */
#ifndef CTL_H
#define CTL_H

#include <jansson.h>

#include "args.h"
#include "keyclient.h"
#include "store_policy.h"

enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1,
	CTL_USAGE = 2,
	CTL_DENIED = 10, /* of `passwd` alone: the old password is wrong */
	CTL_WEAK = 11,   /* the new one is too weak */
	CTL_OTHER_KEYS = 12, /* the mail home holds keys of the account that keyd's database has not: `key restore` first */
	CTL_TEMPFAIL = 75, /* EX_TEMPFAIL: the same command may succeed later */
	CTL_CONFIG = 78,   /* EX_CONFIG */
};

struct ctl_settings {
	char *database;
	char *database_password_file;
	int64_t database_timeout_ms;
	char *keyd;
	char *milter_control, *lmtp_control;
	char *trace_key_file;
	int64_t timeout_ms;
	char *notify;
	char *doveadm;
	char *mail_home;
	char *site_key;
	int64_t drop_after_s;
	bool convert_accept_loss;
};

struct ctl {
	const char *conf_path;
	struct ctl_args args;
	struct ctl_settings settings;
	bool settings_loaded;
	struct bs_store_policy *store; /* NULL until ctl_open_store() */
	struct bs_keyclient *keyd;     /* NULL until ctl_open_keyd() */
};

/* These three say themselves what is wrong, and return an exit status. */
int ctl_load_settings(struct ctl *ctl);
int ctl_open_store(struct ctl *ctl); /* makes and upgrades the schema */
int ctl_open_keyd(struct ctl *ctl);  /* its control socket */
/* Another connection in place of the one that ctl_open_keyd() made, without a word. */
enum bs_err ctl_reopen_keyd(struct ctl *ctl) BS_MUST_USE;
void ctl_close(struct ctl *ctl);
/* The commented defaults of basaltctl.conf. */
void ctl_print_defaults(FILE *fp);

/* Prints "basaltctl: TEXT" to stderr; the exit status that err stands for. */
int ctl_fail(enum bs_err err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int ctl_exit_status(enum bs_err err);
/* A store's error in words: the engine's own where it has some. */
const char *ctl_store_text(const struct ctl *ctl, enum bs_err err);
/* The same for an error of keyd or its socket. */
const char *ctl_keyd_text(enum bs_err err);

/*
 * A list: _begin_ opens the store; *list_r is the array to fill where --json is given, else NULL, and lines are printed.
 * _end_ prints the array, or says that listing WHAT failed; it frees the array either way.
 */
int ctl_begin_list(struct ctl *ctl, json_t **list_r);
int ctl_end_list(const struct ctl *ctl, json_t *take, enum bs_err err, const char *what);

/* Prints and frees; CTL_OK, or CTL_FAILED with a message when memory or the output ran out. */
int ctl_print_json(json_t *take);
/* Writes all of it, whatever interrupts. */
bool ctl_write_all(int fd, const char *text, size_t len);
/* A path as JSON: bytes that are not UTF-8 become \xNN. */
json_t *ctl_json_path(const char *path);
/* The group that a key's file is to be of; (gid_t)-1: there is none here, which was said. */
gid_t ctl_key_group(const char *group, const char *path);
/* A path for people: control characters become \xNN. */
void ctl_print_path(FILE *fp, const char *path);
/* hex holds 2 * len + 1. */
void ctl_hex(const uint8_t *data, size_t len, char *hex);
/* "2026-11-23 18:30:00" UTC; out holds 32. */
void ctl_time(uint64_t seconds, char *out);

/* word 0 of the arguments as an account's address; CTL_OK, or says what is wrong. */
int ctl_address_arg(const char *word, char out[BS_ADDRESS_MAX + 1]);
/* The same for a domain. */
int ctl_domain_arg(const char *word, char out[BS_DOMAIN_MAX + 1]);
/* The plan of this name; CTL_OK, or says what is wrong. */
int ctl_plan_arg(struct ctl *ctl, const char *name, struct bs_plan *out);
/* A bs_preference_fn: adds ITEM: VALUE to the JSON object ctx. */
enum bs_err ctl_append_preference(void *ctx, const struct bs_preference *preference);
/* Whether the alias has a target. */
enum bs_err ctl_alias_exists(struct ctl *ctl, const char *alias, bool *out);

#endif
