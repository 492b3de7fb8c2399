#include "sock.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 128
/* How often to ask again at a listener whose backlog is full: the kernel gives nothing to poll for. */
#define BACKLOG_RETRY_MS 10

int64_t
bs_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What is left until the deadline, fit for poll(2); 0 when it has passed. */
static int
left_ms(int64_t deadline_ms)
{
	int64_t left = deadline_ms - bs_now_ms();

	if (left <= 0)
		return 0;
	return left > INT_MAX ? INT_MAX : (int)left;
}

enum bs_err
bs_sock_wait(int fd, short events, int64_t deadline_ms)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	for (;;) {
		int n = poll(&pfd, 1, left_ms(deadline_ms));

		if (n > 0)
			return BS_OK;
		if (n == 0 && left_ms(deadline_ms) == 0)
			return BS_ERR_TIMEOUT;
		if (n < 0 && errno != EINTR)
			return BS_ERR_IO;
	}
}

static enum bs_err
make_addr(const char *path, struct sockaddr_un *addr)
{
	size_t len = strlen(path);

	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	if (len == 0)
		return BS_ERR_ARG;
	if (len >= sizeof(addr->sun_path))
		return BS_ERR_LIMIT;
	memcpy(addr->sun_path, path, len);
	return BS_OK;
}

static enum bs_err
make_socket(int *fd)
{
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd >= 0)
		return BS_OK;
	return errno == ENOMEM || errno == ENOBUFS ? BS_ERR_NOMEM : BS_ERR_IO;
}

/* Removes a socket file on which nobody listens any more. A live one, even a busy one, and any other file stay. */
static enum bs_err
remove_dead(const char *path, const struct sockaddr_un *addr)
{
	struct stat st;
	int fd, rc, saved;
	enum bs_err err;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? BS_OK : BS_ERR_IO;
	if (!S_ISSOCK(st.st_mode))
		return BS_ERR_EXISTS;
	err = make_socket(&fd);
	if (err != BS_OK)
		return err;
	rc = connect(fd, (const struct sockaddr *)addr, sizeof(*addr));
	saved = errno;
	(void)close(fd);
	if (rc == 0 || saved != ECONNREFUSED)
		return BS_ERR_EXISTS;
	return unlink(path) < 0 && errno != ENOENT ? BS_ERR_IO : BS_OK;
}

enum bs_err
bs_sock_listen(const char *path, mode_t mode, uid_t owner, gid_t group, int *out)
{
	struct sockaddr_un addr;
	int fd = -1;
	enum bs_err err = make_addr(path, &addr);

	if (err == BS_OK)
		err = remove_dead(path, &addr);
	if (err == BS_OK)
		err = make_socket(&fd);
	if (err != BS_OK)
		return err;
	/* Linux gives the file the socket's own mode: 0 keeps everybody out until owner and mode are right. */
	if (fchmod(fd, 0) < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
		err = errno == EADDRINUSE ? BS_ERR_EXISTS : BS_ERR_IO;
		(void)close(fd);
		return err;
	}
	if (chown(path, owner, group) < 0 || chmod(path, mode) < 0 || listen(fd, BACKLOG) < 0) {
		(void)unlink(path);
		(void)close(fd);
		return BS_ERR_IO;
	}
	*out = fd;
	return BS_OK;
}

/* One try. BS_ERR_BUSY: the backlog is full, ask again. */
static enum bs_err
connect_once(int fd, const struct sockaddr_un *addr)
{
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
		return BS_OK;
	switch (errno) {
	case EAGAIN:
	case EINTR:
		return BS_ERR_BUSY;
	case ECONNREFUSED:
	case ENOENT:
	case ENOTDIR:
	case ENOTSOCK:
		return BS_ERR_UNAVAIL;
	case EACCES:
	case EPERM:
		return BS_ERR_PERM;
	default:
		return BS_ERR_IO;
	}
}

enum bs_err
bs_sock_connect(const char *path, int64_t deadline_ms, int *out)
{
	const struct timespec pause = { .tv_nsec = BACKLOG_RETRY_MS * 1000000L };
	struct sockaddr_un addr;
	int fd;
	enum bs_err err = make_addr(path, &addr);

	if (err == BS_OK)
		err = make_socket(&fd);
	if (err != BS_OK)
		return err;
	while ((err = connect_once(fd, &addr)) == BS_ERR_BUSY) {
		if (left_ms(deadline_ms) == 0) {
			err = BS_ERR_TIMEOUT;
			break;
		}
		(void)nanosleep(&pause, NULL);
	}
	if (err != BS_OK) {
		(void)close(fd);
		return err;
	}
	*out = fd;
	return BS_OK;
}

enum bs_err
bs_sock_accept(int listen_fd, int *out)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), one = 1;

	if (fd < 0)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS ? BS_ERR_NOMEM : BS_ERR_SHORT;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* a UNIX socket has no such option */
	*out = fd;
	return BS_OK;
}

enum bs_err
bs_sock_write(int fd, const void *data, size_t len, int64_t deadline_ms)
{
	const uint8_t *p = data;
	enum bs_err err;

	while (len > 0) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			err = bs_sock_wait(fd, POLLOUT, deadline_ms);
			if (err != BS_OK)
				return err;
		} else if (n == 0 || errno != EINTR) {
			return BS_ERR_IO;
		}
	}
	return BS_OK;
}

enum bs_err
bs_sock_read_some(int fd, void *data, size_t size, int64_t deadline_ms, size_t *n)
{
	for (;;) {
		ssize_t got = recv(fd, data, size, 0);
		enum bs_err err;

		if (got >= 0) {
			*n = (size_t)got;
			return BS_OK;
		}
		if (errno == EAGAIN) {
			err = bs_sock_wait(fd, POLLIN, deadline_ms);
			if (err != BS_OK)
				return err;
		} else if (errno != EINTR) {
			return BS_ERR_IO;
		}
	}
}

enum bs_err
bs_sock_read(int fd, void *data, size_t len, int64_t deadline_ms)
{
	uint8_t *p = data;

	while (len > 0) {
		size_t n = 0;
		enum bs_err err = bs_sock_read_some(fd, p, len, deadline_ms, &n);

		if (err != BS_OK)
			return err;
		if (n == 0)
			return BS_ERR_IO;
		p += n;
		len -= n;
	}
	return BS_OK;
}

enum bs_err
bs_sock_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 || len != sizeof(cred))
		return BS_ERR_IO;
	*pid = cred.pid;
	*uid = cred.uid;
	*gid = cred.gid;
	return BS_OK;
}
