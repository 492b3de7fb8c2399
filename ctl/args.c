#include "args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

static const struct option {
	const char *name;
	uint64_t bit;
	const char *value; /* what it takes, or NULL */
	const char *help;
} options[] = {
	{ "--json", CTL_JSON, NULL, "prints JSON" },
	{ "--quiet", CTL_QUIET, NULL, "prints only what is wrong" },
	{ "--progress", CTL_PROGRESS, NULL, "shows progress on standard error even when that is no terminal" },
	{ "--old-password-stdin", CTL_OLD_PASSWORD, NULL, "reads the old password from standard input: its first line" },
	{ "--password-stdin", CTL_PASSWORD, NULL, "reads the password from standard input: its next line" },
	{ "--plan", CTL_PLAN, "NAME", "the account's plan (basaltctl plan list)" },
	{ "--domain", CTL_DOMAIN, "DOMAIN", "only this domain" },
	{ "--yes", CTL_YES, NULL, "does not ask back" },
	{ "--state", CTL_STATE, "FILE", "keeps its place in FILE; the same command goes on from there" },
	{ "--full-speed", CTL_FULL_SPEED, NULL, "at the priority of other programs, not behind them" },
	{ "--start-in", CTL_START_IN, "SECONDS", "when the new key begins to seal: 600 if not given" },
	{ "--lifetime", CTL_LIFETIME, "SECONDS", "how long mail may wait in a queue: 518400 (six days) if not given" },
	{ "--from", CTL_FROM, "ADDRESS", "the envelope sender; none or <>: the null sender" },
	{ "--rcpt", CTL_RCPT, "ADDRESS", "a recipient; may be given up to 20 times" },
	{ "--client", CTL_CLIENT, "IP", "the address of the client that sends; none: as from a trusted network" },
	{ "--helo", CTL_HELO, "NAME", "what it says in HELO" },
	{ "--login", CTL_LOGIN, "NAME", "sent by one of our users, logged in as NAME" },
	{ "--at", CTL_AT, "UNIXTIME", "as if it came at that time" },
	{ "--account", CTL_ACCOUNT, "ADDRESS", "only this account" },
	{ "--limit", CTL_LIMIT, "N", "at most N lines" },
	{ "--day", CTL_DAY, "YYYY-MM-DD", "this day (UTC)" },
	{ "--to", CTL_TO, "DIR", "into files of this folder, compressed" },
	{ "--org", CTL_ORG, "DOMAIN", "who reports: our domain" },
	{ "--email", CTL_EMAIL, "ADDRESS", "whom to ask about the report" },
	{ "--site", CTL_OF_SITE, NULL, "for everybody" },
	{ "--plan", CTL_OF_PLAN, "NAME", "for the accounts of this plan" },
	{ "--domain", CTL_OF_DOMAIN, "DOMAIN", "for the accounts of this domain" },
	{ "--account", CTL_OF_ACCOUNT, "ADDRESS", "for this account" },
	{ "--stdout", CTL_STDOUT, NULL, "prints the new secret even where standard output is no terminal" },
	{ "--label", CTL_LABEL, "TEXT", "what its owner calls it: at most 64 bytes" },
	{ "--compromised", CTL_COMPROMISED, NULL, "somebody else may know it: new keys as well, all sessions end" },
	{ "--all", CTL_ALL, NULL, "all accounts" },
	{ "--accept-loss", CTL_ACCEPT_LOSS, NULL, "even of an account whose mail is lost with its password" },
	{ "--despite-home", CTL_DESPITE_HOME, NULL, "though the mail home holds keys that the database has not (`key restore` joins them later)" },
	{ "--divert", CTL_DIVERT, NULL, "takes an account's mail away from its mailbox" },
};
#define N_OPTIONS (sizeof(options) / sizeof(options[0]))

static const struct option *
find_option(const struct ctl_verb *verb, const char *arg, size_t len)
{
	for (size_t i = 0; i < N_OPTIONS; i++)
		if ((options[i].bit & verb->options) != 0 && strlen(options[i].name) == len &&
		    strncmp(options[i].name, arg, len) == 0)
			return &options[i];
	return NULL;
}

/* How the command is called, without "basaltctl". */
static void
print_name(FILE *fp, const struct ctl_verb *verb)
{
	fprintf(fp, "%s%s%s", verb->noun, verb->verb == NULL ? "" : " ", verb->verb == NULL ? "" : verb->verb);
}

static bool
usage(const struct ctl_verb *verb, int *status, const char *what, const char *word)
{
	fprintf(stderr, "basaltctl: ");
	print_name(stderr, verb);
	fprintf(stderr, ": %s%s%s; see `basaltctl ", what, word == NULL ? "" : " ", word == NULL ? "" : word);
	print_name(stderr, verb);
	fprintf(stderr, " --help`\n");
	*status = CTL_USAGE;
	return false;
}

bool
ctl_args_seconds(const char *text, uint32_t *out)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value > UINT32_MAX)
		return false;
	*out = (uint32_t)value;
	return true;
}

static const char **
place_of(struct ctl_args *args, uint64_t option)
{
	return &args->values[__builtin_ctzll(option)];
}

const char *
ctl_arg(const struct ctl_args *args, uint64_t option)
{
	return args->values[__builtin_ctzll(option)];
}

/* False: too often. */
static bool
take_value(struct ctl_args *args, const struct option *option, const char *value)
{
	args->given |= option->bit;
	*place_of(args, option->bit) = value;
	if (option->bit != CTL_RCPT)
		return true;
	if (args->n_rcpt == CTL_REPEAT_MAX)
		return false;
	args->rcpt[args->n_rcpt++] = value;
	return true;
}

bool
ctl_args_parse(const struct ctl_verb *verb, int argc, char **argv, struct ctl_args *out, int *status)
{
	struct ctl_args args = { .words = argv };
	bool only_words = false;

	for (int i = 0; i < argc; i++) {
		const char *equals = strchr(argv[i], '=');
		size_t len = equals == NULL ? strlen(argv[i]) : (size_t)(equals - argv[i]);
		const struct option *option;
		const char *value = NULL;

		if (only_words || argv[i][0] != '-' || argv[i][1] == '\0') {
			argv[args.n++] = argv[i];
			continue;
		}
		if (strcmp(argv[i], "--") == 0) {
			only_words = true;
			continue;
		}
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			ctl_help_verb(stdout, verb);
			*status = CTL_OK;
			return false;
		}
		option = find_option(verb, argv[i], len);
		if (option == NULL || (option->value == NULL && equals != NULL))
			return usage(verb, status, "unknown option", argv[i]);
		if (option->value != NULL) {
			value = equals != NULL ? equals + 1 : i + 1 < argc ? argv[++i] : NULL;
			if (value == NULL)
				return usage(verb, status, "a value must follow", option->name);
		}
		if (!take_value(&args, option, value))
			return usage(verb, status, "too often:", option->name);
	}
	if (args.n < verb->min)
		return usage(verb, status, "it needs", verb->words);
	if (verb->max >= 0 && args.n > verb->max)
		return usage(verb, status, "too many words:", argv[verb->max]);
	*out = args;
	return true;
}

static void
print_synopsis(FILE *fp, const struct ctl_verb *verb)
{
	fprintf(fp, "basaltctl ");
	print_name(fp, verb);
	if (verb->words[0] != '\0')
		fprintf(fp, " %s", verb->words);
}

void
ctl_help_verb(FILE *fp, const struct ctl_verb *verb)
{
	fprintf(fp, "usage: ");
	print_synopsis(fp, verb);
	fprintf(fp, "%s\n\n%s.\n", verb->options != 0 ? " [OPTION]..." : "", verb->summary);
	if (verb->text != NULL)
		fprintf(fp, "%s\n", verb->text);
	for (size_t i = 0; i < N_OPTIONS; i++) {
		char name[64];

		if ((options[i].bit & verb->options) == 0)
			continue;
		snprintf(name, sizeof(name), "%s%s%s", options[i].name, options[i].value != NULL ? " " : "",
		    options[i].value != NULL ? options[i].value : "");
		fprintf(fp, "  %-22s %s\n", name, options[i].help);
	}
}

static void
print_row(FILE *fp, const struct ctl_verb *verb)
{
	char row[128];

	snprintf(row, sizeof(row), "%s%s%s%s%s", verb->noun, verb->verb == NULL ? "" : " ",
	    verb->verb == NULL ? "" : verb->verb, verb->words[0] == '\0' ? "" : " ", verb->words);
	fprintf(fp, "  %-32s %s\n", row, verb->summary);
}

void
ctl_help_noun(FILE *fp, const char *noun)
{
	fprintf(fp, "usage:\n");
	for (size_t i = 0; i < ctl_verbs_count; i++)
		if (strcmp(ctl_verbs[i].noun, noun) == 0)
			print_row(fp, &ctl_verbs[i]);
	fprintf(fp, "\n`basaltctl %s VERB --help` says more about one.\n", noun);
}

void
ctl_help(FILE *fp)
{
	fprintf(fp, "usage: basaltctl [-c FILE] NOUN [VERB] [ARGUMENT]...\n"
	            "       basaltctl [-c FILE] --check-config | --defaults | --help | --version\n\n");
	for (size_t i = 0; i < ctl_verbs_count; i++)
		print_row(fp, &ctl_verbs[i]);
	fprintf(fp, "\nEach takes --help. -c FILE: the configuration (/etc/basalt/basaltctl.conf).\n"
	            "Exit status: 0 done, 1 failed, 2 wrong usage, 12 `key restore` first, 75 try again later, 78 wrong configuration.\n");
}
