#include "compat.h"

#include <dovecot/auth.h> /* there is a milter/auth.h, too */
#include <auth-fields.h>
#include <auth-request.h>
#include <auth-settings.h>
#include <passdb-cache.h>

#include "address.h"
#include "passdb_site.h"

#define MARK_FIELD "basalt_password"
#define MARK_CHECKED "checked"

bool
passdb_site_says_right(const struct auth_request *request)
{
	return request->fields.skip_password_check && request->fields.requested_login_user == NULL &&
	    request->fields.master_user == NULL;
}

bool
passdb_site_opens_mail(const struct auth_request *request)
{
	const char *service = BASALT_AUTH_SERVICE(request);

	return service != NULL && (strcmp(service, "imap") == 0 || strcmp(service, "pop3") == 0);
}

/* --- the configuration --- */

#if BASALT_DOVECOT_2_4
static const char *
doubt_of_chain(struct auth_request *request ATTR_UNUSED)
{
	return "with Dovecot 2.4 it is not known how to tell";
}
#else
/* Who comes behind it with a password has one that counts as right. */
static bool
is_judge(const struct auth_passdb *db)
{
	return !db->set->deny && (db->result_success == AUTH_DB_RULE_CONTINUE || db->result_success == AUTH_DB_RULE_CONTINUE_OK);
}

static bool
has_mark(const struct auth_passdb *db)
{
	return str_array_find(t_strsplit_spaces(db->set->override_fields, " "), PASSDB_SITE_MARK);
}

static const char *
doubt_of_judge(const struct auth_passdb *db, bool is_first)
{
	if (!has_mark(db))
		return "a passdb before this one does not say whether it checks passwords: it needs the line "
		       "override_fields = " PASSDB_SITE_MARK;
	/* It would mark what is right already, and with it the "nopassword" of the one before. */
	if (!is_first && db->skip != AUTH_PASSDB_SKIP_AUTHENTICATED)
		return "of the passdbs before this one more than one marks passwords: all but the first need skip = authenticated";
	/* A password that was right an hour ago may be somebody's who knows the old one. */
	if (passdb_cache != NULL && db->cache_key != NULL)
		return "Dovecot remembers passwords and need not have asked for this one: set auth_cache_size = 0";
	return NULL;
}

static const char *
doubt_of_chain(struct auth_request *request)
{
	const struct auth_passdb *db = auth_request_get_auth(request)->passdbs;
	const char *doubt = NULL;
	bool is_first = true;

	for (; db != NULL && db != request->passdb && doubt == NULL; db = db->next) {
		if (db->result_failure == AUTH_DB_RULE_CONTINUE_OK || db->result_internalfail == AUTH_DB_RULE_CONTINUE_OK)
			return "a passdb before this one lets wrong passwords pass: result_failure or result_internalfail is "
			       "continue-ok";
		/* What has the mark and does not judge marks all the same. */
		if (!is_judge(db) && !has_mark(db))
			continue;
		doubt = doubt_of_judge(db, is_first);
		is_first = false;
	}
	return doubt;
}
#endif

/* --- the request --- */

static const char *
doubt_of_fields(const struct auth_request *request)
{
	static const char *const elsewhere[] = { "proxy", "proxy_maybe", "proxy_always", "nologin" };
	struct auth_fields *fields = request->fields.extra_fields;
	const char *mark = auth_fields_find(fields, MARK_FIELD);

	if (mark == NULL || strcmp(mark, MARK_CHECKED) != 0)
		return "the passdb before this one has checked no password (nopassword)";
	for (unsigned int i = 0; i < N_ELEMENTS(elsewhere); i++) {
		if (auth_fields_exists(fields, elsewhere[i]))
			return "the login goes on elsewhere (proxy or nologin): keys are made there";
	}
	return NULL;
}

const char *
passdb_site_doubt(struct auth_request *request)
{
	const char *name = t_str_lcase(request->fields.user), *doubt;
	char address[BS_ADDRESS_MAX + 1];

	if (!passdb_site_says_right(request))
		return "no passdb before this one has found this user's password right";
	if (!passdb_site_opens_mail(request))
		return "only logins of imap and pop3 make them";
	if (request->fields.delayed_credentials != NULL)
		return "these are credentials of a look-up";
	if (bs_address_parse(name, address) != BS_OK || strcmp(name, address) != 0)
		return "the user's name is no address";
	doubt = doubt_of_chain(request);
	return doubt != NULL ? doubt : doubt_of_fields(request);
}
