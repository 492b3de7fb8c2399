/* basaltctl scrub: reads a tree of mail and checks the digest of every sealed message; no key, no daemon. */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "sealed.h"
#include "sock.h"
#include "verbs.h"

#define PROGRESS_EVERY_MS 250
#define RETRIES 3 /* of an mdbox file that may be being appended to */
#define RETRY_AFTER_US 200000
#define IN_USE_S 60 /* a broken frame in a file that changed so lately is Dovecot's append, not damage */

struct counts {
	json_int_t files;     /* that were read */
	json_int_t bytes;
	json_int_t sealed;    /* messages, suite 1 */
	json_int_t suite0;    /* messages with a digest, not encrypted */
	json_int_t plaintext; /* messages and other files without our format: not checked */
	json_int_t damaged;
	json_int_t in_use;    /* files whose end is being written */
	json_int_t errors;    /* files and folders that could not be read */
};

struct scrub {
	struct counts counts;
	json_t *damaged; /* arrays for the report */
	json_t *in_use;
	json_t *errors;
	bool json;
	bool quiet;
	bool progress;
	int64_t shown_ms;
};

/* One file at a time, and what the last reading of it found. */
struct file {
	const char *path;
	int fd;
	bool in_use;
	struct counts counts;
	json_t *damaged;
};

static void
clear_progress(const struct scrub *s)
{
	if (s->progress)
		fprintf(stderr, "\r\033[K");
}

static void
show_progress(struct scrub *s)
{
	int64_t now = bs_now_ms();

	if (!s->progress || now - s->shown_ms < PROGRESS_EVERY_MS)
		return;
	s->shown_ms = now;
	fprintf(stderr, "\r%lld files, %.1f MB, %lld damaged", (long long)s->counts.files, (double)s->counts.bytes / 1e6,
	    (long long)s->counts.damaged);
	fflush(stderr);
}

static void
add_error(struct scrub *s, const char *path, const char *text)
{
	s->counts.errors++;
	json_array_append_new(s->errors, json_pack("{s:o, s:s}", "path", ctl_json_path(path), "error", text));
	if (s->json)
		return;
	clear_progress(s);
	fprintf(stderr, "basaltctl: ");
	ctl_print_path(stderr, path);
	fprintf(stderr, ": %s\n", text);
}

static void
add_damage(struct file *file, uint64_t off, uint64_t len, const char *reason)
{
	file->counts.damaged++;
	json_array_append_new(file->damaged, json_pack("{s:o, s:I, s:I, s:s}", "path", ctl_json_path(file->path), "offset",
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

	s->counts.files++;
	s->counts.bytes += file->counts.bytes;
	s->counts.sealed += file->counts.sealed;
	s->counts.suite0 += file->counts.suite0;
	s->counts.plaintext += file->counts.plaintext;
	s->counts.damaged += file->counts.damaged;
	json_array_extend(s->damaged, file->damaged);
	if (file->in_use) {
		s->counts.in_use++;
		json_array_append_new(s->in_use, ctl_json_path(file->path));
	}
	if (s->json)
		return;
	json_array_foreach(file->damaged, i, row) {
		clear_progress(s);
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

static void
scrub_file(struct scrub *s, const char *access_path, const char *path)
{
	struct file file = { .path = path, .fd = open(access_path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) };
	enum bs_err err;

	if (file.fd < 0) {
		if (errno != ENOENT) /* mail comes and goes while we walk */
			add_error(s, path, strerror(errno));
		return;
	}
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
	close(file.fd);
}

/* Files that Dovecot has not finished: Maildir's tmp beside cur, and dbox's temp.*. */
static bool
is_unfinished(const FTSENT *entry)
{
	char cur[4096];
	struct stat st;

	if (entry->fts_info == FTS_D && entry->fts_level > 0 && strcmp(entry->fts_name, "tmp") == 0) {
		snprintf(cur, sizeof(cur), "%.*s/cur", (int)(entry->fts_pathlen - 4), entry->fts_path);
		return stat(cur, &st) == 0 && S_ISDIR(st.st_mode);
	}
	return entry->fts_info == FTS_F && (strncmp(entry->fts_name, "temp.", 5) == 0 || strncmp(entry->fts_name, ".temp.", 6) == 0);
}

static void
visit(struct scrub *s, FTS *fts, FTSENT *entry)
{
	switch (entry->fts_info) {
	case FTS_D:
		if (is_unfinished(entry))
			fts_set(fts, entry, FTS_SKIP);
		break;
	case FTS_F:
		if (!is_unfinished(entry))
			scrub_file(s, entry->fts_accpath, entry->fts_path);
		break;
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		if (entry->fts_errno != ENOENT || entry->fts_level == 0)
			add_error(s, entry->fts_path, strerror(entry->fts_errno));
		break;
	default:
		break;
	}
	show_progress(s);
}

static int
walk(struct scrub *s, char **paths)
{
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, NULL);
	FTSENT *entry;

	if (fts == NULL)
		return ctl_fail(BS_ERR_IO, "walking the tree: %s", strerror(errno));
	while ((entry = fts_read(fts)) != NULL)
		visit(s, fts, entry);
	fts_close(fts);
	clear_progress(s);
	return CTL_OK;
}

static int
report(struct scrub *s, double seconds)
{
	const struct counts *c = &s->counts;
	int rc = c->damaged > 0 || c->errors > 0 ? CTL_FAILED : CTL_OK;

	if (s->json) {
		json_t *json = json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:O, s:O, s:O}", "files", c->files, "bytes", c->bytes,
		    "sealed", c->sealed, "not_encrypted", c->suite0, "skipped_plaintext", c->plaintext, "seconds", seconds,
		    "damaged", s->damaged, "in_use", s->in_use, "errors", s->errors);

		return ctl_print_json(json) == CTL_OK ? rc : CTL_FAILED;
	}
	if (!s->quiet)
		printf("%lld files, %.1f MB in %.1f s: %lld sealed messages, %lld with a digest but not encrypted, "
		       "%lld without (not checked); %lld damaged, %lld files in use (scrub them again), %lld errors\n",
		    (long long)c->files, (double)c->bytes / 1e6, seconds, (long long)c->sealed, (long long)c->suite0,
		    (long long)c->plaintext, (long long)c->damaged, (long long)c->in_use, (long long)c->errors);
	return rc;
}

int
scrub_run(struct ctl *ctl)
{
	unsigned given = ctl->args.given;
	struct scrub s = {
		.damaged = json_array(),
		.in_use = json_array(),
		.errors = json_array(),
		.json = (given & CTL_JSON) != 0,
		.quiet = (given & CTL_QUIET) != 0,
		.progress = (given & CTL_PROGRESS) != 0 || ((given & CTL_QUIET) == 0 && isatty(STDERR_FILENO)),
	};
	int64_t start_ms = bs_now_ms();
	int rc;

	/* fts_open() wants a NULL behind the last path; argv has room for it. */
	ctl->args.words[ctl->args.n] = NULL;
	rc = walk(&s, ctl->args.words);
	if (rc == CTL_OK)
		rc = report(&s, (double)(bs_now_ms() - start_ms) / 1000);
	json_decref(s.damaged);
	json_decref(s.in_use);
	json_decref(s.errors);
	return rc;
}
