#include "spf_priv.h"

#include <string.h>
#include <strings.h>

enum dns_type
spf_addr_type(const struct spf_eval *eval)
{
	return eval->addr_len == 4 ? DNS_A : DNS_AAAA;
}

bool
spf_addr_matches(const struct spf_eval *eval, const uint8_t *network, unsigned bits)
{
	unsigned bytes = bits / 8, left = bits % 8;

	if (bytes > eval->addr_len || memcmp(eval->addr, network, bytes) != 0)
		return false;
	return left == 0 || ((eval->addr[bytes] ^ network[bytes]) & (0xff00U >> left) & 0xffU) == 0;
}

bool
spf_addr_in(const struct spf_eval *eval, const struct dns_answer *answer, unsigned bits)
{
	for (size_t i = 0; i < answer->n; i++)
		if (answer->records[i].len == eval->addr_len && spf_addr_matches(eval, answer->records[i].data, bits))
			return true;
	return false;
}

/* Whether the client's address is among the name's; an error means no (section 5.5). */
static bool
leads_back(const struct spf_eval *eval, const char *name)
{
	struct dns_answer *answer = NULL;
	bool found = false;

	if (dns_ask(eval->request->dns, name, spf_addr_type(eval), eval->request->deadline_ms, &answer) == DNS_FOUND)
		found = spf_addr_in(eval, answer, (unsigned)eval->addr_len * 8);
	dns_answer_unref(answer);
	return found;
}

const struct spf_ptr *
spf_ptr_names(struct spf_eval *eval)
{
	struct spf_ptr *ptr = &eval->ptr;
	struct dns_answer *answer = NULL;
	char reverse[DNS_REVERSE_MAX];

	if (ptr->asked)
		return ptr;
	ptr->asked = true;
	dns_reverse(eval->addr, eval->addr_len, reverse);
	ptr->status = dns_ask(eval->request->dns, reverse, DNS_PTR, eval->request->deadline_ms, &answer);
	for (size_t i = 0; answer != NULL && i < answer->n && i < SPF_HOSTS_MAX; i++) {
		const char *name = (const char *)answer->records[i].data;

		if (answer->records[i].len <= DNS_NAME_MAX && dns_name_ok(name) && leads_back(eval, name))
			memcpy(ptr->names[ptr->n++], name, answer->records[i].len + 1);
	}
	dns_answer_unref(answer);
	return ptr;
}

/* Without a final dot. */
static size_t
len_of(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && name[len - 1] == '.' ? len - 1 : len;
}

bool
spf_ptr_under(const char *name, const char *domain)
{
	size_t len = len_of(name), below = len_of(domain);

	if (len < below || strncasecmp(name + len - below, domain, below) != 0)
		return false;
	return len == below || name[len - below - 1] == '.';
}

const char *
spf_ptr_best(struct spf_eval *eval, const char *domain)
{
	const struct spf_ptr *ptr = spf_ptr_names(eval);
	const char *best = ptr->n > 0 ? ptr->names[0] : "unknown";

	for (size_t i = ptr->n; i-- > 0;)
		if (spf_ptr_under(ptr->names[i], domain))
			best = ptr->names[i];
	for (size_t i = 0; i < ptr->n; i++)
		if (spf_ptr_under(ptr->names[i], domain) && len_of(ptr->names[i]) == len_of(domain))
			return ptr->names[i];
	return best;
}
