/* milter/verdict: the stated order, by table and over all combinations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "milter/verdict.h"

enum { A, B, C }; /* numbers of three checks */

static struct finding
found(unsigned id, enum check_outcome outcome, const char *code, const char *reason)
{
	struct finding f = { .id = (enum bs_check)id, .outcome = outcome };

	snprintf(f.reply.code, sizeof(f.reply.code), "%s", code);
	snprintf(f.reply.text, sizeof(f.reply.text), "text of %s", reason);
	snprintf(f.reason, sizeof(f.reason), "%s", reason);
	return f;
}

static const struct {
	enum check_outcome outcome;
	enum bs_down down;
	enum bs_hit hit;
	const char *code;
	enum verdict_action action;
} rows[] = {
	{ CHECK_NOTHING, BS_DOWN_DEFER, BS_HIT_REJECT, "", VERDICT_ACCEPT },
	{ CHECK_CLEAN, BS_DOWN_DEFER, BS_HIT_REJECT, "", VERDICT_ACCEPT },
	{ CHECK_HIT, BS_DOWN_SKIP, BS_HIT_OFF, "550", VERDICT_ACCEPT },
	{ CHECK_HIT, BS_DOWN_SKIP, BS_HIT_NOTE, "550", VERDICT_ACCEPT },
	{ CHECK_HIT, BS_DOWN_SKIP, BS_HIT_LABEL, "550", VERDICT_LABEL },
	{ CHECK_HIT, BS_DOWN_SKIP, BS_HIT_FOLDER, "550", VERDICT_FOLDER },
	{ CHECK_HIT, BS_DOWN_SKIP, BS_HIT_DROP, "550", VERDICT_DROP },
	{ CHECK_HIT, BS_DOWN_SKIP, BS_HIT_REJECT, "550", VERDICT_REJECT },
	{ CHECK_HIT, BS_DOWN_SKIP, BS_HIT_REJECT, "", VERDICT_REJECT },
	{ CHECK_HIT, BS_DOWN_SKIP, BS_HIT_REJECT, "451", VERDICT_DEFER },
	{ CHECK_DOWN, BS_DOWN_SKIP, BS_HIT_REJECT, "451", VERDICT_ACCEPT },
	{ CHECK_DOWN, BS_DOWN_DEFER, BS_HIT_REJECT, "451", VERDICT_DEFER },
	{ CHECK_DOWN, BS_DOWN_DEFER, BS_HIT_LABEL, "451", VERDICT_DEFER },
	{ CHECK_DOWN, BS_DOWN_DEFER, BS_HIT_OFF, "451", VERDICT_ACCEPT },
	{ CHECK_DOWN, BS_DOWN_DEFER, BS_HIT_NOTE, "451", VERDICT_ACCEPT },
	{ CHECK_DOWN, BS_DOWN_HIT, BS_HIT_REJECT, "550", VERDICT_REJECT },
	{ CHECK_DOWN, BS_DOWN_HIT, BS_HIT_FOLDER, "550", VERDICT_FOLDER },
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static void
test_one_finding(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_ROWS; i++) {
		struct finding f = found(A, rows[i].outcome, rows[i].code, "a");
		const struct finding *list[] = { &f };
		struct bs_policy policy = { .check[A] = { rows[i].hit, rows[i].down } };
		struct verdict v;

		verdict_decide(list, 1, &policy, &v);
		if (v.action != rows[i].action)
			fail_msg("row %zu: %s, not %s", i, verdict_action_text(v.action), verdict_action_text(rows[i].action));
		assert_ptr_equal(v.because, v.action == VERDICT_ACCEPT ? NULL : &f);
	}
}

/* Every row as each of three checks: the strictest wins, wherever it stands; of equals the first gives the reason. */
static void
test_all_threes(void **state)
{
	(void)state;
	for (size_t n = 0; n < N_ROWS * N_ROWS * N_ROWS; n++) {
		size_t at[3] = { n % N_ROWS, n / N_ROWS % N_ROWS, n / N_ROWS / N_ROWS };
		struct bs_policy policy = { .folder = "Junk", .label = "SPAM" };
		enum verdict_action strictest = VERDICT_ACCEPT;
		struct finding f[3];
		const struct finding *list[3], *because = NULL;
		struct verdict v;

		for (unsigned i = 0; i < 3; i++) {
			f[i] = found(i, rows[at[i]].outcome, rows[at[i]].code, "x");
			list[i] = &f[i];
			policy.check[i].hit = rows[at[i]].hit;
			policy.check[i].down = rows[at[i]].down;
			if (rows[at[i]].action > strictest) {
				strictest = rows[at[i]].action;
				because = &f[i];
			}
		}
		verdict_decide(list, 3, &policy, &v);
		assert_int_equal(v.action, strictest);
		assert_ptr_equal(v.because, because);
		if (strictest == VERDICT_REJECT)
			assert_int_equal(v.reply.code[0], '5');
		else if (strictest == VERDICT_DEFER)
			assert_int_equal(v.reply.code[0], '4');
		else
			assert_string_equal(v.reply.code, "");
	}
}

static void
test_order_is_as_stated(void **state)
{
	(void)state;
	assert_true(VERDICT_ACCEPT < VERDICT_LABEL && VERDICT_LABEL < VERDICT_FOLDER && VERDICT_FOLDER < VERDICT_DROP &&
	    VERDICT_DROP < VERDICT_DEFER && VERDICT_DEFER < VERDICT_REJECT);
}

static void
test_label_stays_beside_folder(void **state)
{
	struct finding a = found(A, CHECK_HIT, "", "a"), b = found(B, CHECK_HIT, "", "b");
	const struct finding *list[] = { &a, &b };
	struct bs_policy policy = { .check = { { BS_HIT_LABEL, 0 }, { BS_HIT_FOLDER, 0 } }, .folder = "Junk", .label = "SPAM" };
	struct verdict v;

	(void)state;
	verdict_decide(list, 2, &policy, &v);
	assert_int_equal(v.action, VERDICT_FOLDER);
	assert_string_equal(v.folder, "Junk");
	assert_string_equal(v.label, "SPAM");
}

static void
test_reply_is_the_deciding_check_s_own(void **state)
{
	struct finding a = found(A, CHECK_HIT, "550", "a"), b = found(B, CHECK_HIT, "554", "b");
	const struct finding *list[] = { &a, &b };
	struct bs_policy policy = { .check = { { BS_HIT_REJECT, 0 }, { BS_HIT_REJECT, 0 } } };
	struct verdict v;

	(void)state;
	verdict_decide(list, 2, &policy, &v);
	assert_string_equal(v.reply.code, "550");
	assert_string_equal(v.reply.text, "text of a");
	a.reply = (struct smtp_reply){ "", "", "" };
	verdict_decide(list, 1, &policy, &v);
	assert_string_equal(v.reply.status, "5.7.1");
	a.outcome = CHECK_DOWN;
	policy.check[A].down = BS_DOWN_DEFER;
	verdict_decide(list, 1, &policy, &v);
	assert_string_equal(v.reply.code, "451");
}

/* A check may bound what its hit does, whatever the policy says; never raise it. */
static void
test_most(void **state)
{
	(void)state;
	for (enum bs_hit hit = BS_HIT_OFF; hit <= BS_HIT_REJECT; hit++) {
		for (enum bs_hit most = BS_HIT_OFF; most <= BS_HIT_REJECT; most++) {
			struct finding f = found(A, CHECK_HIT, "550", "a");
			const struct finding *list[] = { NULL, &f, NULL };
			struct bs_policy policy = { .check[A] = { hit, BS_DOWN_SKIP } }, bound = policy;
			struct verdict v, expected;

			if (most != BS_HIT_OFF && most < hit)
				bound.check[A].hit = most;
			verdict_decide(list, 3, &bound, &expected);
			f.most = most;
			verdict_decide(list, 3, &policy, &v);
			assert_int_equal(v.action, expected.action);
		}
	}
}

/* What hit is named, but for what is off; a check that could not be asked is not. */
static void
test_note(void **state)
{
	struct finding spf = found(BS_CHECK_SPF, CHECK_HIT, "", "a"), dkim = found(BS_CHECK_DKIM, CHECK_HIT, "", "b"),
	               dmarc = found(BS_CHECK_DMARC, CHECK_DOWN, "", "c"), grey = found(BS_CHECK_GREYLIST, CHECK_HIT, "", "d");
	const struct finding *list[] = { &spf, &grey, &dkim, &dmarc };
	struct bs_policy policy;
	struct verdict v;

	(void)state;
	bs_policy_defaults(&policy);
	verdict_decide(list, 4, &policy, &v);
	assert_string_equal(v.note, "spf, dkim");
	assert_int_equal(v.action, VERDICT_ACCEPT);
}

/* No bounce to who did not send: a refusal becomes what the policy says; anything else stays. */
static void
test_spare(void **state)
{
	struct bs_policy policy;

	(void)state;
	bs_policy_defaults(&policy);
	for (enum verdict_action action = VERDICT_ACCEPT; action <= VERDICT_REJECT; action++) {
		for (enum bs_unverified how = BS_UNVERIFIED_FOLDER; how <= BS_UNVERIFIED_DROP; how++) {
			struct verdict v = { .action = action };

			policy.unverified = how;
			verdict_spare(&v, &policy);
			assert_int_equal(v.spared, action == VERDICT_REJECT);
			assert_int_equal(v.action, action != VERDICT_REJECT ? action :
			    how == BS_UNVERIFIED_DROP ? VERDICT_DROP : VERDICT_FOLDER);
			assert_string_equal(v.folder, action == VERDICT_REJECT && how == BS_UNVERIFIED_FOLDER ? "Junk" : "");
		}
	}
}

/* A mailbox that can't take it does not take it in another folder either, and thrown away it would be lost. */
static void
test_spare_leaves_mailboxes(void **state)
{
	struct finding full = found(BS_CHECK_RECIPIENT, CHECK_HIT, "552", "full"), listed = found(BS_CHECK_DNSBL, CHECK_HIT, "550", "listed");
	const struct finding *list[] = { &full, &listed };
	struct bs_policy policy;
	struct verdict v;

	(void)state;
	bs_policy_defaults(&policy);
	for (size_t n = 1; n <= 2; n++) {
		verdict_decide(list, n, &policy, &v);
		assert_true(verdict_is_mailbox_refusal(&v));
		verdict_spare(&v, &policy);
		assert_int_equal(v.action, VERDICT_REJECT);
		assert_false(v.spared);
	}
	verdict_decide(&list[1], 1, &policy, &v);
	assert_false(verdict_is_mailbox_refusal(&v));
	full.reply.code[0] = '4';
	verdict_decide(list, 1, &policy, &v);
	assert_false(verdict_is_mailbox_refusal(&v));
}

/* By actions of up to four recipients: what the one answer after DATA is. */
static void
test_together(void **state)
{
	static const struct {
		const char *recipients; /* a, l, f, d(rop), t(emporary), r */
		enum verdict_action action;
	} table[] = {
		{ "", VERDICT_ACCEPT }, { "a", VERDICT_ACCEPT }, { "r", VERDICT_REJECT }, { "rr", VERDICT_REJECT },
		{ "ra", VERDICT_ACCEPT }, { "ar", VERDICT_ACCEPT }, { "rl", VERDICT_ACCEPT }, { "rd", VERDICT_ACCEPT },
		{ "d", VERDICT_DROP }, { "dd", VERDICT_DROP }, { "da", VERDICT_ACCEPT }, { "df", VERDICT_ACCEPT },
		{ "t", VERDICT_DEFER }, { "ta", VERDICT_DEFER }, { "at", VERDICT_DEFER }, { "rt", VERDICT_DEFER },
		{ "tr", VERDICT_DEFER }, { "dt", VERDICT_DEFER }, { "aaat", VERDICT_DEFER }, { "l", VERDICT_ACCEPT },
		{ "f", VERDICT_ACCEPT }, { "rrrr", VERDICT_REJECT }, { "rrra", VERDICT_ACCEPT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		static const char letters[] = "alfdtr";
		struct verdict all[4] = { 0 }, v;
		const struct verdict *list[4];
		size_t n = strlen(table[i].recipients);

		for (size_t k = 0; k < n; k++) {
			all[k].action = (enum verdict_action)(strchr(letters, table[i].recipients[k]) - letters);
			list[k] = &all[k];
		}
		verdict_together(list, n, &v);
		if (v.action != table[i].action)
			fail_msg("%s: %s", table[i].recipients, verdict_action_text(v.action));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_finding),
		cmocka_unit_test(test_all_threes),
		cmocka_unit_test(test_order_is_as_stated),
		cmocka_unit_test(test_label_stays_beside_folder),
		cmocka_unit_test(test_reply_is_the_deciding_check_s_own),
		cmocka_unit_test(test_most),
		cmocka_unit_test(test_note),
		cmocka_unit_test(test_spare), cmocka_unit_test(test_spare_leaves_mailboxes),
		cmocka_unit_test(test_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
