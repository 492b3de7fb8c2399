/* dns_query: what a fuzzer's DNS keeps of a question: the answer is known when it is asked. For tests/fuzz alone. */
#ifndef FUZZ_DNS_QUERY_H
#define FUZZ_DNS_QUERY_H

#include <stdlib.h>

#include "milter/dns.h"

struct dns_query {
	enum dns_status status;
	struct dns_answer *answer;
};

static enum dns_status
query_finish(struct dns *dns, struct dns_query *query, struct dns_answer **out)
{
	enum dns_status status = query->status;

	(void)dns;
	if (status == DNS_FOUND)
		*out = query->answer;
	free(query);
	return status;
}

#endif
