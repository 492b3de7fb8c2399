/*
 * vault_handover: how a vault leaves what it holds to an heir, and how it takes it over, while clients at most wait.
 *
 * The old vault conducts. It pauses the fronts of auth and control and lets what they have asked come to its end; then those of mail
 * and delivery, which wait only as long as it takes to send all (handover.h). The heir looks at all of it, and acknowledges. Then, and
 * only then, the fronts are told to pass their clients on, and this process ends, wiped. Whatever fails before, the heir's death
 * too, leaves everything as it was: the fronts go on. One thread, the vault's.
 *
 *     leaving_on_ctl(v);                     // v->leaving.ctl can be read: the supervisor passes the heir's end of a socketpair
 *     leaving_step(v);                       // each turn; v->leaving.left: end
 *     if (!vault_inherit(v)) ...             // the heir, before its first turn: end, somebody else serves
 */
#ifndef KEYD_VAULT_HANDOVER_H
#define KEYD_VAULT_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "chan.h"
#include "keydconf.h"

struct vault;

enum leaving_phase { LEAVING_NOT, LEAVING_LOGINS, LEAVING_ALL };

struct leaving {
	int ctl; /* to the supervisor; -1: gone */
	enum leaving_phase phase;
	struct chan heir;
	uint64_t attempt; /* the number of LINK_PAUSE, so that an answer to an earlier one is none */
	bool asked[KEYD_SOCKETS], paused[KEYD_SOCKETS];
	int64_t deadline_ms;
	bool left; /* the heir has it all */
};

void leaving_init(struct leaving *l, int ctl);
void leaving_clear(struct leaving *l);
/* v->leaving.ctl can be read. */
void leaving_on_ctl(struct vault *v);
/* A front's LINK_PAUSED, with its number. False: it was never asked to. */
bool leaving_on_paused(struct vault *v, unsigned front, uint64_t number);
void leaving_step(struct vault *v);
/* Takes over from v->forerunner. False: it keeps what it has, and this vault ends. */
bool vault_inherit(struct vault *v) BS_MUST_USE;

#endif
