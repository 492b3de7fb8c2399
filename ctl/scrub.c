/* basaltctl scrub: reads a tree of mail and checks the digest of every sealed message; no key, no daemon. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "background.h"
#include "ctl.h"
#include "progress.h"
#include "scrub_state.h"
#include "sealed.h"
#include "sock.h"
#include "verbs.h"
#include "walk.h"

#define SAVE_EVERY_MS 2000
#define RETRIES 3 /* of an mdbox file that may be being appended to */
#define RETRY_AFTER_US 200000
#define IN_USE_S 60 /* a broken frame in a file that changed so lately is Dovecot's append, not damage */

struct scrub {
	struct scrub_state state;
	const char *state_file; /* NULL: none */
	int rc;                 /* of writing it */
	bool json;
	bool quiet;
	struct ctl_progress progress;
	double before_s; /* what earlier runs took */
	int64_t start_ms;
	int64_t saved_ms;
};

/* One file at a time, and what the last reading of it found. */
struct file {
	const char *path;
	int fd;
	bool in_use;
	bool is_maildir; /* it lies in cur or new */
	struct scrub_counts counts;
	json_t *damaged;
};

static void
show_progress(struct scrub *s)
{
	if (ctl_progress_begin(&s->progress))
		fprintf(stderr, "%lld files, %.1f MB, %lld damaged", (long long)s->state.counts.files, (double)s->state.counts.bytes / 1e6,
		    (long long)s->state.counts.damaged);
}

static void
add_error(struct scrub *s, const char *path, const char *text)
{
	s->state.counts.errors++;
	scrub_state_list(s->state.errors, json_pack("{s:o, s:s}", "path", ctl_json_path(path), "error", text));
	if (!s->json)
		ctl_progress_complain(&s->progress, path, text);
}

static void
add_damage(struct file *file, uint64_t off, uint64_t len, const char *reason)
{
	file->counts.damaged++;
	scrub_state_list(file->damaged, json_pack("{s:o, s:I, s:I, s:s}", "path", ctl_json_path(file->path), "offset",
	    (json_int_t)off, "length", (json_int_t)len, "reason", reason));
}

static enum bs_err
on_message(void *ctx, const struct ctl_mail *mail)
{
	struct file *file = ctx;
	struct ctl_look look;
	enum bs_err err = ctl_sealed_look(file->fd, mail, &look);

	if (err != BS_OK)
		return err;
	/* Other files begin as they like. */
	if (look.blank && (mail->kind == CTL_MAILFILE_DBOX || file->is_maildir))
		look.damage = mail->len == 0 ? "it is empty" : "it begins with zeros";
	if (look.what == CTL_PLAINTEXT)
		file->counts.plaintext++;
	else if (look.have_prefix && look.prefix.suite == BS_MSG_SUITE_PLAIN)
		file->counts.suite0++;
	else
		file->counts.sealed++;
	if (look.damage != NULL)
		add_damage(file, mail->off, mail->len, look.damage);
	return BS_OK;
}

/* Adds what a file held to the whole, and prints its damage. */
static void
take_file(struct scrub *s, const struct file *file)
{
	size_t i;
	json_t *row;

	s->state.counts.files++;
	s->state.counts.bytes += file->counts.bytes;
	s->state.counts.sealed += file->counts.sealed;
	s->state.counts.suite0 += file->counts.suite0;
	s->state.counts.plaintext += file->counts.plaintext;
	s->state.counts.damaged += file->counts.damaged;
	for (i = 0; i < json_array_size(file->damaged); i++)
		scrub_state_list(s->state.damaged, json_incref(json_array_get(file->damaged, i)));
	if (file->in_use) {
		s->state.counts.in_use++;
		scrub_state_list(s->state.in_use, ctl_json_path(file->path));
	}
	if (s->json)
		return;
	json_array_foreach(file->damaged, i, row) {
		ctl_progress_clear(&s->progress);
		ctl_print_path(stdout, file->path);
		printf(": message at offset %lld: %s\n", (long long)json_integer_value(json_object_get(row, "offset")),
		    json_string_value(json_object_get(row, "reason")));
		fflush(stdout);
	}
}

static bool
is_fresh(const struct stat *st)
{
	return time(NULL) - st->st_mtim.tv_sec < IN_USE_S;
}

static enum bs_err
read_once(struct file *file)
{
	struct stat st;
	uint64_t bad_off = 0;
	enum bs_err err;

	memset(&file->counts, 0, sizeof(file->counts));
	json_array_clear(file->damaged);
	file->in_use = false;
	if (fstat(file->fd, &st) < 0)
		return BS_ERR_IO;
	file->counts.bytes = (json_int_t)st.st_size;
	err = ctl_mailfile_each(file->fd, (uint64_t)st.st_size, on_message, file, &bad_off);
	if (err == BS_ERR_VERSION)
		add_damage(file, 0, (uint64_t)st.st_size, "a dbox version that this program does not know; nothing was checked");
	if (err == BS_ERR_FORMAT && is_fresh(&st))
		file->in_use = true;
	else if (err == BS_ERR_FORMAT)
		add_damage(file, bad_off, (uint64_t)st.st_size - bad_off,
		    "Dovecot's dbox frame is damaged; what follows in this file was not checked");
	return err == BS_ERR_FORMAT || err == BS_ERR_VERSION ? BS_OK : err;
}

/* What lies on the disk is to be read, not what was read before; and whose mail it is shall find his own in memory. */
static void
not_from_memory(int fd)
{
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void
scrub_file(struct scrub *s, const char *path, bool is_maildir)
{
	struct file file = {
		.path = path, .is_maildir = is_maildir, .fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC),
	};
	enum bs_err err;

	if (file.fd < 0) {
		if (errno != ENOENT && errno != ESTALE) /* mail comes and goes while we walk */
			add_error(s, path, strerror(errno));
		return;
	}
	not_from_memory(file.fd);
	(void)posix_fadvise(file.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	file.damaged = json_array();
	err = read_once(&file);
	for (int i = 1; i < RETRIES && err == BS_OK && file.in_use; i++) {
		usleep(RETRY_AFTER_US);
		err = read_once(&file);
	}
	if (err == BS_OK)
		take_file(s, &file);
	else
		add_error(s, path, err == BS_ERR_IO ? strerror(errno) : bs_err_text(err));
	json_decref(file.damaged);
	not_from_memory(file.fd);
	close(file.fd);
}

/* --- the walk --- */

/* Maildir's tmp beside cur holds what Dovecot has not finished. */
static bool
on_enter(void *ctx, const char *path, const char *name)
{
	size_t len = strlen(path) - strlen(name);
	char cur[4096];
	struct stat st;

	(void)ctx;
	if (strcmp(name, "tmp") != 0 || len + sizeof("cur") > sizeof(cur))
		return true;
	memcpy(cur, path, len);
	memcpy(cur + len, "cur", sizeof("cur"));
	return stat(cur, &st) < 0 || !S_ISDIR(st.st_mode);
}

static void
save(struct scrub *s, bool now)
{
	int64_t now_ms = bs_now_ms();

	s->state.seconds = s->before_s + (double)(now_ms - s->start_ms) / 1000;
	if (s->state_file == NULL || s->rc != CTL_OK || (!now && now_ms - s->saved_ms < SAVE_EVERY_MS))
		return;
	s->rc = scrub_state_save(&s->state, s->state_file);
	s->saved_ms = now_ms;
}

static bool
on_file(void *ctx, size_t root, const char *path, const char *name)
{
	struct scrub *s = ctx;

	/* dbox's names of what it has not finished */
	if (strncmp(name, "temp.", 5) != 0 && strncmp(name, ".temp.", 6) != 0)
		scrub_file(s, path, ctl_walk_lies_in(path, name, "cur") || ctl_walk_lies_in(path, name, "new"));
	if (!scrub_state_at(&s->state, root, path))
		s->rc = ctl_fail(BS_ERR_NOMEM, "%s", bs_err_text(BS_ERR_NOMEM));
	save(s, false);
	show_progress(s);
	return s->rc == CTL_OK && !ctl_background_stopped();
}

static void
on_failed(void *ctx, const char *path, int error)
{
	add_error(ctx, path, strerror(error));
}

static int
walk(struct scrub *s)
{
	struct ctl_walk_ops ops = { .ctx = s, .enter = on_enter, .file = on_file, .failed = on_failed };
	char *after = s->state.after == NULL ? NULL : strdup(s->state.after);
	enum bs_err err = ctl_walk(s->state.paths, s->state.n, s->state.root, after, &ops);

	free(after);
	ctl_progress_clear(&s->progress);
	if (s->rc != CTL_OK)
		return s->rc;
	if (err != BS_OK && err != BS_ERR_BUSY)
		return ctl_fail(err, "walking the tree: %s", bs_err_text(err));
	save(s, true);
	return s->rc;
}

/* --- the report --- */

static int
report(struct scrub *s)
{
	const struct scrub_counts *c = &s->state.counts;
	int rc = ctl_background_stopped() ? CTL_TEMPFAIL : c->damaged > 0 || c->errors > 0 ? CTL_FAILED : CTL_OK;

	if (ctl_background_stopped())
		fprintf(stderr, "basaltctl: ended by a signal%s\n",
		    s->state_file == NULL ? "" : "; the same command goes on where it stopped");
	if (s->json) {
		json_t *json = scrub_counts_json(c);

		json_object_set_new(json, "seconds", json_real(s->state.seconds));
		json_object_set_new(json, "complete", json_boolean(!ctl_background_stopped()));
		json_object_set(json, "damaged", s->state.damaged);
		json_object_set(json, "in_use", s->state.in_use);
		json_object_set(json, "errors", s->state.errors);
		return ctl_print_json(json) == CTL_OK ? rc : CTL_FAILED;
	}
	if (!s->quiet)
		printf("%lld files, %.1f MB in %.1f s: %lld sealed messages, %lld with a digest but not encrypted, "
		       "%lld without (not checked); %lld damaged, %lld files in use (scrub them again), %lld errors\n",
		    (long long)c->files, (double)c->bytes / 1e6, s->state.seconds, (long long)c->sealed, (long long)c->suite0,
		    (long long)c->plaintext, (long long)c->damaged, (long long)c->in_use, (long long)c->errors);
	return rc;
}

static void
prepare(struct scrub *s, uint64_t given)
{
	ctl_background_begin((given & CTL_FULL_SPEED) != 0);
	s->start_ms = s->saved_ms = bs_now_ms();
	s->before_s = s->state.seconds;
	if (s->state.after == NULL || s->quiet)
		return;
	fprintf(stderr, "basaltctl: going on behind ");
	ctl_print_path(stderr, s->state.after);
	fprintf(stderr, " (%lld files are done)\n", (long long)s->state.counts.files);
}

int
scrub_run(struct ctl *ctl)
{
	uint64_t given = ctl->args.given;
	struct scrub s = {
		.state_file = ctl_arg(&ctl->args, CTL_STATE),
		.json = (given & CTL_JSON) != 0,
		.quiet = (given & CTL_QUIET) != 0,
		.progress = ctl_progress_init(given),
	};
	int rc = CTL_OK;

	if (s.state_file == NULL)
		scrub_state_init(&s.state, ctl->args.words, (size_t)ctl->args.n);
	else
		rc = scrub_state_load(&s.state, s.state_file, ctl->args.words, (size_t)ctl->args.n);
	if (rc == CTL_OK && s.state_file != NULL)
		rc = scrub_state_save(&s.state, s.state_file); /* now, and not after hours of reading */
	if (rc == CTL_OK) {
		prepare(&s, given);
		rc = walk(&s);
	}
	if (rc == CTL_OK)
		rc = report(&s);
	/* A report that is out needs no state any more. */
	if (s.state_file != NULL && !ctl_background_stopped() && (rc == CTL_OK || rc == CTL_FAILED) && s.start_ms != 0 && s.rc == CTL_OK)
		(void)unlink(s.state_file);
	scrub_state_clear(&s.state);
	return rc;
}
