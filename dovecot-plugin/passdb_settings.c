#include "compat.h"

#include <auth-settings.h>

#include "keyproto.h"
#include "passdb_settings.h"
#include "secretcode.h"

#define POLICY "no_slot="
#define ENROL "enrol="
#define CODES_ONLY "app_passwords=only"

/* A policy server is asked about each login, by default with twelve bits of a quick hash of the password. */
static bool
tells_policy_server(const struct auth_settings *set)
{
	const char *what = set->policy_request_attributes;

	return *set->policy_server_url != '\0' && (strstr(what, "password") != NULL || strstr(what, "%w") != NULL);
}

const char *
passdb_settings_unsafe(const struct auth_settings *set)
{
	if (set->debug_passwords)
		return "auth_debug_passwords = yes writes passwords, which open mail, into the log: set it to no";
	if (strcmp(set->verbose_passwords, "no") != 0)
		return "auth_verbose_passwords writes passwords, which open mail, into the log: set it to no";
	if (tells_policy_server(set))
		return "auth_policy_request_attributes tells the policy server of passwords, which open mail: leave out "
		       "hashed_password";
	return NULL;
}

bool
passdb_settings_takes(const struct passdb_settings *set, const char *password)
{
	struct bs_code code;
	unsigned int group;
	bool is_app_password;

	if (!set->codes_only)
		return true;
	is_app_password = bs_code_read(password, strlen(password), &code, &group) == BS_OK && code.kind == BS_CODE_APP;
	bs_wipe(&code, sizeof(code));
	return is_app_password;
}

/* NULL: fine. */
static const char *
parse_word(const char *word, struct passdb_settings *out)
{
	if (strcmp(word, CODES_ONLY) == 0)
		out->codes_only = true;
	else if (strcmp(word, ENROL "yes") == 0)
		out->enrols = true;
	else if (strcmp(word, ENROL "no") == 0)
		out->enrols = false;
	else if (strcmp(word, POLICY "refuse") == 0)
		out->locks = false;
	else if (strcmp(word, POLICY "locked") == 0)
		out->locks = true;
	else
		return t_strdup_printf("args: what is \"%s\"? After the socket's path may stand " POLICY "refuse, " POLICY
		    "locked, " ENROL "yes or " CODES_ONLY, word);
	return NULL;
}

const char *
passdb_settings_parse(pool_t pool, const char *args, struct passdb_settings *out)
{
	const char *const *words = t_strsplit_spaces(args == NULL ? "" : args, " ");
	const char *problem = NULL;

	if (words[0] == NULL || words[0][0] != '/')
		return "args has to be the path of basalt-keyd's auth socket (run_dir/" BS_SOCKET_AUTH ")";
	out->socket = p_strdup(pool, words[0]);
	out->locks = out->enrols = out->codes_only = false;
	for (words++; *words != NULL && problem == NULL; words++)
		problem = parse_word(*words, out);
	return problem;
}
