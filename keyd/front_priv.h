/*
 * front_priv: a front's table of clients, for front.c, which serves them, and front_handover.c, which passes them to an heir.
 */
#ifndef KEYD_FRONT_PRIV_H
#define KEYD_FRONT_PRIV_H

#include "client.h"
#include "front.h"
#include "link.h"

#define FRONT_NONE UINT32_MAX /* no place */

struct front {
	const struct keyd_socket *sock;
	int listen_fd, epoll_fd;
	int ctl_fd;        /* from the supervisor: descriptors towards heirs */
	int forerunner_fd; /* the front before this one; -1: there was none */
	int heir_fd;       /* -1: not paused, or there is none */
	struct chan link;
	uint32_t link_mask;
	struct client *clients;
	uint32_t size, first_free, used;
	uint64_t serial;
	bool vault_is_full;
	bool listening;      /* false: accept failed for want of descriptors; tried again at the next sweep */
	bool paused;         /* nobody is read, nobody is let in: LINK_PAUSE */
	bool left;           /* the heir has the clients */
	bool broken;         /* the vault is gone */
	int64_t complain_ms; /* not before: the next line about a full table */
};

/* --- front.c --- */

/* Has epoll watch all clients, whose deadlines begin anew, and the listening socket; or none of them. */
void front_watch_all(struct front *f, int64_t now);
void front_unwatch_all(struct front *f);
/* Serves what clients sent while nobody looked. */
void front_pump_all(struct front *f, int64_t now);

/* --- front_handover.c: what the vault says with LINK_PAUSE, LINK_RESUME, LINK_PASS --- */

void front_pause(struct front *f, uint64_t number);
void front_resume(struct front *f, int64_t now);
void front_pass(struct front *f);
/* Takes the clients of the forerunner. False: it keeps them, or is gone. */
bool front_inherit(struct front *f) BS_MUST_USE;

#endif
