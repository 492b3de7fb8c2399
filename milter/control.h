/*
 * control: the socket by which basaltctl asks the milter: one JSON object a line, one line of JSON as the answer.
 *
 *   {"op":"status"}   -> {"ok":true,"program":"basalt-milter","version":"...","uptime_s":7,"counters":{...},
 *                         "crashes":{"crashes":0,...},"database":{"down":false,...},"cache_known":{...},
 *                         "cache_unknown":{...},"dns":{"queries":9,...},"lists":{"zone":{"asked":9,...}},
 *                         "ledger":{"questions":9,...}}
 *   {"op":"explain","from":"a@x","rcpt":["b@y"],"client":"192.0.2.1","client_name":"","helo":"h","login":"","at":0,
 *    "size":N}, then N bytes of message -> explain.h; the connection ends with the answer
 *   anything else     -> {"ok":false,"error":"..."}
 *
 * A line is at most CONTROL_LINE_MAX bytes with its "\n"; several may follow each other on one connection. A connection
 * that says nothing for ten seconds is closed.
 *
 *     err = control_start(fd, &control, &server);
 */
#ifndef MILTER_CONTROL_H
#define MILTER_CONTROL_H

#include "counters.h"
#include "dns_unbound.h"
#include "dnsbl.h"
#include "flight.h"
#include "ledger.h"
#include "report.h"
#include "resolve.h"
#include "server.h"

#define CONTROL_LINE_MAX 4096

struct explain;

struct control {
	struct counters *counters;
	struct resolver *resolver;
	struct pool *pool;
	struct dns_unbound *dns; /* NULL: nobody is asked */
	struct dnsbl *dnsbl;     /* NULL: no lists */
	struct ledger *ledger;   /* NULL: no trace key */
	struct explain *explain;
	struct flight *flight;
	int64_t started_ms;
	struct report_request request; /* between a question and its connection's handing over; the server's thread's */
};

/* listen_fd is taken; control is borrowed until server_stop(). */
enum bs_err control_start(int listen_fd, struct control *control, struct server **out) BS_MUST_USE;

#endif
