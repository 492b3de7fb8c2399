/*
 * transport_listen: the listening socket of a transport that makes its own, what its connections' sockets need, and the
 * way to a service at an address of the same form.
 *
 * Addresses as Postfix writes them: "unix:/PATH", "inet:127.0.0.1:8891", "inet:[::1]:8891". The milter protocol knows neither
 * passwords nor encryption: over TCP none but loopback is taken (BS_ERR_ARG). Other errors: those of bs_sock_listen().
 *
 *     err = transport_listen(&settings, &fd);
 */
#ifndef MILTER_TRANSPORT_LISTEN_H
#define MILTER_TRANSPORT_LISTEN_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "transport.h"

/* False: neither form, or not loopback. */
bool transport_address_is_good(const char *address);
enum bs_err transport_listen(const struct transport_settings *settings, int *fd) BS_MUST_USE;
/* Connects to such an address. BS_ERR_ARG, BS_ERR_UNAVAIL (nobody listens), BS_ERR_TIMEOUT, BS_ERR_IO. */
enum bs_err transport_connect(const char *address, int64_t deadline_ms, int *fd) BS_MUST_USE;
/* An answer over TCP leaves at once, and a peer that vanished is noticed. True for a UNIX socket, which needs nothing. */
bool transport_tune(int fd);

#endif
