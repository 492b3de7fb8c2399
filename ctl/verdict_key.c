/* basaltctl verdict-key: the file of keys that seal verdict headers. Needs no configuration and no daemon. */
#include <stdlib.h>
#include <time.h>

#include "ctl.h"
#include "verbs.h"
#include "verdict_keyfile.h"

#define KEY_GROUP "basalt-verdict" /* systemd/basalt.sysusers */

static const char *const state_texts[] = {
	[BS_VERDICT_KEY_NEXT] = "next", [BS_VERDICT_KEY_WRITES] = "seals", [BS_VERDICT_KEY_READS] = "opens",
	[BS_VERDICT_KEY_RETIRED] = "retired",
};

/* What the options say; CTL_OK, or says what is wrong. */
static int
take_options(const struct ctl *ctl, uint32_t *start_in_s, uint32_t *lifetime_s)
{
	const char *start_in = ctl_arg(&ctl->args, CTL_START_IN), *lifetime = ctl_arg(&ctl->args, CTL_LIFETIME);

	*start_in_s = BS_VERDICT_START_IN_S;
	*lifetime_s = BS_VERDICT_LIFETIME_S;
	if ((start_in == NULL || ctl_args_seconds(start_in, start_in_s)) &&
	    (lifetime == NULL || ctl_args_seconds(lifetime, lifetime_s)))
		return CTL_OK;
	ctl_fail(BS_ERR_ARG, "--start-in and --lifetime take seconds");
	return CTL_USAGE;
}

/* An empty file in locked memory; NULL: said so. */
static struct bs_verdict_keyfile *
new_file(void)
{
	struct bs_verdict_keyfile *file = bs_secret_new(sizeof(*file));

	if (file == NULL)
		ctl_fail(BS_ERR_NOMEM, "no memory that can be locked (ulimit -l)");
	else
		file->n = 0;
	return file;
}

static int
save(const char *path, const struct bs_verdict_keyfile *file, bool fresh)
{
	char why[512] = "";
	gid_t group = fresh ? ctl_key_group(KEY_GROUP, path) : (gid_t)-1;
	enum bs_err err = bs_verdict_keyfile_write(path, file, fresh, group, why, sizeof(why));

	return err == BS_OK ? CTL_OK : ctl_fail(err, "%s", why);
}

int
verdict_key_new(struct ctl *ctl)
{
	struct bs_verdict_keyfile *file = new_file();
	int rc;

	if (file == NULL)
		return CTL_FAILED;
	rc = bs_verdict_keyfile_add(file, (int64_t)time(NULL)) == BS_OK ? CTL_OK : ctl_fail(BS_ERR_INTERNAL, "no key");
	if (rc == CTL_OK)
		rc = save(ctl->args.words[0], file, true);
	bs_secret_free(file);
	return rc;
}

static int
load(const char *path, struct bs_verdict_keyfile *file)
{
	char why[512] = "";
	enum bs_err err = bs_verdict_keyfile_read(path, file, why, sizeof(why));

	return err == BS_OK ? CTL_OK : ctl_fail(BS_ERR_CONF, "%s", why);
}

static int
rotate(const char *path, struct bs_verdict_keyfile *file, uint32_t start_in_s, uint32_t lifetime_s)
{
	int64_t now_s = (int64_t)time(NULL);
	char when[32];
	size_t gone;
	int rc = load(path, file);

	if (rc != CTL_OK)
		return rc;
	gone = bs_verdict_keyfile_prune(file, now_s, lifetime_s);
	if (bs_verdict_keyfile_state(file, file->n - 1, now_s, lifetime_s) == BS_VERDICT_KEY_NEXT) {
		ctl_time((uint64_t)file->keys[file->n - 1].created_s, when);
		return ctl_fail(BS_ERR_EXISTS, "%s: there is a new key already, which seals from %s on", path, when);
	}
	if (bs_verdict_keyfile_add(file, now_s + start_in_s) != BS_OK)
		return ctl_fail(BS_ERR_LIMIT, "%s: too many keys; none is older than --lifetime", path);
	rc = save(path, file, false);
	ctl_time((uint64_t)(now_s + start_in_s), when);
	if (rc == CTL_OK)
		printf("%s: a new key seals from %s on; %zu removed. All nodes need the file before that.\n", path, when, gone);
	return rc;
}

int
verdict_key_rotate(struct ctl *ctl)
{
	uint32_t start_in_s, lifetime_s;
	int rc = take_options(ctl, &start_in_s, &lifetime_s);
	struct bs_verdict_keyfile *file = rc == CTL_OK ? new_file() : NULL;

	if (file == NULL)
		return rc == CTL_OK ? CTL_FAILED : rc;
	rc = rotate(ctl->args.words[0], file, start_in_s, lifetime_s);
	bs_secret_free(file);
	return rc;
}

static json_t *
key_row(const struct bs_verdict_key *key, const char *state)
{
	char id[2 * BS_VERDICT_KEY_ID_LEN + 1];

	ctl_hex(key->id, sizeof(key->id), id);
	return json_pack("{s:s, s:s, s:I}", "id", id, "state", state, "created", (json_int_t)key->created_s);
}

static int
list(struct ctl *ctl, const struct bs_verdict_keyfile *file, uint32_t lifetime_s)
{
	json_t *rows = (ctl->args.given & CTL_JSON) != 0 ? json_array() : NULL;
	int64_t now_s = (int64_t)time(NULL);

	for (size_t i = 0; i < file->n; i++) {
		const char *state = state_texts[bs_verdict_keyfile_state(file, i, now_s, lifetime_s)];
		char id[2 * BS_VERDICT_KEY_ID_LEN + 1], when[32];

		if (rows != NULL) {
			(void)json_array_append_new(rows, key_row(&file->keys[i], state));
			continue;
		}
		ctl_hex(file->keys[i].id, BS_VERDICT_KEY_ID_LEN, id);
		ctl_time((uint64_t)file->keys[i].created_s, when);
		printf("%s  %-7s  from %s\n", id, state, when);
	}
	return rows != NULL ? ctl_print_json(rows) : CTL_OK;
}

int
verdict_key_list(struct ctl *ctl)
{
	uint32_t start_in_s, lifetime_s;
	int rc = take_options(ctl, &start_in_s, &lifetime_s);
	struct bs_verdict_keyfile *file = rc == CTL_OK ? new_file() : NULL;

	if (file == NULL)
		return rc == CTL_OK ? CTL_FAILED : rc;
	rc = load(ctl->args.words[0], file);
	if (rc == CTL_OK)
		rc = list(ctl, file, lifetime_s);
	bs_secret_free(file);
	return rc;
}
