/* A vault with small tables and no roles around it, for test_handover.c and fuzz_handover.c. */
#ifndef HANDOVER_FIXTURE_H
#define HANDOVER_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keyd/handover.h"
#include "keyd/lastuse.h"
#include "keyd/vault.h"

#define FIXTURE_CLIENTS 8
#define FIXTURE_NOW 1000000

static void
fixture_conf(struct keydconf *conf, int64_t sessions)
{
	*conf = (struct keydconf){ .linger_s = 60, .token_s = 60, .per_account_max = 4, .sessions_max = sessions, .kdf_workers = 1 };
	for (unsigned i = 0; i < KEYD_SOCKETS; i++)
		conf->sockets[i] = (struct keyd_socket){ .name = "fixture", .clients_max = FIXTURE_CLIENTS };
}

struct fixture_arenas {
	struct arena *secrets, *job_cells, *ring_cells;
};

static bool
fixture_arenas(struct fixture_arenas *a, size_t cells)
{
	return arena_new(sizeof(struct vault_secret), 1, &a->secrets) == BS_OK
	    && arena_new(sizeof(struct job_secret), 2, &a->job_cells) == BS_OK
	    && arena_new(sizeof(struct ring_cell), cells, &a->ring_cells) == BS_OK;
}

/* NULL: out of memory. site: what all 32 bytes of the site key's public half are. Takes the arenas. */
static struct vault *
fixture_vault_in(const struct keydconf *conf, const struct fixture_arenas *a, uint8_t site)
{
	struct vault *v = calloc(1, sizeof(*v));

	if (v == NULL)
		return NULL;
	v->secrets = a->secrets;
	v->job_cells = a->job_cells;
	v->ring_cells = a->ring_cells;
	v->conf = conf;
	jobs_init(&v->jobs);
	leaving_init(&v->leaving, -1);
	v->own = arena_alloc(v->secrets);
	v->rings = rings_new(v->ring_cells, 4, conf->linger_s * 1000);
	v->tokens = tokens_new(v->rings, 4, conf->token_s * 1000);
	v->seen = seen_new(256, v->own->boot_key);
	v->uses = lastuse_new(64);
	v->reply = malloc(BS_FRAME_MAX);
	v->keystore.fd = v->policy.fd = v->forerunner = -1;
	for (unsigned i = 0; i < KEYD_SOCKETS; i++) {
		v->conns[i] = calloc(FIXTURE_CLIENTS, sizeof(struct conn));
		v->fronts[i].fd = -1;
	}
	for (unsigned i = 0; i < KEYD_KDF_WORKERS_MAX; i++)
		v->kdf[i].fd = -1;
	memset(v->site_pub, site, sizeof(v->site_pub));
	v->now_ms = FIXTURE_NOW;
	return v->rings == NULL || v->tokens == NULL || v->seen == NULL || v->uses == NULL || v->reply == NULL ? NULL : v;
}

static inline struct vault *
fixture_vault(const struct keydconf *conf, size_t cells, uint8_t site)
{
	struct fixture_arenas a;

	return fixture_arenas(&a, cells) ? fixture_vault_in(conf, &a, site) : NULL;
}

static void
fixture_free(struct vault *v)
{
	v->broken = true; /* vault_run() frees it at once */
	(void)vault_run(v);
}

#endif
