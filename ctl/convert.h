/*
 * convert: what the files of `basaltctl convert` share: one account's folders, or every account's.
 *
 * With --all each account has a process of its own, since root's becomes the owner of its folders for ever (owner.h). Where one account
 * fails, the others go on, and the exit status says so.
 *
 *     return convert_each(ctl, work);
 */
#ifndef CTL_CONVERT_H
#define CTL_CONVERT_H

#include "ctl.h"

struct convert_task {
	struct ctl *ctl;
	char address[BS_ADDRESS_MAX + 1];
	char home[4096];
	char **folders; /* home, unless others were named */
	size_t n;
	bool all;       /* one of many: what has nothing to be done for it is passed over in silence */
};

/* Prints what it found and did: a line, or a JSON object. An exit status. */
typedef int (*convert_fn)(struct convert_task *task);

/* The account and the folders of the arguments, or with --all every account. */
int convert_each(struct ctl *ctl, convert_fn work);
/* Is there mail in the folders that is not sealed, or may be so? Goes on as their owner. */
bool convert_finds_text(const struct convert_task *task);
/* A JSON object on a line of its own. Frees; an exit status. */
int convert_print(json_t *take);

#endif
