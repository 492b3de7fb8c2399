/*
 * proxylog: the log line of a message: `delivery {...}` at level info. Of so many recipients that the line would be cut, the
 * further ones go on in further lines, which carry the same queue id and "part": [this one, of so many].
 *
 *     proxylog_message(&message);
 */
#ifndef LMTP_PROXYLOG_H
#define LMTP_PROXYLOG_H

#include "inbound.h"

void proxylog_message(const struct inbound_message *message);

#endif
