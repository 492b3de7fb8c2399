/* The other engine: libspf2, which asks our DNS through a layer of its own. */
#include "spf_priv.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <spf2/spf.h>

#define NO_EXPLANATION "-" /* instead of libspf2's own text */

/* libspf2's number for what became of a query. */
static int
stat_of(enum dns_status status)
{
	switch (status) {
	case DNS_FOUND:
		return NETDB_SUCCESS;
	case DNS_NO_NAME:
		return HOST_NOT_FOUND;
	case DNS_NO_DATA:
		return NO_DATA;
	default:
		return TRY_AGAIN;
	}
}

/* Copies one record; texts with a NUL end there, since libspf2 takes C strings. */
static bool
copy_record(SPF_dns_rr_t *rr, int i, ns_type type, const struct dns_record *record)
{
	if (SPF_dns_rr_buf_realloc(rr, i, record->len + 1 > sizeof(SPF_dns_rr_data_t) ? record->len + 1
	                                                                              : sizeof(SPF_dns_rr_data_t)) != 0)
		return false;
	if (type == ns_t_a || type == ns_t_aaaa)
		memcpy(rr->rr[i], record->data, record->len);
	else
		memcpy(rr->rr[i]->txt, record->data, record->len + 1);
	return true;
}

static SPF_dns_rr_t *
lookup(SPF_dns_server_t *server, const char *domain, ns_type type, int should_cache)
{
	const struct spf_request *request = server->hook;
	struct dns_answer *answer = NULL;
	enum dns_status status = DNS_NO_DATA;
	SPF_dns_rr_t *rr;

	(void)should_cache;
	if (type == ns_t_a || type == ns_t_aaaa || type == ns_t_mx || type == ns_t_ptr || type == ns_t_txt)
		status = dns_ask(request->dns, domain, (enum dns_type)type, request->deadline_ms, &answer);
	rr = SPF_dns_rr_new_init(server, domain, type, 0, stat_of(status));
	for (size_t i = 0; rr != NULL && answer != NULL && i < answer->n; i++) {
		if (!copy_record(rr, (int)i, type, &answer->records[i]))
			break;
		rr->num_rr = (int)i + 1;
	}
	dns_answer_unref(answer);
	return rr;
}

/* What a check that came to no result failed of; a record that it could not read is the domain's fault. */
static enum spf_result
result_of_error(SPF_errcode_t err)
{
	switch (err) {
	case SPF_E_SUCCESS:
	case SPF_E_NO_MEMORY:
	case SPF_E_INTERNAL_ERROR:
	case SPF_E_DNS_ERROR:
	case SPF_E_NOT_CONFIG:
		return SPF_TEMPERROR;
	default: /* SPF_E_NOT_SPF too: it says so of a record that it can't parse */
		return SPF_PERMERROR;
	}
}

static enum spf_result
result_of(SPF_response_t *response, SPF_errcode_t err)
{
	if (response == NULL)
		return result_of_error(err);
	switch (SPF_response_result(response)) {
	case SPF_RESULT_NONE:
		return SPF_NONE;
	case SPF_RESULT_NEUTRAL:
		return SPF_NEUTRAL;
	case SPF_RESULT_PASS:
		return SPF_PASS;
	case SPF_RESULT_FAIL:
		return SPF_FAIL;
	case SPF_RESULT_SOFTFAIL:
		return SPF_SOFTFAIL;
	case SPF_RESULT_PERMERROR:
		return SPF_PERMERROR;
	case SPF_RESULT_TEMPERROR:
		return SPF_TEMPERROR;
	default:
		return result_of_error(err);
	}
}

static bool
set_request(const struct spf_eval *eval, SPF_request_t *request)
{
	SPF_errcode_t err = eval->addr_len == 4 ? SPF_request_set_ipv4_str(request, eval->client)
	                                        : SPF_request_set_ipv6_str(request, eval->client);

	return err == SPF_E_SUCCESS && SPF_request_set_helo_dom(request, eval->helo) == SPF_E_SUCCESS &&
	    SPF_request_set_env_from(request, eval->sender) == SPF_E_SUCCESS;
}

static void
read_response(struct spf_eval *eval, SPF_response_t *response, SPF_errcode_t err)
{
	struct spf_outcome *out = eval->out;
	const char *why = NULL, *explanation = NULL;

	if (response != NULL) {
		why = SPF_response_get_header_comment(response);
		explanation = SPF_response_get_explanation(response);
	}
	(void)spf_say(eval, result_of(response, err), "libspf2: %s", why != NULL ? why : SPF_strerror(err));
	if (out->result == SPF_FAIL && explanation != NULL && strcmp(explanation, NO_EXPLANATION) != 0)
		spf_copy_printable(out->explanation, sizeof(out->explanation), explanation, strlen(explanation));
}

void
spf_libspf2(struct spf_eval *eval)
{
	/* Without a destructor it stays ours. hook is not written through. */
	SPF_dns_server_t layer = { .lookup = lookup, .name = "basalt" };
	SPF_server_t *server = NULL;
	SPF_request_t *request = NULL;
	SPF_response_t *response = NULL;
	SPF_errcode_t err = SPF_E_NO_MEMORY;

	memcpy(&layer.hook, &eval->request, sizeof(layer.hook));
	server = SPF_server_new_dns(&layer, 0);
	if (server == NULL || SPF_server_set_rec_dom(server, eval->request->receiver) != SPF_E_SUCCESS)
		goto out;
	(void)SPF_server_set_explanation(server, NO_EXPLANATION, &response);
	SPF_response_free(response);
	response = NULL;
	request = SPF_request_new(server);
	if (request != NULL && set_request(eval, request))
		err = SPF_request_query_mailfrom(request, &response);
out:
	read_response(eval, response, err);
	SPF_response_free(response);
	if (request != NULL)
		SPF_request_free(request);
	if (server != NULL)
		SPF_server_free(server);
}
