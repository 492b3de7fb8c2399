/* A front with a small table, and no vault behind it but a socket, for test_front_handover.c and fuzz_front_handover.c. */
#ifndef FRONT_FIXTURE_H
#define FRONT_FIXTURE_H

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keyd/fdpass.h"
#include "keyd/front_priv.h"

#define FIXTURE_CLIENTS 8

struct front_fixture {
	struct keyd_socket sock;
	struct front *f;
	int vault;      /* the other end of its link */
	int forerunner; /* where the front before it would send */
};

static bool
front_fixture_init(struct front_fixture *x)
{
	const int flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
	int link[2], heir[2];
	struct front_fds fds = { .listen = socket(AF_UNIX, SOCK_STREAM | flags, 0), .ctl = -1 };

	x->sock = (struct keyd_socket){ .name = "fixture", .frame_max = 4096, .clients_max = FIXTURE_CLIENTS, .requests_max = 4 };
	if (fds.listen < 0 || socketpair(AF_UNIX, SOCK_STREAM | flags, 0, link) != 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | flags, 0, heir) != 0)
		return false;
	fds.link = link[0];
	fds.forerunner = heir[0];
	x->vault = link[1];
	x->forerunner = heir[1];
	x->f = front_new(&fds, &x->sock);
	return x->f != NULL;
}

static void
front_fixture_clear(struct front_fixture *x)
{
	struct front *f = x->f;

	for (uint32_t i = 0; i < f->size; i++) {
		if (f->clients[i].id != 0)
			chan_clear(&f->clients[i].ch);
	}
	chan_clear(&f->link);
	if (f->forerunner_fd >= 0)
		(void)close(f->forerunner_fd);
	if (f->heir_fd >= 0)
		(void)close(f->heir_fd);
	(void)close(f->listen_fd);
	(void)close(f->epoll_fd);
	free(f->clients);
	free(f);
	(void)close(x->vault);
	if (x->forerunner >= 0)
		(void)close(x->forerunner);
}

/* Whether table, count and list of free places agree. */
static bool
front_fixture_adds_up(const struct front *f)
{
	uint32_t used = 0, free_places = 0;

	for (uint32_t i = 0; i < f->size; i++) {
		used += f->clients[i].id != 0;
		if (f->clients[i].id != 0 && (FRONT_INDEX(f->clients[i].id) != i || f->clients[i].id >> FRONT_INDEX_BITS > f->serial))
			return false;
	}
	for (uint32_t i = f->first_free; i != FRONT_NONE && free_places <= f->size; i = f->clients[i].next_free)
		free_places += f->clients[i].id == 0;
	return used == f->used && used + free_places == f->size;
}

#endif
