/* basaltctl key reseal: old mail of an account moves to its active key, file by file, beside running servers. */
#include "ctl.h"
#include "home.h"
#include "reseal_file.h"
#include "session.h"
#include "sweep.h"
#include "verbs.h"

#define INDEX_CACHE "dovecot.index.cache"
#define CACHES_TEXT "index caches (" INDEX_CACHE ") may hold keys of these messages for the old key to open: end the account's sessions and remove " \
	"them, Dovecot makes them anew"
#define MDBOX_TEXT "mdbox files hold many mails and can't be replaced beside a running Dovecot. Carry the account to sdbox " \
	"(doveadm backup -u ADDRESS sdbox:FOLDER), reseal FOLDER, and take it into use or carry it back into an empty mdbox"

/* sweep_fn */
static enum bs_err
take_file(void *ctx, struct swap_file *file)
{
	return reseal_file(ctx, file);
}

static int
report(const struct sweep *sweep, uint64_t given)
{
	int rc = sweep_status(sweep, MDBOX_TEXT);

	if ((given & CTL_JSON) != 0)
		return ctl_print_json(sweep_json(sweep, "resealed", rc == CTL_OK)) == CTL_OK ? rc : CTL_FAILED;
	if ((given & CTL_QUIET) != 0)
		return rc;
	sweep_print(sweep);
	if (sweep->counts.caches > 0)
		printf("%lld " CACHES_TEXT "\n", (long long)sweep->counts.caches);
	return rc;
}

int
key_reseal(struct ctl *ctl)
{
	uint64_t given = ctl->args.given;
	struct reseal reseal = { 0 };
	struct sweep sweep = sweep_init(given, "sealed anew", take_file, &reseal);
	char address[BS_ADDRESS_MAX + 1], home[4096], *homes[] = { home };
	size_t n = (size_t)ctl->args.n - 1;
	char **folders = n == 0 ? homes : ctl->args.words + 1;
	int rc = ctl_open_session(ctl, address, "reseal", &reseal.session, &reseal.record);

	if (rc == CTL_OK && n == 0)
		home_folder(ctl, address, home, sizeof(home));
	n = n == 0 ? 1 : n;
	sweep.session = reseal.session;
	/* keyd's sockets are open: root alone may. */
	if (rc == CTL_OK)
		rc = sweep_begin(folders, n, given);
	if (rc == CTL_OK)
		rc = sweep_run(&sweep, folders, n);
	if (rc == CTL_OK)
		rc = report(&sweep, given);
	bs_keyclient_free(reseal.session);
	return rc;
}
