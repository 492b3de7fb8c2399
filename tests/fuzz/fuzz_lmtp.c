/* fuzz_lmtp: basalt-lmtp's two dialogues at once. The input is what a client says, a NUL line "\0\0", and what every backend
 * answers; "@V@" in it becomes a sealed verdict for u1@a.b to u6@a.b, an outcome each. To the client go reply lines alone, and
 * no backend reads our field. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "inbound.h"
#include "log.h"

#define CONNECTIONS 64
#define INPUT_MAX 8192
#define NOW 1800000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	const uint8_t *script; /* what backends answer */
	size_t script_len;
	int ends[CONNECTIONS];
	size_t n;
} far_side;

static void
need(bool ok)
{
	if (!ok)
		abort();
}

static enum bs_err
connect_script(const struct backend_where *where, int64_t deadline_ms, int *fd)
{
	int pair[2];

	(void)where;
	(void)deadline_ms;
	if (far_side.n == CONNECTIONS || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
		return BS_ERR_UNAVAIL;
	need(far_side.script_len == 0 || send(pair[1], far_side.script, far_side.script_len, 0) == (ssize_t)far_side.script_len);
	(void)shutdown(pair[1], SHUT_WR);
	far_side.ends[far_side.n++] = pair[1];
	*fd = pair[0];
	return BS_OK;
}

static int64_t
now_s(void)
{
	return NOW;
}

static struct bs_verdict_keys *
make_keys(void)
{
	struct bs_verdict_keyfile *file = calloc(1, sizeof(*file));
	struct bs_verdict_keys *keys;
	char dir[] = "/tmp/basalt-fuzz-XXXXXX", path[64], why[256];

	need(bs_crypto_init() == BS_OK && file != NULL && mkdtemp(dir) != NULL);
	(void)snprintf(path, sizeof(path), "%s/keys", dir);
	need(bs_verdict_keyfile_add(file, 1) == BS_OK);
	need(bs_verdict_keyfile_write(path, file, true, (gid_t)-1, why, sizeof(why)) == BS_OK);
	need(bs_verdict_keys_open(path, BS_VERDICT_LIFETIME_S, NULL, NULL, &keys, why, sizeof(why)) == BS_OK);
	(void)unlink(path);
	(void)rmdir(dir);
	free(file);
	return keys;
}

static struct bs_buf *
make_verdict(struct bs_verdict_keys *keys)
{
	static const struct bs_verdict_part parts[] = {
		{ .what = BS_VERDICT_DROP },
		{ .what = BS_VERDICT_REJECT, .code = "550", .status = "5.7.1", .text = "no" },
		{ .what = BS_VERDICT_DELIVER, .folder = "A b", .label = "[x]", .label_subject = true },
		{ .what = BS_VERDICT_DELIVER, .label = "\xc3\x9c", .label_subject = true, .note = "n" },
		{ .what = BS_VERDICT_DELIVER, .keep_detail = true, .label = "l" },
		{ .what = BS_VERDICT_DELIVER },
	};
	struct bs_buf *value = bs_buf_new(BS_VERDICT_FIELD_MAX);
	struct bs_verdict_writer *w;

	need(bs_verdict_writer_new(keys, NOW, &w) == BS_OK && bs_buf_append(value, BS_VERDICT_FIELD ":", 17) == BS_OK);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		char address[16];

		(void)snprintf(address, sizeof(address), "u%zu@a.b", i + 1);
		need(bs_verdict_writer_add(w, address, &parts[i]) == BS_OK);
	}
	need(bs_verdict_writer_value(w, value) == BS_OK && bs_buf_append(value, "\r\n", 2) == BS_OK);
	bs_verdict_writer_free(w);
	return value;
}

/* What the client says, with the verdict put in. */
static void
say(int fd, const uint8_t *data, size_t size, const struct bs_buf *verdict)
{
	const uint8_t *mark = memmem(data, size, "@V@", 3);
	size_t front = mark == NULL ? size : (size_t)(mark - data);

	need(front == 0 || send(fd, data, front, 0) == (ssize_t)front);
	if (mark != NULL) {
		need(send(fd, bs_buf_data(verdict), bs_buf_len(verdict), 0) == (ssize_t)bs_buf_len(verdict));
		need(size - front == 3 || send(fd, mark + 3, size - front - 3, 0) == (ssize_t)(size - front - 3));
	}
	(void)shutdown(fd, SHUT_WR);
}

static size_t
read_all(int fd, char *text, size_t size)
{
	size_t n = 0;
	ssize_t got;

	while (n < size - 1 && (got = read(fd, text + n, size - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = '\0';
	(void)close(fd);
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bs_verdict_keys *keys;
	static struct bs_buf *verdict;
	static struct tally tally;
	static char text[4 << 20];
	struct inbound_site site = {
		.delivery = { .where = { .connect = connect_script, .name = "fuzz", .open_ms = 5 },
		    .limits = { .groups_max = 4, .setup_ms = 5, .data_ms = 5, .answer_ms = 5 }, .tally = &tally, .now_s = now_s },
		.recipients_max = 20, .idle_ms = 5, .reply_ms = 5, .stop_fd = -1,
	};
	const uint8_t *cut = memmem(data, size, "\0\0", 2);
	int pair[2];

	if (size > INPUT_MAX)
		return 0;
	if (keys == NULL) {
		bs_log_level(BS_LOG_ERROR);
		keys = make_keys();
		verdict = make_verdict(keys);
	}
	site.delivery.keys = keys;
	far_side.script = cut == NULL ? data + size : cut + 2;
	far_side.script_len = (size_t)(data + size - far_side.script);
	far_side.n = 0;
	need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	say(pair[1], data, cut == NULL ? size : (size_t)(cut - data), verdict);
	inbound_run(&site, pair[0]);
	(void)read_all(pair[1], text, sizeof(text));
	for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
		need(strspn(line, "0123456789") == 3 && (line[3] == ' ' || line[3] == '-'));
		need(strchr(line, '\n') != NULL);
	}
	for (size_t i = 0; i < far_side.n; i++) {
		(void)read_all(far_side.ends[i], text, sizeof(text));
		if (memmem(data, size, "MAIL", 4) == NULL)
			need(strstr(text, "\r\n.\r\n") == NULL);
	}
	return 0;
}
