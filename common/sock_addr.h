/*
 * sock_addr: where a configuration may name a UNIX socket or TCP: listening and connecting there. sock.h has the rest.
 *
 *     if (bs_sock_addr_parse("inet:127.0.0.1:24", &addr) != BS_OK) ...
 *     err = bs_sock_addr_connect(&addr, bs_now_ms() + 5000, &fd);
 */
#ifndef BS_SOCK_ADDR_H
#define BS_SOCK_ADDR_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "sock.h"

/* "unix:/PATH", "inet:127.0.0.1:PORT" or "inet:[::1]:PORT": numbers, no names, since nothing here asks the DNS. */
struct bs_sock_addr {
	char path[108]; /* a UNIX socket; else "" and the rest counts */
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} inet;
	socklen_t inet_len;
};
/* BS_ERR_ARG: none of these. */
enum bs_err bs_sock_addr_parse(const char *text, struct bs_sock_addr *out) BS_MUST_USE;
/* As bs_sock_listen(); mode, owner and group are a path's alone. */
enum bs_err bs_sock_addr_listen(const struct bs_sock_addr *addr, mode_t mode, uid_t owner, gid_t group, int *fd) BS_MUST_USE;
enum bs_err bs_sock_addr_connect(const struct bs_sock_addr *addr, int64_t deadline_ms, int *fd) BS_MUST_USE;

#endif
