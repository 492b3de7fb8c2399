#include "transport_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sock.h"

#define BACKLOG 1024 /* cut by net.core.somaxconn */

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static bool
read_port(const char *text, in_port_t *out)
{
	char *end;
	unsigned long port;

	if (text[0] < '1' || text[0] > '9')
		return false;
	port = strtoul(text, &end, 10);
	*out = htons((uint16_t)port);
	return *end == '\0' && port <= 65535;
}

/* HOST:PORT or [HOST]:PORT; the size of the address, 0: it is none of loopback. */
static socklen_t
read_inet(const char *text, union address *out)
{
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2];
	size_t len;
	in_port_t port;

	if (colon == NULL || !read_port(colon + 1, &port))
		return 0;
	len = (size_t)(colon - text);
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if ((size_t)snprintf(host, sizeof(host), "%.*s", (int)len, text) >= sizeof(host))
		return 0;
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, host, &out->in.sin_addr) == 1 && (ntohl(out->in.sin_addr.s_addr) >> 24) == 127) {
		out->in.sin_family = AF_INET;
		out->in.sin_port = port;
		return sizeof(out->in);
	}
	if (inet_pton(AF_INET6, host, &out->in6.sin6_addr) == 1 && IN6_IS_ADDR_LOOPBACK(&out->in6.sin6_addr)) {
		out->in6.sin6_family = AF_INET6;
		out->in6.sin6_port = port;
		return sizeof(out->in6);
	}
	return 0;
}

bool
transport_address_is_good(const char *address)
{
	union address inet;

	if (strncmp(address, "inet:", 5) == 0)
		return read_inet(address + 5, &inet) != 0;
	return strncmp(address, "unix:/", 6) == 0;
}

static enum bs_err
listen_inet(const char *text, int *out)
{
	union address address;
	socklen_t len = read_inet(text, &address);
	int one = 1, fd;
	enum bs_err err;

	if (len == 0)
		return BS_ERR_ARG;
	fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return BS_ERR_IO;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, &address.any, len) == 0) {
		*out = fd;
		return BS_OK;
	}
	err = errno == EADDRINUSE ? BS_ERR_EXISTS : BS_ERR_IO;
	(void)close(fd);
	return err;
}

enum bs_err
transport_listen(const struct transport_settings *settings, int *out)
{
	int fd = -1;
	enum bs_err err;

	if (strncmp(settings->address, "inet:", 5) == 0)
		err = listen_inet(settings->address + 5, &fd);
	else if (strncmp(settings->address, "unix:/", 6) == 0)
		err = bs_sock_listen(settings->address + 5, 0660, settings->owner, settings->group, &fd);
	else
		err = BS_ERR_ARG;
	if (err != BS_OK)
		return err;
	if (listen(fd, BACKLOG) != 0) {
		(void)close(fd);
		return BS_ERR_IO;
	}
	*out = fd;
	return BS_OK;
}

bool
transport_tune(int fd)
{
	struct sockaddr_storage address = { 0 };
	socklen_t len = sizeof(address);
	int one = 1;

	if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
		return false;
	if (address.ss_family == AF_UNIX)
		return true;
	return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) == 0;
}

static enum bs_err
connect_inet(const char *text, int64_t deadline_ms, int *out)
{
	union address address;
	socklen_t len = read_inet(text, &address), error_len = sizeof(int);
	struct pollfd pfd = { .events = POLLOUT };
	int64_t left = deadline_ms - bs_now_ms();
	int error = 0;

	if (len == 0)
		return BS_ERR_ARG;
	pfd.fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (pfd.fd < 0)
		return BS_ERR_IO;
	if (connect(pfd.fd, &address.any, len) != 0 && errno != EINPROGRESS)
		error = errno;
	else if (poll(&pfd, 1, left > 0 ? (int)left : 0) != 1)
		error = ETIMEDOUT;
	else if (getsockopt(pfd.fd, SOL_SOCKET, SO_ERROR, &error, &error_len) != 0)
		error = errno;
	if (error == 0 && transport_tune(pfd.fd)) {
		*out = pfd.fd;
		return BS_OK;
	}
	(void)close(pfd.fd);
	return error == ECONNREFUSED ? BS_ERR_UNAVAIL : error == ETIMEDOUT ? BS_ERR_TIMEOUT : BS_ERR_IO;
}

enum bs_err
transport_connect(const char *address, int64_t deadline_ms, int *out)
{
	if (strncmp(address, "inet:", 5) == 0)
		return connect_inet(address + 5, deadline_ms, out);
	return strncmp(address, "unix:/", 6) == 0 ? bs_sock_connect(address + 5, deadline_ms, out) : BS_ERR_ARG;
}
