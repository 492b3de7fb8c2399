#include "proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "inbound.h"
#include "jail.h"
#include "proxyctl.h"
#include "sock.h"
#include "threads.h"

#define STACK 524288 /* a thread's: 100 KiB of it are buffers */
#define IDLE_MAX 16  /* threads that wait for a client */
#define DRAIN_LOOK_MS 20

/* What threads, sockets, the key file and syslog need beyond bs_jail_calls_base. No execve. */
static const char *const calls[] = {
	"clone", "clone3", "set_robust_list", "rseq", "accept4", "socket", "connect", "getsockopt", "setsockopt", "recvfrom",
	"getsockname", "getpeername", "shutdown", "open", "openat", "stat", "statx", "geteuid", "getuid", "prlimit64", "pipe2", "uname", NULL,
};

struct proxy {
	struct inbound_site site;
	struct tally tally;
	struct bs_verdict_keys *keys;
	struct bs_threads *threads;
	size_t clients_max;
	int stop[2]; /* its end closes when we stop */
	int signals;
};

/* One client's thread gets this. */
struct visit {
	struct proxy *proxy;
	int fd;
};

static void
complain(void *ctx, const char *text)
{
	(void)ctx;
	bs_log(BS_LOG_WARNING, "%s", text);
}

static int64_t
now_s(void)
{
	return (int64_t)time(NULL);
}

static void
make_site(struct proxy *p, const struct proxyconf *conf)
{
	p->clients_max = (size_t)conf->clients_max;
	p->site = (struct inbound_site){
		.delivery = {
			.where = { .connect = backend_connect, .addr = conf->backend_addr, .name = conf->name, .open_ms = conf->open_ms },
			.limits = { .groups_max = (size_t)conf->copies_max, .setup_ms = conf->setup_ms, .data_ms = conf->data_ms,
			    .answer_ms = conf->answer_ms },
			.keys = p->keys,
			.tally = &p->tally,
			.now_s = now_s,
		},
		.recipients_max = (size_t)conf->recipients_max,
		.idle_ms = conf->idle_ms,
		.reply_ms = conf->reply_ms,
		.stop_fd = p->stop[0],
	};
}

static enum bs_err
shut_in(const struct proxyconf *conf, pid_t parent)
{
	static const char *const *const allowed[] = { bs_jail_calls_base, calls, NULL };
	/* Each client: its own socket, a backend's for each copy, a spare one; and what the process has. */
	uint64_t files = (uint64_t)conf->clients_max * (uint64_t)(conf->copies_max + 2) + 64;
	enum bs_err err = bs_jail_privileges();

	if (bs_jail_raise_limit(RLIMIT_NOFILE, files) < files)
		bs_log(BS_LOG_WARNING, "fewer open files than clients_max and copies_max may need (%llu)", (unsigned long long)files);
	if (err == BS_OK)
		err = bs_jail_die_with(parent);
	return err == BS_OK ? bs_jail_calls(allowed, NULL) : err;
}

static void
visit(void *arg)
{
	struct visit *v = arg;
	struct proxy *p = v->proxy;

	inbound_run(&p->site, v->fd);
	(void)atomic_fetch_sub(&p->tally.sessions_open, 1);
	free(v);
}

static bool
start_visit(struct proxy *p, int fd)
{
	struct visit *v = malloc(sizeof(*v));

	if (v == NULL)
		return false;
	*v = (struct visit){ .proxy = p, .fd = fd };
	(void)atomic_fetch_add(&p->tally.sessions_open, 1);
	if (bs_threads_run(p->threads, visit, v))
		return true;
	(void)atomic_fetch_sub(&p->tally.sessions_open, 1);
	free(v);
	return false;
}

static void
take_client(struct proxy *p, int listen_fd)
{
	static const char full[] = "421 4.3.2 Too many connections\r\n";
	int fd = -1;
	enum bs_err err = bs_sock_accept(listen_fd, &fd);

	if (err == BS_ERR_NOMEM) {
		(void)nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL); /* no descriptors: it would be asked again at once */
		return;
	}
	if (err != BS_OK)
		return;
	if (atomic_load(&p->tally.sessions_open) < p->clients_max && start_visit(p, fd)) {
		tally_add(&p->tally.sessions);
		return;
	}
	tally_add(&p->tally.sessions_refused);
	if (bs_sock_write(fd, full, sizeof(full) - 1, 0) != BS_OK)
		bs_log(BS_LOG_DEBUG, "a refused client did not wait for the reason");
	(void)close(fd);
}

static void
serve(struct proxy *p, int listen_fd)
{
	for (;;) {
		struct pollfd fds[2] = { { .fd = p->signals, .events = POLLIN }, { .fd = listen_fd, .events = POLLIN } };

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return;
		if (fds[0].revents != 0)
			return;
		if (fds[1].revents != 0)
			take_client(p, listen_fd);
	}
}

/* Threads between two messages end at once, the others when their message has ended. */
static void
drain(struct proxy *p, int64_t drain_ms)
{
	int64_t deadline_ms = bs_now_ms() + drain_ms;

	(void)close(p->stop[1]);
	while (atomic_load(&p->tally.sessions_open) > 0 && bs_now_ms() < deadline_ms)
		(void)nanosleep(&(struct timespec){ .tv_nsec = DRAIN_LOOK_MS * 1000000L }, NULL);
	if (atomic_load(&p->tally.sessions_open) > 0)
		bs_log(BS_LOG_WARNING, "stopping with messages under way; they are deferred");
}

/* SIGTERM comes as something to read; every thread inherits that it is blocked. */
static bool
prepare_end(struct proxy *p)
{
	sigset_t set;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	p->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return p->signals >= 0 && pipe2(p->stop, O_CLOEXEC) == 0;
}

int
proxy_run(const struct proxyconf *conf, int listen_fd, int control_fd, pid_t parent)
{
	static struct proxy p; /* threads may outlive this function's end */
	char why[512] = "";
	enum bs_err err;

	p.threads = bs_threads_new(STACK, IDLE_MAX, BS_THREADS_IDLE_MS);
	if (p.threads == NULL || !prepare_end(&p))
		return EXIT_TEMPORARY;
	if (bs_crypto_init() != BS_OK)
		return EXIT_FAILED;
	err = bs_verdict_keys_open(conf->key_file, conf->verdict_lifetime_s, complain, NULL, &p.keys, why, sizeof(why));
	if (err != BS_OK) {
		bs_log(BS_LOG_FATAL, "lmtp.key_file: %s; \"basaltctl verdict-key new\" makes one", why);
		return EXIT_CONFIG;
	}
	make_site(&p, conf);
	json_object_seed(0); /* before the jail: it reads /dev/urandom */
	err = shut_in(conf, parent);
	if (err == BS_OK)
		err = proxyctl_start(control_fd, &p.tally);
	if (err != BS_OK) {
		bs_log(BS_LOG_FATAL, "shutting the process in: %s", bs_err_text(err));
		return EXIT_TEMPORARY;
	}
	bs_log(BS_LOG_INFO, "basalt-lmtp " LMTP_VERSION " serves on %s", conf->listen);
	serve(&p, listen_fd);
	drain(&p, conf->drain_ms);
	bs_threads_free(p.threads);
	return EXIT_SUCCESS;
}
