/*
 * args: basaltctl's command line: one table row a subcommand, one parser for all.
 *
 * Words and options may stand in any order after the noun and verb. No option takes a password. Strings are argv's.
 * ctl_args_parse() says itself what is wrong.
 *
 *     { "domain", "add", "DOMAIN", 1, 1, 0, "takes mail for a domain", NULL, domain_add },
 */
#ifndef CTL_ARGS_H
#define CTL_ARGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct ctl;

/* Options that a subcommand permits, and that were given. */
enum {
	CTL_JSON = 1,
	CTL_QUIET = 2,
	CTL_PROGRESS = 4,
	CTL_PASSWORD = 8,
	CTL_OLD_PASSWORD = 16,
	CTL_PLAN = 32,
	CTL_DOMAIN = 64,
	CTL_YES = 128,
	CTL_DIVERT = 256,
	CTL_STATE = 512,
	CTL_FULL_SPEED = 1024,
	CTL_START_IN = 2048,
	CTL_LIFETIME = 4096,
	CTL_FROM = 8192,
	CTL_RCPT = 16384,
	CTL_CLIENT = 32768,
	CTL_HELO = 65536,
	CTL_AT = 131072,
	CTL_LOGIN = 262144,
	CTL_ACCOUNT = 524288,
	CTL_LIMIT = 1048576,
	/* Whose preferences: */
	CTL_OF_SITE = 2097152,
	CTL_OF_PLAN = 4194304,
	CTL_OF_DOMAIN = 8388608,
	CTL_OF_ACCOUNT = 16777216,
	CTL_DAY = 33554432,
	CTL_TO = 67108864,
	CTL_ORG = 134217728,
	CTL_EMAIL = 268435456,
	CTL_STDOUT = 536870912,
	CTL_LABEL = 1073741824,
	CTL_COMPROMISED = 2147483648,
	CTL_ALL = 4294967296,
	CTL_ACCEPT_LOSS = 8589934592,
	CTL_DESPITE_HOME = 17179869184,
	CTL_OF_ANY = CTL_OF_SITE | CTL_OF_PLAN | CTL_OF_DOMAIN | CTL_OF_ACCOUNT,
};

#define CTL_REPEAT_MAX 20 /* how often --rcpt may stand */

struct ctl_args {
	uint64_t given;
	const char *values[64]; /* by number of the option's bit: what ctl_arg() gives */
	const char *rcpt[CTL_REPEAT_MAX];
	int n_rcpt;
	char **words;
	int n;
};

struct ctl_verb {
	const char *noun;
	const char *verb;  /* NULL: the noun stands alone */
	const char *words; /* for the help */
	int min, max;      /* words; max < 0: any number */
	uint64_t options;
	const char *summary; /* half a line */
	const char *text;    /* more for --help, or NULL */
	int (*run)(struct ctl *ctl);
};

extern const struct ctl_verb ctl_verbs[];
extern const size_t ctl_verbs_count;

/* argv holds what follows noun and verb; words are moved to its front. False: *status is the exit status. */
bool ctl_args_parse(const struct ctl_verb *verb, int argc, char **argv, struct ctl_args *out, int *status);
/* A whole number of seconds. */
bool ctl_args_seconds(const char *text, uint32_t *out);
/* What was given with an option that takes a value; NULL: it was not. */
const char *ctl_arg(const struct ctl_args *args, uint64_t option);
void ctl_help(FILE *fp);
void ctl_help_noun(FILE *fp, const char *noun);
void ctl_help_verb(FILE *fp, const struct ctl_verb *verb);

#endif
