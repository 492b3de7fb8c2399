/*
 * dns_ask: the milter's resolver as a program, for tests: commands on standard input, an answer line each.
 *
 *   dns_ask SERVERS PENDING_MAX
 *     ask TYPE NAME MS            -> STATUS ELAPSED_MS TTL RECORD...   (TXT in hex, MX as PREFERENCE/NAME)
 *     many N TYPE NAME MS         -> FOUND NO_NAME NO_DATA TEMPORARY ELAPSED_MS   (N at a time: 0.NAME, 1.NAME ...)
 *     threads N TYPE NAME MS      -> the same, by 8 threads that ask N names each, one after the other; all ask the same
 *     stats                       -> QUERIES HITS TIMEOUTS SERVFAILS REFUSED PENDING CACHED
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "milter/dns_unbound.h"
#include "sock.h"

#define MANY_MAX 5000
#define THREADS 8

static enum dns_type
type_of(const char *name)
{
	static const struct {
		const char *name;
		enum dns_type type;
	} types[] = { { "A", DNS_A }, { "AAAA", DNS_AAAA }, { "MX", DNS_MX }, { "PTR", DNS_PTR }, { "TXT", DNS_TXT } };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].name, name) == 0)
			return types[i].type;
	exit(2);
}

static void
print_record(enum dns_type type, const struct dns_record *record)
{
	char text[INET6_ADDRSTRLEN] = "";

	putchar(' ');
	if (type == DNS_A || type == DNS_AAAA) {
		fputs(inet_ntop(type == DNS_A ? AF_INET : AF_INET6, record->data, text, sizeof(text)), stdout);
	} else if (type == DNS_TXT) {
		for (size_t i = 0; i < record->len; i++)
			printf("%02x", record->data[i]);
	} else {
		if (type == DNS_MX)
			printf("%u/", record->preference);
		fputs((const char *)record->data, stdout);
	}
}

static void
ask(struct dns *dns, const char *type_name, const char *name, int ms)
{
	static const char *const words[] = { "found", "no-name", "no-data", "temporary" };
	enum dns_type type = type_of(type_name);
	struct dns_answer *answer = NULL;
	int64_t began = bs_now_ms();
	enum dns_status status = dns_ask(dns, name, type, began + ms, &answer);

	printf("%s %" PRId64 " %u", words[status], bs_now_ms() - began, answer != NULL ? answer->ttl_s : 0);
	for (size_t i = 0; answer != NULL && i < answer->n; i++)
		print_record(type, &answer->records[i]);
	putchar('\n');
	dns_answer_unref(answer);
}

static void
many(struct dns *dns, int n, const char *type_name, const char *name, int ms)
{
	static struct dns_query *queries[MANY_MAX];
	unsigned counts[4] = { 0 };
	int64_t began = bs_now_ms();
	char full[600];

	for (int i = 0; i < n && i < MANY_MAX; i++) {
		snprintf(full, sizeof(full), "%d.%s", i, name);
		queries[i] = dns_begin(dns, full, type_of(type_name), began + ms);
	}
	for (int i = 0; i < n && i < MANY_MAX; i++) {
		struct dns_answer *answer = NULL;

		counts[dns_finish(dns, queries[i], &answer)]++;
		dns_answer_unref(answer);
	}
	printf("%u %u %u %u %" PRId64 "\n", counts[0], counts[1], counts[2], counts[3], bs_now_ms() - began);
}

struct asker {
	struct dns *dns;
	int n, ms;
	enum dns_type type;
	const char *name;
	unsigned counts[4];
};

static void *
ask_all(void *arg)
{
	struct asker *asker = arg;
	char full[600];

	for (int i = 0; i < asker->n; i++) {
		struct dns_answer *answer = NULL;

		snprintf(full, sizeof(full), "%d.%s", i, asker->name);
		asker->counts[dns_ask(asker->dns, full, asker->type, bs_now_ms() + asker->ms, &answer)]++;
		dns_answer_unref(answer);
	}
	return NULL;
}

static void
threads(struct dns *dns, int n, const char *type_name, const char *name, int ms)
{
	struct asker askers[THREADS];
	pthread_t ids[THREADS];
	unsigned counts[4] = { 0 };
	int64_t began = bs_now_ms();

	for (int i = 0; i < THREADS; i++) {
		askers[i] = (struct asker){ .dns = dns, .n = n, .ms = ms, .type = type_of(type_name), .name = name };
		if (pthread_create(&ids[i], NULL, ask_all, &askers[i]) != 0)
			exit(1);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(ids[i], NULL);
		for (int k = 0; k < 4; k++)
			counts[k] += askers[i].counts[k];
	}
	printf("%u %u %u %u %" PRId64 "\n", counts[0], counts[1], counts[2], counts[3], bs_now_ms() - began);
}

static void
stats(struct dns_unbound *resolver)
{
	struct dns_unbound_stats s;

	dns_unbound_stats(resolver, &s);
	printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %u %zu\n", s.queries, s.cache_hits, s.timeouts,
	    s.servfails, s.refused, s.pending, s.cached);
}

int
main(int argc, char **argv)
{
	struct dns_unbound_settings settings = { .cache_entries = 1000 };
	struct dns_unbound *resolver;
	char line[1024], type[16], name[512];
	int n, ms;

	if (argc != 3)
		return 2;
	settings.servers = argv[1];
	settings.pending_max = (unsigned)strtoul(argv[2], NULL, 10);
	if (dns_unbound_new(&settings, &resolver) != BS_OK)
		return 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin) != NULL) {
		if (sscanf(line, "ask %15s %511s %d", type, name, &ms) == 3)
			ask(dns_unbound(resolver), type, name, ms);
		else if (sscanf(line, "many %d %15s %511s %d", &n, type, name, &ms) == 4)
			many(dns_unbound(resolver), n, type, name, ms);
		else if (sscanf(line, "threads %d %15s %511s %d", &n, type, name, &ms) == 4)
			threads(dns_unbound(resolver), n, type, name, ms);
		else if (strcmp(line, "stats\n") == 0)
			stats(resolver);
		else
			return 2;
	}
	dns_unbound_free(resolver);
	return 0;
}
