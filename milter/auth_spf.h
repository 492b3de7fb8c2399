/*
 * auth_spf: SPF of the session's message, asked for when somebody first wants it: once a message for MAIL FROM, once a
 * HELO for that. Results stand in session->msg.auth for all who read them. For the session's own thread.
 *
 *     const struct auth_spf *spf = auth_spf_mailfrom(call->services, call->session, call->deadline_ms);
 *     if (spf->result == SPF_PASS) ... spf->domain ...
 */
#ifndef MILTER_AUTH_SPF_H
#define MILTER_AUTH_SPF_H

#include <stdint.h>

struct auth_spf;
struct check_services;
struct session;

/*
 * The return path; of the null sender postmaster@HELO (RFC 7208 section 2.4). Never NULL, done is set. Past the deadline
 * the result is temperror, and stays so for this message.
 */
const struct auth_spf *auth_spf_mailfrom(const struct check_services *services, struct session *session, int64_t deadline_ms);
const struct auth_spf *auth_spf_helo(const struct check_services *services, struct session *session, int64_t deadline_ms);

#endif
