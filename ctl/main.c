/* basaltctl: the table of subcommands. Each noun has a file of its own. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "verbs.h"

#ifndef BS_VERSION
#define BS_VERSION "0.1"
#endif
#define DEFAULT_CONF "/etc/basalt/basaltctl.conf"

const struct ctl_verb ctl_verbs[] = {
	{ "domain", "add", "DOMAIN", 1, 1, 0, "takes mail for a domain", NULL, domain_add },
	{ "domain", "list", "", 0, 0, CTL_JSON, "lists the domains", NULL, domain_list },
	{ "domain", "show", "DOMAIN", 1, 1, CTL_JSON, "how many accounts, where stray mail goes, its preferences", NULL, domain_show },
	{ "domain", "remove", "DOMAIN", 1, 1, 0, "takes no more mail for it", "Its accounts and aliases go first.\n",
	    domain_remove },
	{ "account", "add", "ADDRESS", 1, 1, CTL_PLAN | CTL_PASSWORD | CTL_JSON, "makes an account and its keys",
	    "The plan is `private` unless --plan says otherwise. The password comes from standard input or the terminal,\n"
	    "never from the command line. After a crash or an error 75 the same command with the same password finishes\n"
	    "what was begun.\n",
	    account_add },
	{ "account", "expect", "ADDRESS", 1, 1, CTL_PLAN, "an account whose keys are there already, or made by its first login",
	    "Mail is taken for it from now on. For sites whose own passdb judges passwords: docs/INSTALL.md, \"Adding Basalt to a running\n"
	    "system\". Whether it is sealed is what keyd.enrol_at_login says, not the plan, until `account plan` is used.\n",
	    account_expect },
	{ "account", "list", "", 0, 0, CTL_DOMAIN | CTL_JSON, "lists the accounts", NULL, account_list },
	{ "account", "show", "ADDRESS", 1, 1, CTL_JSON, "an account, and what keyd's public record says of it", NULL,
	    account_show },
	{ "account", "passwd", "ADDRESS", 1, 1, CTL_OLD_PASSWORD | CTL_DESPITE_HOME | CTL_PASSWORD | CTL_COMPROMISED,
	    "changes the password; no mail is rewritten",
	    "With both password options standard input holds two lines: the old password, then the new one. A recovery code or an\n"
	    "escrow key does for the old password.\n",
	    account_passwd },
	{ "account", "plan", "ADDRESS PLAN", 2, 2, CTL_DESPITE_HOME | CTL_PASSWORD, "gives the account another plan",
	    "Where that changes whether or how mail is sealed, keyd wants the account's password. Mail that is stored\n"
	    "already stays as it is: `basaltctl convert` seals it.\n",
	    account_plan },
	{ "account", "disable", "ADDRESS", 1, 1, 0, "takes no mail for it, and from it none",
	    "New mail is refused (550 5.2.1), and the address can't be a sender at submission, once the milter's memory of it\n"
	    "has passed (milter.cache_s, 30 s). Its mail, keys and password stay, and it can still log in and read.\n",
	    account_disable },
	{ "account", "enable", "ADDRESS", 1, 1, 0, "ends that", NULL, account_enable },
	{ "account", "remove", "ADDRESS", 1, 1, CTL_YES, "removes an account and its keys for ever",
	    "Its sealed mail can't be read by anybody afterwards. The mail files themselves stay.\n", account_remove },
	{ "alias", "add", "ALIAS TARGET", 2, 2, CTL_DIVERT, "mail for ALIAS goes to TARGET",
	    "An alias may have several targets, anywhere. `@example.org` as ALIAS takes the mail for every address of the domain\n"
	    "that is no account and no alias; nobody may send as such an address. Where ALIAS is an account, too, its mail goes to the targets\n"
	    "instead of its mailbox, which is refused without --divert; the account itself as one more target keeps a copy\n"
	    "(`alias add A A`, then `alias add A TARGET`). A chain of aliases that leads back to ALIAS is refused.\n",
	    alias_add },
	{ "alias", "list", "[ALIAS]", 0, 1, CTL_JSON, "lists the aliases", NULL, alias_list },
	{ "alias", "remove", "ALIAS TARGET", 2, 2, 0, "ends that", NULL, alias_remove },
	{ "plan", "list", "", 0, 0, CTL_JSON, "lists the plans", NULL, plan_list },
	{ "plan", "set", "NAME KEY=VALUE...", 2, -1, 0, "adds or changes a plan",
	    "Keys: sealed=yes|no (encrypt stored mail), compress=yes|no, linger_s=SECONDS|default (how long keys stay unlocked\n"
	    "after the last session; default: keyd's session.linger_s. keyd reads it where keyd.policy names this database, within a\n"
	    "minute, and takes no more than session.linger_max_s). A new plan begins with sealed=yes compress=yes linger_s=default.\n"
	    "What exists keeps the sealing it was made with: see `basaltctl account plan --help`.\n",
	    plan_set },
	{ "plan", "remove", "NAME", 1, 1, 0, "removes a plan and its preferences", "Its accounts get another plan first.\n", plan_remove },
	{ "pref", "items", "", 0, 0, CTL_JSON, "what there is to prefer, and what it takes", NULL, pref_items },
	{ "pref", "set", "ITEM VALUE", 2, 2, CTL_OF_ANY, "what is wanted of the checks",
	    "Set for the site, a plan, a domain or an account: the narrowest counts. The milter sees it once its memory has\n"
	    "passed (milter.cache_s, 30 s).\n",
	    pref_set },
	{ "pref", "unset", "ITEM", 1, 1, CTL_OF_ANY, "ends that", NULL, pref_unset },
	{ "pref", "list", "", 0, 0, CTL_OF_ANY | CTL_JSON, "what is set, everywhere or for one",
	    "Marks what this version does not understand; it counts as not set.\n", pref_list },
	{ "pref", "show", "", 0, 0, CTL_OF_ANY | CTL_JSON, "what counts, and from where each value comes", NULL, pref_show },
	{ "trace-key", "new", "FILE", 1, 1, 0, "makes the key of what limits and greylist remember",
	    "The same file goes to all nodes (milter.trace_key_file). Another key later forgets all that was remembered.\n", trace_key_new },
	{ "dmarc", "list", "", 0, 0, CTL_DOMAIN | CTL_DAY | CTL_JSON, "what DMARC made of the mail, by day and domain", NULL, dmarc_list },
	{ "dmarc", "report", "", 0, 0, CTL_DOMAIN | CTL_DAY | CTL_TO | CTL_ORG | CTL_EMAIL, "aggregate reports for the domains that sent mail",
	    "Of yesterday, unless --day says otherwise; --org and --email are wanted. Prints XML (RFC 7489 appendix C), or with --to writes a file\n"
	    "for each report and prints its name and who wants it. Nothing is sent.\n",
	    dmarc_report },
	{ "message", "inspect", "FILE", 1, 1, CTL_JSON, "what a sealed mail file says without a key",
	    "FILE is a Maildir file, an sdbox u.N or an mdbox m.N. Exit status 1: not in our format, or damaged.\n", message_inspect },
	{ "scrub", NULL, "PATH...", 1, -1, CTL_JSON | CTL_QUIET | CTL_PROGRESS | CTL_STATE | CTL_FULL_SPEED,
	    "looks for damaged mail files without a key",
	    "Checks the digest of every sealed message in files and folders. It finds rot, not tampering. Symbolic links\n"
	    "are not followed. Exit status 1: something is damaged or can't be read; 75: ended by a signal.\n",
	    scrub_run },
	{ "key", "show", "ADDRESS", 1, 1, CTL_JSON, "what opens an account, and who else may", NULL, key_show },
	{ "key", "add-app-password", "ADDRESS", 1, 1, CTL_LABEL | CTL_STDOUT | CTL_DESPITE_HOME | CTL_PASSWORD, "a password for one device or program",
	    "Made here, shown once. It opens mail and changes nothing. Take it back by `key remove`.\n", key_add_app_password },
	{ "key", "add-recovery", "ADDRESS", 1, 1, CTL_LABEL | CTL_STDOUT | CTL_DESPITE_HOME | CTL_PASSWORD, "a code for the day the password is forgotten",
	    "Made here, shown once: write it down. `account passwd` takes it for the old password.\n", key_add_recovery },
	{ "key", "add-member", "ADDRESS MEMBER", 2, 2, CTL_DESPITE_HOME | CTL_PASSWORD, "lets another account open this shared mailbox", NULL,
	    key_add_member },
	{ "key", "add-escrow", "ADDRESS", 1, 1, CTL_DESPITE_HOME | CTL_PASSWORD, "lets the domain's escrow key open this account", NULL, key_add_escrow },
	{ "key", "remove", "ADDRESS SLOT", 2, 2, CTL_DESPITE_HOME | CTL_PASSWORD, "ends that: what is removed opens nothing any more",
	    "SLOT is what `key show` calls it. New keys are made, and all sessions of the account end.\n", key_remove },
	{ "key", "rotate", "ADDRESS", 1, 1, CTL_COMPROMISED | CTL_DESPITE_HOME | CTL_PASSWORD, "new mail is sealed to a new key; old mail still opens", NULL,
	    key_rotate },
	{ "key", "reset", "ADDRESS", 1, 1, CTL_YES | CTL_DESPITE_HOME | CTL_PASSWORD, "a new password without any old one: older mail is shut",
	    "Until `key heal`. With a recovery code or an escrow key use `account passwd`, which shuts nothing.\n", key_reset },
	{ "key", "heal", "ADDRESS", 1, 1, CTL_OLD_PASSWORD | CTL_DESPITE_HOME | CTL_PASSWORD, "opens what a reset shut",
	    "With both options standard input holds two lines: a password or recovery code of before, then today's password.\n", key_heal },
	{ "key", "restore", "ADDRESS [FILE]", 1, 2, CTL_PASSWORD | CTL_YES, "keys from the copy in the mail home, where the database has older ones",
	    "Where the database has other keys of this name, made while these were lost, --yes removes those for ever; where it lost newer ones\n"
	    "than the copy has, --yes goes on without what was changed since.\n", key_restore },
	{ "key", "reseal", "ADDRESS [FOLDER]...", 1, -1, CTL_PASSWORD | CTL_JSON | CTL_QUIET | CTL_PROGRESS | CTL_FULL_SPEED,
	    "moves old mail to the active key",
	    "Needs the password or a recovery code, and goes through the mail home, or the FOLDERs. May be ended and started again at any time.\n",
	    key_reseal },
	{ "key", "drop", "ADDRESS [FOLDER]...", 1, -1, CTL_PASSWORD | CTL_YES | CTL_JSON | CTL_QUIET | CTL_PROGRESS,
	    "old keys that no mail needs any more go for ever",
	    "Looks at every mail in the mail home, and in the FOLDERs where more of it lies, while nobody is logged in. A key that some mail is\n"
	    "sealed to stays, and `key reseal` moves that. Mail in backups from before can't be opened any more. Exit status 1: refused, or\n"
	    "some old keys stay; 75: refused for now.\n",
	    key_drop },
	{ "key", "notify", "", 0, 0, CTL_QUIET, "tells by mail whose keys a first login made",
	    "Of accounts that were made by `account expect`, each once. Every hour by a timer or cron. Exit status 1: a mail failed, the next run\n"
	    "tries it again.\n",
	    key_notify },
	{ "convert", "status", "[ADDRESS]", 0, 1, CTL_ALL | CTL_JSON, "how much of the mail of accounts is sealed",
	    "Of one, or with --all of every account. Looks at the beginning of each mail.\n", convert_status },
	{ "convert", "undo", "ADDRESS [FOLDER]...", 1, -1, CTL_PASSWORD | CTL_JSON | CTL_QUIET | CTL_PROGRESS | CTL_FULL_SPEED,
	    "puts the text of sealed mail back in its place",
	    "Needs the password or a recovery code, and a plan that does not seal (`account plan`), or new mail would be sealed again.\n"
	    "May be ended and started again at any time.\n",
	    convert_undo },
	{ "convert", NULL, "[ADDRESS [FOLDER]...]", 0, -1, CTL_ALL | CTL_ACCEPT_LOSS | CTL_JSON | CTL_QUIET | CTL_PROGRESS | CTL_FULL_SPEED,
	    "seals mail that came before the account was sealed",
	    "Goes through the mail home, or the FOLDERs; with --all through every sealed account's. Accounts without recovery code\n"
	    "and escrow key are refused without --accept-loss. An mdbox is carried over by Dovecot's doveadm, and shut for some seconds.\n"
	    "May be ended and started again at any time.\n",
	    convert_run },
	{ "session", "list", "[ADDRESS]", 0, 1, CTL_JSON, "whose keys are open now", "Since when, by which services, last used when.\n", session_list },
	{ "session", "end", "ADDRESS", 1, 1, 0, "ends all sessions of an account and shuts its keys",
	    "Mail programs are told to log in again when they next want a mail. Who has the password can log in at once: change that first, or\n"
	    "deny the user in Dovecot.\n",
	    session_end },
	{ "escrow-key", "new", "FILE", 1, 1, 0, "makes an organisation's escrow key, to be kept offline", NULL, escrow_key_new },
	{ "passwd", NULL, "ADDRESS [pending | undo]", 1, 2, 0, "for panels: changes a password, two lines on standard input",
	    "The old password, then the new one; for undo the old one alone. Also called basalt-passwd. pending: both are right until the\n"
	    "new one has logged in. Exit status 0 changed, 10 the old password is wrong, 11 the new one is too weak, 12 `key restore` first, 75 try again later.\n",
	    panel_passwd },
	{ "doctor", NULL, "", 0, 0, CTL_JSON, "accounts whose keys need somebody",
	    "Exit status 1: there are some; 0, too, where all that was found is advice (no-recovery, no-notices).\n", doctor_run },
	{ "probe", NULL, "ADDRESS", 1, 1, CTL_JSON, "sends a mail and looks whether it lies sealed on the disk",
	    "By the program of ctl.notify, to a sealed account that is there for this; waits for a minute. Once a day says whether Dovecot\n"
	    "still loads the plugin for deliveries. Exit status 1: it lies in clear, or did not arrive.\n",
	    probe_run },
	{ "verdict-key", "new", "FILE", 1, 1, 0, "makes the file of keys for verdict headers",
	    "basalt-milter seals each recipient's verdict, basalt-lmtp opens it. All nodes need the same file. It is readable by\n"
	    "the group basalt-verdict, where there is one. A file that exists is kept.\n",
	    verdict_key_new },
	{ "verdict-key", "rotate", "FILE", 1, 1, CTL_START_IN | CTL_LIFETIME, "adds a key to it, removes those that served their time",
	    "The new key seals ten minutes later, so that every node can have the file by then. The programs see it by\n"
	    "themselves.\n",
	    verdict_key_rotate },
	{ "verdict-key", "list", "FILE", 1, 1, CTL_JSON | CTL_LIFETIME, "which keys there are, never the keys",
	    "seals: new headers; opens: what it sealed; next: its time has not come; retired: no longer of use.\n", verdict_key_list },
	{ "history", NULL, "", 0, 0, CTL_ACCOUNT | CTL_LIMIT | CTL_JSON, "what became of mail",
	    "The newest first, 50 lines unless --limit says otherwise: when, what was done, the check that decided, the\n"
	    "reply, the queue id. Addresses are kept as keyed hashes only: --account finds one account's lines, nothing\n"
	    "finds out whose the others are.\n",
	    history_show },
	{ "explain", NULL, "FILE", 1, 1, CTL_FROM | CTL_RCPT | CTL_CLIENT | CTL_HELO | CTL_LOGIN | CTL_AT | CTL_JSON,
	    "what the milter would do with a message, and why",
	    "FILE is a message as it arrives; -: on standard input. It goes through every check in the running milter, dry: nothing is sent,\n"
	    "written or counted; what name servers, lists and preferences say comes from the milter's memory and goes into it. Lines with + - ~ are changes to the header.\n",
	    explain_run },
	{ "status", NULL, "", 0, 0, CTL_JSON, "whether database, keyd, milter and lmtp answer, and what they say",
	    "Exit status 75: one of them does not.\n", status_show },
	{ "db", "migrate", "", 0, 0, 0, "makes or upgrades the policy database's tables", NULL, db_migrate },
};
const size_t ctl_verbs_count = sizeof(ctl_verbs) / sizeof(ctl_verbs[0]);

static bool
is_help(const char *arg)
{
	return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

static int
unknown(const char *what, const char *word)
{
	fprintf(stderr, "basaltctl: unknown %s `%s`; see `basaltctl --help`\n", what, word);
	return CTL_USAGE;
}

/* A noun that stands alone may have verbs, too. */
static bool
has_verbs(const char *noun)
{
	for (size_t i = 0; i < ctl_verbs_count; i++)
		if (strcmp(ctl_verbs[i].noun, noun) == 0 && ctl_verbs[i].verb != NULL)
			return true;
	return false;
}

/* Finds the subcommand of argv; *used words name it. NULL: *status is the exit status. */
static const struct ctl_verb *
find_verb(int argc, char **argv, int *used, int *status)
{
	bool noun_known = false;

	for (size_t i = 0; i < ctl_verbs_count; i++) {
		const struct ctl_verb *verb = &ctl_verbs[i];

		if (strcmp(verb->noun, argv[0]) != 0)
			continue;
		noun_known = true;
		if (verb->verb != NULL && (argc < 2 || strcmp(verb->verb, argv[1]) != 0))
			continue;
		if (verb->verb == NULL && argc > 1 && is_help(argv[1]) && has_verbs(argv[0])) {
			ctl_help_verb(stdout, verb);
			printf("\n");
			ctl_help_noun(stdout, argv[0]);
			*status = CTL_OK;
			return NULL;
		}
		*used = verb->verb == NULL ? 1 : 2;
		return verb;
	}
	if (!noun_known) {
		*status = unknown("command", argv[0]);
	} else if (argc > 1 && is_help(argv[1])) {
		ctl_help_noun(stdout, argv[0]);
		*status = CTL_OK;
	} else if (argc < 2) {
		ctl_help_noun(stderr, argv[0]);
		*status = CTL_USAGE;
	} else {
		fprintf(stderr, "basaltctl: %s: unknown verb `%s`; see `basaltctl %s --help`\n", argv[0], argv[1], argv[0]);
		*status = CTL_USAGE;
	}
	return NULL;
}

static int
run_verb(struct ctl *ctl, int argc, char **argv)
{
	int status = CTL_OK, used = 0;
	const struct ctl_verb *verb = find_verb(argc, argv, &used, &status);

	if (verb == NULL || !ctl_args_parse(verb, argc - used, argv + used, &ctl->args, &status))
		return status;
	if (bs_crypto_init() != BS_OK)
		return ctl_fail(BS_ERR_CRYPTO, "the cryptographic libraries do not work here");
	status = verb->run(ctl);
	if (fflush(stdout) == EOF && status == CTL_OK)
		status = ctl_fail(BS_ERR_IO, "writing the output failed");
	return status;
}

static int
check_config(struct ctl *ctl)
{
	int rc = ctl_load_settings(ctl);

	if (rc == CTL_OK)
		printf("%s: no errors\n", ctl->conf_path);
	return rc;
}

static int
run(struct ctl *ctl, int argc, char **argv)
{
	for (; argc > 0 && argv[0][0] == '-'; argc--, argv++) {
		if (is_help(argv[0])) {
			ctl_help(stdout);
			return CTL_OK;
		}
		if (strcmp(argv[0], "--version") == 0) {
			printf("basaltctl %s\n", BS_VERSION);
			return CTL_OK;
		}
		if (strcmp(argv[0], "--defaults") == 0) {
			ctl_print_defaults(stdout);
			return CTL_OK;
		}
		if (strcmp(argv[0], "--check-config") == 0)
			return check_config(ctl);
		if (strcmp(argv[0], "-c") != 0)
			return unknown("option", argv[0]);
		if (argc < 2) {
			fprintf(stderr, "basaltctl: a file must follow -c\n");
			return CTL_USAGE;
		}
		ctl->conf_path = argv[1];
		argc--;
		argv++;
	}
	if (argc == 0) {
		ctl_help(stderr);
		return CTL_USAGE;
	}
	return run_verb(ctl, argc, argv);
}

/* What is opened next must not become standard output. Nothing can be written to what stands in for that: a secret is not lost unheard. */
static void
fill_standard_fds(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY) != fd)
			_exit(CTL_FAILED);
	}
}

static bool
is_panel(const char *name)
{
	const char *slash = strrchr(name, '/');

	return strcmp(slash == NULL ? name : slash + 1, "basalt-passwd") == 0;
}

/* basalt-passwd [-c FILE] WORD... */
static int
run_panel(struct ctl *ctl, int argc, char **argv)
{
	static char noun[] = "passwd";

	if (argc > 2 && strcmp(argv[1], "-c") == 0) {
		ctl->conf_path = argv[2];
		argc -= 2;
		argv += 2;
	}
	argv[0] = noun;
	return run_verb(ctl, argc, argv);
}

int
main(int argc, char **argv)
{
	struct ctl ctl = { .conf_path = DEFAULT_CONF };
	int status;

	fill_standard_fds();
	status = is_panel(argv[0]) ? run_panel(&ctl, argc, argv) : run(&ctl, argc - 1, argv + 1);

	ctl_close(&ctl);
	return status;
}
