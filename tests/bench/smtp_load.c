/*
 * smtp_load: sends messages through an SMTP server as different clients would, one a connection, and says how long it took.
 *
 *   smtp_load PORT CONNECTIONS COUNT FOLDER RECIPIENT...
 *
 * FOLDER holds messages with CRLF whose first line is "X-Envelope: ADDR SENDER": the client's address (by XCLIENT) and the
 * envelope sender; that line is not sent. ADDR "10.*": an address of 10/8 that is another one for each message sent.
 * Recipients take turns. Prints "SENT REFUSED SECONDS".
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGES_MAX 1000

struct message {
	char client[64], sender[256];
	char *data; /* dot-stuffed, ended by ".\r\n" */
	size_t len;
};

static struct {
	struct sockaddr_in server;
	struct message messages[MESSAGES_MAX];
	size_t n_messages;
	char **recipients;
	unsigned n_recipients;
	unsigned count;
	unsigned first; /* client below 10/8 */
	atomic_uint next, sent, refused;
} load;

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

/* One reply, of several lines perhaps; its code. */
static int
reply(FILE *in)
{
	char line[1024];

	do {
		if (fgets(line, sizeof(line), in) == NULL)
			return 0;
	} while (strlen(line) > 3 && line[3] == '-');
	return atoi(line);
}

static int
say(FILE *in, FILE *out, const char *text)
{
	(void)fputs(text, out);
	(void)fflush(out);
	return reply(in);
}

static bool
deliver(FILE *in, FILE *out, const struct message *m, unsigned number, const char *recipient)
{
	char line[700], client[64];

	if (reply(in) != 220 || say(in, out, "EHLO load.example\r\n") != 250)
		return false;
	if (strcmp(m->client, "10.*") == 0)
		(void)snprintf(client, sizeof(client), "10.%u.%u.%u", number >> 16 & 255, number >> 8 & 255, number & 255);
	else
		(void)snprintf(client, sizeof(client), "%s", m->client);
	(void)snprintf(line, sizeof(line), "XCLIENT ADDR=%s NAME=mx.%s HELO=mx.%s\r\n", client, strchr(m->sender, '@') + 1,
	    strchr(m->sender, '@') + 1);
	if (say(in, out, line) != 220)
		return false;
	(void)snprintf(line, sizeof(line), "EHLO mx.%s\r\n", strchr(m->sender, '@') + 1);
	if (say(in, out, line) != 250)
		return false;
	(void)snprintf(line, sizeof(line), "MAIL FROM:<%s>\r\n", m->sender);
	if (say(in, out, line) != 250)
		return false;
	(void)snprintf(line, sizeof(line), "RCPT TO:<%s>\r\n", recipient);
	if (say(in, out, line) != 250 || say(in, out, "DATA\r\n") != 354)
		return false;
	(void)fwrite(m->data, 1, m->len, out);
	(void)fflush(out);
	if (reply(in) != 250)
		return false;
	(void)say(in, out, "QUIT\r\n");
	return true;
}

static bool
session(const struct message *m, unsigned number, const char *recipient)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	FILE *in, *out;
	bool ok = false;

	if (fd < 0 || connect(fd, (struct sockaddr *)&load.server, sizeof(load.server)) != 0)
		die("connect");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	in = fdopen(fd, "r");
	out = fdopen(dup(fd), "w");
	if (in != NULL && out != NULL)
		ok = deliver(in, out, m, number, recipient);
	if (in != NULL)
		(void)fclose(in);
	if (out != NULL)
		(void)fclose(out);
	return ok;
}

static void *
worker(void *arg)
{
	unsigned i;

	(void)arg;
	while ((i = atomic_fetch_add(&load.next, 1)) < load.count) {
		if (session(&load.messages[i % load.n_messages], load.first + i, load.recipients[i % load.n_recipients]))
			atomic_fetch_add(&load.sent, 1);
		else
			atomic_fetch_add(&load.refused, 1);
	}
	return NULL;
}

static void
read_message(const char *path, struct message *m)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&m->data, &m->len);

	if (f == NULL || out == NULL || getline(&line, &size, f) < 0 ||
	    sscanf(line, "X-Envelope: %63s %255s", m->client, m->sender) != 2)
		die(path);
	while (getline(&line, &size, f) >= 0)
		(void)fprintf(out, "%s%s", line[0] == '.' ? "." : "", line);
	(void)fputs(".\r\n", out);
	(void)fclose(out);
	(void)fclose(f);
	free(line);
}

static void
read_folder(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	char path[1024];

	if (dir == NULL)
		die(folder);
	while ((entry = readdir(dir)) != NULL && load.n_messages < MESSAGES_MAX) {
		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		read_message(path, &load.messages[load.n_messages++]);
	}
	(void)closedir(dir);
}

int
main(int argc, char **argv)
{
	pthread_t threads[256];
	struct timespec a, b;
	int n;

	if (argc < 6 || (n = atoi(argv[2])) < 1 || n > 256) {
		(void)fprintf(stderr, "usage: smtp_load PORT CONNECTIONS COUNT FOLDER RECIPIENT...\n");
		return 2;
	}
	load.server = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	load.count = (unsigned)atoi(argv[3]);
	(void)clock_gettime(CLOCK_REALTIME, &a);
	load.first = (unsigned)a.tv_nsec ^ (unsigned)a.tv_sec << 16;
	read_folder(argv[4]);
	load.recipients = argv + 5;
	load.n_recipients = (unsigned)(argc - 5);
	(void)clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, worker, NULL) != 0)
			die("thread");
	for (int i = 0; i < n; i++)
		(void)pthread_join(threads[i], NULL);
	(void)clock_gettime(CLOCK_MONOTONIC, &b);
	(void)printf("%u %u %.4f\n", atomic_load(&load.sent), atomic_load(&load.refused),
	    (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9);
	return 0;
}
