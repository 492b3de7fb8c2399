/*
 * dmarc_row: one message as a row of the statistics: domains and the client's address, never a local part.
 *
 *     dmarc_row_of(session, &outcome, author, &row);
 */
#ifndef MILTER_DMARC_ROW_H
#define MILTER_DMARC_ROW_H

#include "dmarc.h"
#include "session.h"
#include "store_policy_dmarc.h"

/* At the end of the message; the disposition is the strictest one that some recipient's preference allows. */
void dmarc_row_of(const struct session *session, const struct dmarc_outcome *outcome, const char *author,
    struct bs_dmarc_row *out);

#endif
