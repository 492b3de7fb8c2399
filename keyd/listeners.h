/*
 * listeners: the folder and the four sockets that clients find, in the supervisor's hands for as long as it lives.
 *
 *     status = listeners_open(conf, listen);     // an exit status, 0: they are there
 *     listeners_regroup(conf);                   // another configuration's groups
 *     listeners_unlink(conf);
 */
#ifndef KEYD_LISTENERS_H
#define KEYD_LISTENERS_H

#include "keydconf.h"

/* Makes run_dir, too. 78 or 1 after a line in the log. */
int listeners_open(const struct keydconf *conf, int listen[KEYD_SOCKETS]) BS_MUST_USE;
void listeners_regroup(const struct keydconf *conf);
void listeners_unlink(const struct keydconf *conf);

#endif
