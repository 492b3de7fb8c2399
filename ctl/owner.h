/*
 * owner: root's command goes on as the user whose folders it works in. Who may write there could put a symbolic link in a folder's
 * place at any moment; followed as that user, it leads nowhere that he could not go himself.
 *
 *     rc = ctl_become_owner(paths, n);     // sockets first: root alone may open keyd's
 *
 * Who needs root in between, to run a program, acts as the owner only for as long as he works in the folders:
 *
 *     rc = ctl_owner_look(paths, n, &owner);
 *     if (rc == CTL_OK && ctl_owner_act(&owner))
 *         ...
 *     ctl_owner_rest(&owner);
 */
#ifndef CTL_OWNER_H
#define CTL_OWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * For ever, with the folders' group and no other. All have to be one user's, and not root's; on the way to them lie no links but root's own, in
 * folders where nobody else can put one. Whoever is not root stays who he is.
 * An exit status; it was said why.
 */
int ctl_become_owner(char *const *folders, size_t n);

struct ctl_owner {
	uid_t uid;
	gid_t gid;
	bool switched; /* this is root's process */
};

/* Whose they are; the same conditions. */
int ctl_owner_look(char *const *folders, size_t n, struct ctl_owner *out);
/* To the owner and back, by effective ids, of the whole process; for who is not root nothing. False: errno. */
bool ctl_owner_act(const struct ctl_owner *owner);
bool ctl_owner_rest(const struct ctl_owner *owner);

#endif
