/* milter/carry and milter/judge: verdicts of several accounts, and what becomes of the message; by a line that records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "milter/carry.h"
#include "milter/expand.h"
#include "milter/judge.h"
#include "tests/unit/verdict_fixture.h"
#include "tests/vectors/verdict.h"

#define ACCOUNTS 12

/* A line that keeps what is inserted; a session with one recipient an account. */
struct scene {
	struct transport_session line;
	struct session *session;
	struct bs_policy policy[ACCOUNTS];
	char field[8][100];
	char *value[8];
	size_t n, deleted;
};

static enum bs_err
insert(struct transport_session *line, int index, const char *name, const char *value)
{
	struct scene *scene = (struct scene *)line;

	assert_int_equal(index, 0);
	assert_true(scene->n < 8);
	snprintf(scene->field[scene->n], sizeof(scene->field[0]), "%s", name);
	scene->value[scene->n++] = strdup(value);
	return BS_OK;
}

static enum bs_err
delete(struct transport_session *line, const char *name, unsigned index)
{
	(void)name;
	(void)index;
	((struct scene *)line)->deleted++;
	return BS_OK;
}

static const struct transport_line does = { .insert_header = insert, .delete_header = delete };

static int
setup(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	scene->line.does = &does;
	if (session_new(&scene->session) != BS_OK ||
	    session_begin_message(scene->session, "<sender@example.net>", NULL) != BS_OK)
		return -1;
	scene->session->msg.now_s = VV_NOW;
	*state = scene;
	return 0;
}

static int
teardown(void **state)
{
	struct scene *scene = *state;

	session_free(scene->session);
	for (size_t i = 0; i < scene->n; i++)
		free(scene->value[i]);
	free(scene);
	return 0;
}

/* A resolution with these accounts, all of default policy; an address that begins with '!' is not ours. */
static struct resolution *
resolution(struct scene *scene, size_t first, const char *const *accounts, size_t n)
{
	struct resolution *res = calloc(1, sizeof(*res) + n * sizeof(res->targets[0]));

	assert_non_null(res);
	atomic_init(&res->refs, 1);
	res->state = n == 1 ? RESOLVE_ACCOUNT : RESOLVE_ALIAS;
	for (; res->n < n; res->n++) {
		bs_policy_defaults(&scene->policy[first + res->n]);
		res->targets[res->n].ours = accounts[res->n][0] != '!';
		res->targets[res->n].address = strdup(accounts[res->n] + (accounts[res->n][0] == '!' ? 1 : 0));
		res->targets[res->n].policy = policies_take(NULL, &scene->policy[first + res->n]);
	}
	return res;
}

static struct recipient *
add(struct scene *scene, size_t first, const char *const *accounts, size_t n)
{
	struct recipient *recipient;
	struct final *final;

	assert_int_equal(session_add_recipient(scene->session, "<x@example.org>", &recipient), BS_OK);
	recipient->res = resolution(scene, first, accounts, n);
	for (size_t i = 0; i < n; i++)
		if (recipient->res->targets[i].ours)
			assert_int_equal(session_add_final(scene->session, recipient, &recipient->res->targets[i], &final), BS_OK);
	return recipient;
}

/* A finding of an account that makes his verdict this one under the default policy. */
static void
find(struct final *final, enum verdict_action action)
{
	struct finding finding = { .id = BS_CHECK_DNSBL, .outcome = CHECK_HIT, .reply = { "554", "5.7.1", "Listed \xff" } };

	if (action == VERDICT_ACCEPT)
		return;
	if (action == VERDICT_DEFER)
		finding.reply = (struct smtp_reply){ "451", "4.7.1", "Later" };
	finding.most = action == VERDICT_LABEL ? BS_HIT_LABEL : action == VERDICT_FOLDER ? BS_HIT_FOLDER :
	    action == VERDICT_DROP ? BS_HIT_DROP : BS_HIT_OFF;
	assert_int_equal(session_keep_finding(&final->found, &finding), BS_OK);
}

static const char *const names[ACCOUNTS] = { "a0@example.org", "a1@example.org", "a2@example.org", "a3@example.org",
	"a4@example.org", "a5@example.org", "a6@example.org", "a7@example.org", "a8@example.org", "a9@example.org",
	"b0@example.org", "b1@example.org" };

static const char *
value_of(const struct scene *scene, const char *name)
{
	for (size_t i = 0; i < scene->n; i++)
		if (strcmp(scene->field[i], name) == 0)
			return scene->value[i];
	return NULL;
}

/* Twelve accounts, every action among them: one field says all twelve. */
static void
test_twelve_outcomes(void **state)
{
	static const enum verdict_action actions[ACCOUNTS] = { VERDICT_ACCEPT, VERDICT_LABEL, VERDICT_FOLDER, VERDICT_DROP,
		VERDICT_REJECT, VERDICT_ACCEPT, VERDICT_LABEL, VERDICT_FOLDER, VERDICT_DROP, VERDICT_REJECT, VERDICT_ACCEPT,
		VERDICT_FOLDER };
	struct scene *scene = *state;
	struct verdict_fixture *fx = vf_new(vv_keyfile);
	struct carry carry = { "mx.example.org", fx->keys };
	struct carry_done done;
	struct bs_verdict *v;
	struct verdict verdict;

	for (size_t i = 0; i < ACCOUNTS; i++)
		find(add(scene, i, &names[i], 1)->finals[0], actions[i]);
	scene->session->msg.auth.mailfrom = (struct auth_spf){ .done = true, .result = SPF_PASS };
	assert_int_equal(judge_message(scene->session, &verdict), BS_OK);
	assert_int_equal(verdict.action, VERDICT_ACCEPT);
	assert_int_equal(carry_out(&carry, scene->session, &scene->line, &done), BS_OK);
	assert_int_equal(bs_verdict_open(fx->keys, value_of(scene, BS_VERDICT_FIELD),
	    strlen(value_of(scene, BS_VERDICT_FIELD)), VV_NOW, &v), BS_OK);
	for (size_t i = 0; i < ACCOUNTS; i++) {
		struct bs_verdict_part part;
		enum bs_err err = bs_verdict_find(v, names[i], &part);

		if (actions[i] == VERDICT_ACCEPT) {
			assert_int_equal(err, BS_ERR_NOENT);
			continue;
		}
		assert_int_equal(err, BS_OK);
		assert_int_equal(part.what, actions[i] == VERDICT_DROP ? BS_VERDICT_DROP :
		    actions[i] == VERDICT_REJECT ? BS_VERDICT_REJECT : BS_VERDICT_DELIVER);
		assert_string_equal(part.folder, actions[i] == VERDICT_FOLDER ? "Junk" : "");
		assert_string_equal(part.label, actions[i] == VERDICT_LABEL ? "[SPAM]" : "");
		assert_string_equal(part.text, actions[i] == VERDICT_REJECT ? "Listed ?" : "");
	}
	bs_verdict_free(v);
	vf_free(fx);
}

enum { NOBODY, SIGNED, VERIFIED, SENDERS };

/* A signature of the sender's domain is there for whoever replays the message, too. */
static void
vouch(struct scene *scene, unsigned sender)
{
	struct auth *auth = &scene->session->msg.auth;

	if (sender == VERIFIED)
		auth->mailfrom = (struct auth_spf){ .done = true, .result = SPF_PASS };
	if (sender != SIGNED)
		return;
	auth->dkim[auth->n_dkim++] = (struct auth_dkim){ .result = AUTH_DKIM_PASS, .domain = "example.net" };
	auth->dmarc = (struct auth_dmarc){ .done = true, .result = AUTH_DMARC_PASS, .from = "example.net", .dkim_aligned = true };
}

/* Every pair of actions, sender verified or not: what SMTP is told, and each account's own verdict. */
static void
test_pairs(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 6 * 6 * SENDERS; n++) {
		enum verdict_action action[2] = { (enum verdict_action)(n % 6), (enum verdict_action)(n / 6 % 6) };
		bool verified = n / 36 == VERIFIED, refuse = action[0] == VERDICT_REJECT && action[1] == VERDICT_REJECT;
		bool defer = action[0] == VERDICT_DEFER || action[1] == VERDICT_DEFER;
		void *place = NULL;
		struct scene *scene;
		struct final *final[2];
		struct verdict verdict;

		assert_int_equal(setup(&place), 0);
		scene = place;
		for (unsigned i = 0; i < 2; i++) {
			final[i] = add(scene, i, &names[i], 1)->finals[0];
			find(final[i], action[i]);
		}
		vouch(scene, n / 36);
		assert_int_equal(judge_message(scene->session, &verdict), BS_OK);
		assert_int_equal(verdict.action, defer ? VERDICT_DEFER : refuse ? VERDICT_REJECT :
		    action[0] == VERDICT_DROP && action[1] == VERDICT_DROP ? VERDICT_DROP : VERDICT_ACCEPT);
		for (unsigned i = 0; i < 2 && verdict.action == VERDICT_ACCEPT; i++)
			assert_int_equal(final[i]->verdict.action, action[i] == VERDICT_REJECT && !verified ? VERDICT_FOLDER : action[i]);
		teardown(&place);
	}
}

/* One account behind two recipients is asked and judged once; a foreign target keeps a refusal from being everybody's. */
static void
test_aliases(void **state)
{
	static const char *const one[] = { "a0@example.org" }, *const two[] = { "a0+x@example.org", "a1@example.org" },
	                  *const off[] = { "!away@elsewhere.example" };
	struct scene *scene = *state;
	struct recipient *first = add(scene, 0, one, 1), *second = add(scene, 1, two, 2);
	struct verdict verdict;

	assert_int_equal(scene->session->msg.n_finals, 2);
	assert_ptr_equal(first->finals[0], second->finals[0]);
	find(first->finals[0], VERDICT_REJECT);
	find(second->finals[1], VERDICT_REJECT);
	assert_int_equal(judge_message(scene->session, &verdict), BS_OK);
	assert_int_equal(verdict.action, VERDICT_REJECT);
	add(scene, 3, off, 1);
	assert_int_equal(judge_message(scene->session, &verdict), BS_OK);
	assert_int_equal(verdict.action, VERDICT_ACCEPT);
	assert_int_equal(first->finals[0]->verdict.action, VERDICT_FOLDER);
}

/* Nothing to say: no field. */
static void
test_plain_mail_has_no_field(void **state)
{
	struct scene *scene = *state;
	struct verdict_fixture *fx = vf_new(vv_keyfile);
	struct carry carry = { "mx.example.org", fx->keys };
	struct carry_done done;
	struct verdict verdict;

	add(scene, 0, names, 1);
	assert_int_equal(judge_message(scene->session, &verdict), BS_OK);
	assert_int_equal(carry_out(&carry, scene->session, &scene->line, &done), BS_OK);
	assert_int_equal(scene->n, 1);
	assert_string_equal(scene->field[0], "Authentication-Results");
	vf_free(fx);
}

/* Without basalt-lmtp: what all agree on is written; what not is left, and said. */
static void
test_without_the_proxy(void **state)
{
	static const struct {
		enum verdict_action action[2];
		bool away; /* one recipient more, elsewhere */
		const char *folder, *label;
		bool left;
	} table[] = {
		{ { VERDICT_FOLDER, VERDICT_FOLDER }, false, " Junk", NULL, false },
		{ { VERDICT_LABEL, VERDICT_LABEL }, false, NULL, " [SPAM]", false },
		{ { VERDICT_FOLDER, VERDICT_ACCEPT }, false, NULL, NULL, true },
		{ { VERDICT_ACCEPT, VERDICT_FOLDER }, false, NULL, NULL, true },
		{ { VERDICT_LABEL, VERDICT_FOLDER }, false, NULL, NULL, true },
		{ { VERDICT_ACCEPT, VERDICT_DROP }, false, NULL, NULL, true },
		{ { VERDICT_FOLDER, VERDICT_FOLDER }, true, NULL, NULL, true },
		{ { VERDICT_ACCEPT, VERDICT_ACCEPT }, true, NULL, NULL, false },
	};
	static const char *const away[] = { "!away@elsewhere.example" };

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct carry carry = { "mx.example.org", NULL };
		struct carry_done done;
		struct verdict verdict;
		void *place = NULL;
		struct scene *scene;

		assert_int_equal(setup(&place), 0);
		scene = place;
		for (unsigned k = 0; k < 2; k++)
			find(add(scene, k, &names[k], 1)->finals[0], table[i].action[k]);
		if (table[i].away)
			add(scene, 3, away, 1);
		assert_int_equal(judge_message(scene->session, &verdict), BS_OK);
		assert_int_equal(carry_out(&carry, scene->session, &scene->line, &done), BS_OK);
		assert_int_equal(done.left, table[i].left);
		assert_int_equal(value_of(scene, CARRY_FOLDER_FIELD) != NULL, table[i].folder != NULL);
		assert_int_equal(value_of(scene, BS_VERDICT_LABEL_FIELD) != NULL, table[i].label != NULL);
		if (table[i].folder != NULL)
			assert_string_equal(value_of(scene, CARRY_FOLDER_FIELD), table[i].folder);
		if (table[i].label != NULL)
			assert_string_equal(value_of(scene, BS_VERDICT_LABEL_FIELD), table[i].label);
		teardown(&place);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_twelve_outcomes, setup, teardown),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test_setup_teardown(test_aliases, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plain_mail_has_no_field, setup, teardown),
		cmocka_unit_test(test_without_the_proxy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
