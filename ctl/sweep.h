/*
 * sweep: what replaces mail files one by one (swap.h) in an account's folders, beside running servers: the walk, what it counts, what it
 * says, and how it ends.
 *
 * Each file of an sdbox or Maildir goes to a function; what killed runs left is taken away; mdbox files are counted. Files that were
 * renamed under our hands are looked for again. May be ended or killed at any moment; the next one goes on.
 *
 *     struct sweep sweep = sweep_init(ctl->args.given, take_file, &mine);
 *     rc = sweep_begin(paths, n, ctl->args.given);      // root is the folders' owner from here on; then ctl_background.h's
 *     if (rc == CTL_OK)
 *         rc = sweep_run(&sweep, paths, n);
 *     rc = sweep_status(&sweep);
 */
#ifndef CTL_SWEEP_H
#define CTL_SWEEP_H

#include "ctl.h"
#include "progress.h"
#include "swap.h"

struct sweep_counts {
	json_int_t done;
	json_int_t current;   /* messages that needed nothing; other files are not counted */
	json_int_t closed;    /* that these keys do not open */
	json_int_t damaged;
	json_int_t left;      /* as they are, for a reason that was said */
	json_int_t changed;   /* renamed or removed under our hands */
	json_int_t mdbox;     /* files */
	json_int_t caches;    /* of Dovecot's indexes, met on the way */
	json_int_t errors;
};

/* Does what is to be done to file->path. */
typedef enum bs_err (*sweep_fn)(void *ctx, struct swap_file *file);

struct sweep {
	sweep_fn fn;
	void *ctx;
	void (*index)(void *ctx, const char *path); /* is told of each file of Dovecot's indexes; may be NULL */
	struct bs_keyclient *session; /* the caller's, or NULL: where it ends, all ends */
	const char *done;             /* what became of a message: "sealed anew" */
	struct sweep_counts counts;
	struct ctl_progress progress;
	enum bs_err fatal;            /* what ended it */
	int error;                    /* errno of fatal */
	unsigned serial;              /* of temporary names */
	bool restless;                /* the last pass still found something to do */
};

/* given: of the arguments. */
struct sweep sweep_init(uint64_t given, const char *done, sweep_fn fn, void *ctx);
/* Each folder's lock, and a place behind everybody else. An exit status; it was said why. */
int sweep_begin(char *const *folders, size_t n, uint64_t given);
int sweep_run(struct sweep *sweep, char **folders, size_t n);
/* How it ended, after _run; says why, and mdbox_text where there was any mdbox. NULL: what there was is in order. */
int sweep_status(const struct sweep *sweep, const char *mdbox_text);
/* Keeps other runs from the folder until *fd is closed, by us and by every program that was started since. An exit status; it was said why. */
int sweep_lock(const char *folder, int *fd);
/* The counts under their names; done as the caller calls it. */
json_t *sweep_json(const struct sweep *sweep, const char *done, bool complete);
void sweep_print(const struct sweep *sweep);

/* NAME is prefix and digits alone. */
bool sweep_is_dbox(const char *name, const char *prefix);
bool sweep_is_maildir(const char *path, const char *name);
/* Of either, or an mdbox file. */
bool sweep_is_mail(const char *path, const char *name);

#endif
