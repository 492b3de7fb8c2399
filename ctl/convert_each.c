#include "convert.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "background.h"
#include "home.h"

/* --- one --- */

static void
set_home(struct convert_task *task, char **roots)
{
	home_folder(task->ctl, task->address, task->home, sizeof(task->home));
	roots[0] = task->home;
	task->folders = roots;
	task->n = 1;
}

static int
one_account(struct ctl *ctl, convert_fn work)
{
	struct convert_task task = { .ctl = ctl };
	char *roots[1];
	int rc = ctl_address_arg(ctl->args.words[0], task.address);

	if (rc == CTL_OK)
		rc = ctl_load_settings(ctl);
	if (rc != CTL_OK)
		return rc;
	set_home(&task, roots);
	if (ctl->args.n > 1) {
		task.folders = ctl->args.words + 1;
		task.n = (size_t)ctl->args.n - 1;
	}
	return work(&task);
}

/* --- all --- */

/* Its exit status. A signal that came to us alone is handed on. */
static int
wait_for(pid_t child)
{
	int status = 0;

	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			return CTL_FAILED;
		if (ctl_background_stopped())
			(void)kill(child, SIGTERM);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : CTL_FAILED;
}

/* The child asks keyd over a connection of its own, and leaves everything else of ours alone. */
static int
in_its_own_process(struct ctl *ctl, const char *address, convert_fn work)
{
	struct convert_task task = { .ctl = ctl, .all = true };
	char *roots[1];
	pid_t child;

	snprintf(task.address, sizeof(task.address), "%s", address);
	set_home(&task, roots);
	(void)fflush(stdout);
	child = fork();
	if (child < 0)
		return ctl_fail(BS_ERR_UNAVAIL, "making a process for %s: %s", address, strerror(errno));
	if (child == 0) {
		int rc = work(&task);

		_exit(fflush(stdout) == EOF && rc == CTL_OK ? CTL_FAILED : rc);
	}
	return wait_for(child);
}

/* A bs_account_list() callback. */
static enum bs_err
append_address(void *ctx, const struct bs_account *account)
{
	return json_array_append_new(ctx, json_string(account->address)) == 0 ? BS_OK : BS_ERR_NOMEM;
}

/* The store is closed again: that takes hours. */
static int
list_accounts(struct ctl *ctl, json_t **out)
{
	json_t *list = json_array();
	int rc = ctl_open_store(ctl);
	enum bs_err err;

	if (rc == CTL_OK) {
		err = bs_account_list(ctl->store, NULL, append_address, list);
		if (err != BS_OK)
			rc = ctl_fail(err, "listing the accounts: %s", ctl_store_text(ctl, err));
	}
	bs_store_policy_close(ctl->store);
	ctl->store = NULL;
	if (rc == CTL_OK)
		*out = list;
	else
		json_decref(list);
	return rc;
}

static int
all_accounts(struct ctl *ctl, convert_fn work)
{
	json_t *list = NULL, *address;
	size_t i;
	int rc = list_accounts(ctl, &list);

	if (rc != CTL_OK)
		return rc;
	ctl_background_begin((ctl->args.given & CTL_FULL_SPEED) != 0);
	json_array_foreach (list, i, address) {
		int one = ctl_background_stopped() ? CTL_TEMPFAIL : in_its_own_process(ctl, json_string_value(address), work);

		if (one != CTL_OK && rc != CTL_FAILED)
			rc = one;
	}
	json_decref(list);
	return rc;
}

int
convert_each(struct ctl *ctl, convert_fn work)
{
	bool all = (ctl->args.given & CTL_ALL) != 0;

	if (all != (ctl->args.n == 0)) {
		ctl_fail(BS_ERR_ARG, "either an ADDRESS or --all");
		return CTL_USAGE;
	}
	return all ? all_accounts(ctl, work) : one_account(ctl, work);
}

int
convert_print(json_t *take)
{
	bool ok = take != NULL && json_dumpf(take, stdout, JSON_COMPACT) == 0 && putchar('\n') != EOF;

	json_decref(take);
	return ok ? CTL_OK : ctl_fail(BS_ERR_IO, "writing the output failed");
}
