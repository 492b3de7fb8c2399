#include "fdpass.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sock.h"

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static bool
must_wait(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ETOOMANYREFS;
}

enum bs_err
fdpass_send(int sock, const void *data, size_t len, int fd, int64_t deadline_ms)
{
	union control control = { .bytes = { 0 } };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len }; /* NOLINT(performance-no-int-to-ptr): sendmsg's type */
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *head;
	enum bs_err err = BS_OK;

	if (fd >= 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		head = CMSG_FIRSTHDR(&msg);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(head), &fd, sizeof(int));
	}
	while (err == BS_OK) {
		if (sendmsg(sock, &msg, MSG_NOSIGNAL) >= 0)
			return BS_OK;
		if (errno != EINTR)
			err = must_wait() ? bs_sock_wait(sock, POLLOUT, deadline_ms) : BS_ERR_IO;
		if (err == BS_OK && errno != EINTR && bs_now_ms() >= deadline_ms)
			err = BS_ERR_TIMEOUT;
	}
	return err;
}

/* The one descriptor of a message. BS_ERR_LIMIT: there were more, or something was cut off. */
static enum bs_err
take_fd(struct msghdr *msg, int *fd)
{
	struct cmsghdr *head = CMSG_FIRSTHDR(msg);

	*fd = -1;
	if (head != NULL && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS && head->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(head), sizeof(int));
	if ((msg->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0)
		return BS_OK;
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
	return BS_ERR_LIMIT;
}

enum bs_err
fdpass_recv(int sock, void *data, size_t size, int64_t deadline_ms, size_t *len, int *fd)
{
	union control control;
	struct iovec iov = { .iov_base = data, .iov_len = size };
	/* Not sizeof: the padding has room for a second descriptor, which nobody would close. */
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = CMSG_LEN(sizeof(int)) };
	ssize_t n;
	enum bs_err err;

	while ((n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC)) < 0) {
		if (errno == EINTR)
			continue;
		if (!must_wait())
			return BS_ERR_IO;
		err = bs_sock_wait(sock, POLLIN, deadline_ms);
		if (err != BS_OK)
			return err;
	}
	if (n == 0)
		return BS_ERR_IO; /* no message is empty */
	err = take_fd(&msg, fd);
	if (err == BS_OK)
		*len = (size_t)n;
	return err;
}
