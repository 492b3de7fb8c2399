/*
 * owner: root's command goes on as the user whose folders it works in. Who may write there could put a symbolic link in a folder's
 * place at any moment; followed as that user, it leads nowhere that he could not go himself.
 *
 *     rc = ctl_become_owner(paths, n);     // sockets first: root alone may open keyd's
 */
#ifndef CTL_OWNER_H
#define CTL_OWNER_H

#include <stddef.h>

/*
 * For ever, with the folders' group and no other. All have to be one user's, and not root's; on the way to them lie no links but root's own, in
 * folders where nobody else can put one. Whoever is not root stays who he is.
 * An exit status; it was said why.
 */
int ctl_become_owner(char *const *folders, size_t n);

#endif
