#include "succession.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "handover.h"
#include "sock.h"
#include "wire.h"

#define MAGIC "BSKL"
#define MAGIC_LEN 4
#define CHECK_MS 10000

enum bs_err
succession_bytes(const struct roleset *set, const char *run_dir, uint8_t *out, size_t *len)
{
	struct bs_wr wr = bs_wr_init(out, SUCCESSION_LEN_MAX);

	bs_wr_bytes(&wr, MAGIC, MAGIC_LEN);
	bs_wr_u16(&wr, HANDOVER_VERSION);
	bs_wr_str16(&wr, run_dir, strlen(run_dir));
	for (unsigned i = 0; i < KEYD_SOCKETS; i++)
		bs_wr_u32(&wr, (uint32_t)set->wires.listen[i]);
	for (unsigned i = 0; i < HEIRS; i++)
		bs_wr_u32(&wr, (uint32_t)set->wires.ctl[i][0]);
	bs_wr_u32(&wr, set->wires.policy[1] < 0 ? 0 : (uint32_t)set->wires.policy[1]);
	bs_wr_u8(&wr, (uint8_t)set->count);
	for (unsigned i = 0; i < set->count; i++) {
		bs_wr_u32(&wr, (uint32_t)set->children[i].pid);
		bs_wr_u8(&wr, (uint8_t)set->children[i].role);
		bs_wr_u8(&wr, (uint8_t)set->children[i].index);
	}
	*len = wr.len;
	return wr.failed ? BS_ERR_LIMIT : BS_OK;
}

static int
check_fd(struct bs_rd *rd, uint32_t fd)
{
	if (fd <= STDERR_FILENO || fd > 65535)
		rd->failed = true;
	return (int)fd;
}

static int
read_fd(struct bs_rd *rd)
{
	return check_fd(rd, bs_rd_u32(rd));
}

static bool
read_child(struct bs_rd *rd, struct child *child)
{
	uint32_t pid = bs_rd_u32(rd);
	uint8_t role = bs_rd_u8(rd), index = bs_rd_u8(rd);

	child->pid = (pid_t)pid;
	child->role = (enum keyd_role)role;
	child->index = index;
	return !rd->failed && (pid > 1 || (pid == 0 && role == ROLE_POLICY)) && pid <= INT32_MAX && role < ROLE_COUNT
	    && index < (role == ROLE_FRONT ? KEYD_SOCKETS : role == ROLE_KDF ? KEYD_KDF_WORKERS_MAX : 1);
}

enum bs_err
succession_parse(const void *data, size_t len, struct roleset *out, char *run_dir, size_t size)
{
	struct bs_rd rd = bs_rd_init(data, len);
	const uint8_t *magic = bs_rd_bytes(&rd, MAGIC_LEN);
	uint16_t version = bs_rd_u16(&rd);
	struct roleset set = { .count = 0 };
	uint32_t policy;
	uint8_t count;

	if (rd.failed || memcmp(magic, MAGIC, MAGIC_LEN) != 0)
		return BS_ERR_FORMAT;
	if (version != HANDOVER_VERSION)
		return BS_ERR_VERSION;
	roleset_init(&set);
	bs_rd_cstr16(&rd, run_dir, size);
	for (unsigned i = 0; i < KEYD_SOCKETS; i++)
		set.wires.listen[i] = read_fd(&rd);
	for (unsigned i = 0; i < HEIRS; i++)
		set.wires.ctl[i][0] = read_fd(&rd);
	policy = bs_rd_u32(&rd);
	if (policy != 0)
		set.wires.policy[1] = check_fd(&rd, policy);
	count = bs_rd_u8(&rd);
	if (rd.failed || count == 0 || count > ROLES_MAX)
		return BS_ERR_FORMAT;
	for (; set.count < count; set.count++) {
		if (!read_child(&rd, &set.children[set.count]))
			return BS_ERR_FORMAT;
	}
	if (!bs_rd_done(&rd))
		return BS_ERR_FORMAT;
	*out = set;
	return BS_OK;
}

enum bs_err
succession_read(int fd, struct roleset *set, char *run_dir, size_t size)
{
	uint8_t data[SUCCESSION_LEN_MAX];
	ssize_t n = pread(fd, data, sizeof(data), 0);

	return n < 0 ? BS_ERR_IO : succession_parse(data, (size_t)n, set, run_dir, size);
}

enum bs_err
succession_check(int fd, const struct keydconf *conf, char *errbuf, size_t size)
{
	struct roleset set;
	char run_dir[RUN_DIR_MAX];
	enum bs_err err = succession_read(fd, &set, run_dir, sizeof(run_dir));

	if (err == BS_OK && strcmp(run_dir, conf->run_dir) == 0)
		return BS_OK;
	if (err == BS_OK)
		(void)snprintf(errbuf, size, "keyd.run_dir is \"%s\" no more: that needs a restart", run_dir);
	else if (err == BS_ERR_VERSION)
		(void)snprintf(errbuf, size, "this version does not understand what the running one would leave to it: that needs a restart");
	else
		(void)snprintf(errbuf, size, "--heir is for basalt-keyd itself: %s", bs_err_text(err));
	return BS_ERR_CONF;
}

/* --- the image that goes --- */

static int
make_file(const struct roleset *set, const char *run_dir)
{
	uint8_t data[SUCCESSION_LEN_MAX];
	size_t len;
	int fd;

	if (succession_bytes(set, run_dir, data, &len) != BS_OK)
		return -1;
	fd = memfd_create("basalt-keyd", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -1;
	/* The program that is asked gets it first, and may be anything: the next image reads what this one wrote. */
	if (write(fd, data, len) == (ssize_t)len && fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

/* Whether a descriptor stays open over an execve(). */
static void
keep_open(int fd, bool keep)
{
	if (fd >= 0)
		(void)fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

static void
run_program(const struct program *program, int fd, bool check)
{
	char number[16];
	const char *argv[7] = { program->path, "-c", program->conf_path, "--heir", number, check ? "--check-config" : NULL, NULL };

	(void)snprintf(number, sizeof(number), "%d", fd);
	keep_open(fd, true);
	(void)execv(program->path, (char *const *)(uintptr_t)argv); /* NOLINT(performance-no-int-to-ptr): execv's type */
}

/* A child of ours: what it says of errors goes into the pipe. */
static void
run_check(const struct program *program, int fd, int pipe_fd)
{
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(pipe_fd, STDERR_FILENO) >= 0)
		run_program(program, fd, true);
	(void)dprintf(STDERR_FILENO, "%s: %s", program->path, strerror(errno));
	_exit(127);
}

/* The first line of what a check said; nothing if it goes on for too long. */
static void
read_words(int fd, int64_t deadline_ms, char *errbuf, size_t size)
{
	size_t len = 0, n = 1;

	while (len + 1 < size && n > 0 && bs_sock_wait(fd, POLLIN, deadline_ms) == BS_OK) {
		ssize_t got = read(fd, errbuf + len, size - 1 - len);

		n = got > 0 ? (size_t)got : 0;
		len += n;
	}
	errbuf[len] = '\0';
	errbuf[strcspn(errbuf, "\n")] = '\0';
}

/* The child's exit status; it is given until the deadline. -1: it had to be killed, or was. */
static int
wait_check(pid_t pid, int64_t deadline_ms)
{
	const struct timespec nap = { .tv_nsec = 10000000 };
	int status;
	pid_t ended;

	while ((ended = waitpid(pid, &status, WNOHANG)) == 0) {
		if (bs_now_ms() > deadline_ms)
			(void)kill(pid, SIGKILL);
		(void)nanosleep(&nap, NULL);
	}
	return ended == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool
ask_program(const struct program *program, int fd, char *errbuf, size_t size)
{
	int64_t deadline = bs_now_ms() + CHECK_MS;
	int ends[2], status;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return false;
	pid = fork();
	if (pid == 0)
		run_check(program, fd, ends[1]);
	(void)close(ends[1]);
	if (pid > 0)
		read_words(ends[0], deadline, errbuf, size);
	(void)close(ends[0]);
	status = pid > 0 ? wait_check(pid, deadline) : -1;
	if (status != 0 && errbuf[0] == '\0')
		(void)snprintf(errbuf, size, "%s --check-config ended with %d", program->path, status);
	return status == 0;
}

static void
keep_all_open(const struct roleset *set, bool keep)
{
	for (unsigned i = 0; i < KEYD_SOCKETS; i++)
		keep_open(set->wires.listen[i], keep);
	for (unsigned i = 0; i < HEIRS; i++)
		keep_open(set->wires.ctl[i][0], keep);
	keep_open(set->wires.policy[1], keep);
}

void
succession_start(const struct program *program, const struct roleset *set, const char *run_dir, char *errbuf, size_t size)
{
	int fd = make_file(set, run_dir);

	(void)snprintf(errbuf, size, "%s", "");
	if (fd >= 0 && ask_program(program, fd, errbuf, size)) {
		keep_all_open(set, true);
		run_program(program, fd, false);
		(void)snprintf(errbuf, size, "%s: %s", program->path, strerror(errno));
		keep_all_open(set, false);
	}
	if (errbuf[0] == '\0')
		(void)snprintf(errbuf, size, "no descriptor or no memory for it");
	if (fd >= 0)
		(void)close(fd);
}
