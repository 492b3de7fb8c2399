/*
 * front: the role behind one of the four sockets. It cuts the bytes of many clients into frames for the vault, and brings
 * the replies back; it understands no request, and what is permitted is the vault's to say.
 *
 * What a client may cost: a number of clients, one frame's size, a number of requests without a reply (then it is not
 * read further), FRAME_MS to send a frame it has begun, FIRST_MS to send its first one, STALL_MS to take its replies.
 *
 *     front = front_new(&fds, &conf->sockets[i]);
 *     exit_status = front_run(front);   // after rolejail_enter()
 */
#ifndef KEYD_FRONT_H
#define KEYD_FRONT_H

#include "keydconf.h"

#define FRONT_FIRST_MS 10000
#define FRONT_FRAME_MS 10000
#define FRONT_STALL_MS 10000
/* A connection's number: its place in the front's table, and a serial that makes it unique for the front's life. */
#define FRONT_INDEX_BITS 22
#define FRONT_INDEX(id) ((uint32_t)((id) & ((1u << FRONT_INDEX_BITS) - 1)))

struct front;

struct front_fds {
	int listen, link;
	int ctl;        /* from the supervisor */
	int forerunner; /* the front before this one, whose clients come first; -1: it begins anew */
};

/* Makes the table and the epoll set, before the jail. NULL: out of memory. Takes the descriptors. */
struct front *front_new(const struct front_fds *fds, const struct keyd_socket *sock);
/* Serves until the vault is gone, or has had the clients passed on (front_handover.c). The process's exit status. */
int front_run(struct front *front);

#endif
