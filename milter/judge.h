/*
 * judge: from findings to answers: asks the checks about a recipient and the accounts behind it, decides each account's
 * verdict, and what SMTP is told. Answers nobody itself (dialogue.c) and changes no message (carry.c).
 *
 *     judge_recipient(services, session, recipient);      // recipient->verdict: the answer to RCPT
 *     err = judge_message(session, &verdict);             // the answer after DATA; then each final->verdict is his part
 */
#ifndef MILTER_JUDGE_H
#define MILTER_JUDGE_H

#include "check.h"

/* Runs the checks of rcpt and target, and decides; what can't be asked within 20 s, of all accounts together, is down. */
void judge_recipient(const struct check_services *services, struct session *session, struct recipient *recipient);

/*
 * Decides every account's verdict from all that is known at the end, and the one answer for those that are still in. Where
 * that answer is acceptance, no verdict is a refusal that would become a bounce to an address that nobody verified.
 */
enum bs_err judge_message(struct session *session, struct verdict *out) BS_MUST_USE;

/* True when the recipient was refused or deferred at RCPT and gets nothing of this message. */
bool judge_is_out(const struct recipient *recipient);

#endif
