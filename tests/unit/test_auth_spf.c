/* SPF as the checks ask for it: once a message, once a HELO, and nothing in it that could break a header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "milter/auth_spf.h"
#include "milter/check.h"
#include "milter/settings.h"
#include "sock.h"
#include "tests/unit/dns_zone.h"

struct scene {
	struct zone zone;
	struct settings settings;
	struct check_services services;
	struct session *session;
};

static int
scene_begin(void **state)
{
	static struct scene scene;
	struct zone fresh = ZONE_INIT;

	scene.zone = fresh;
	scene.settings = (struct settings){ .authserv_id = (char[]){ "mx.example.org" }, .spf = SPF_NATIVE };
	scene.services = (struct check_services){ .settings = &scene.settings, .dns = &scene.zone.dns };
	zone_text(&scene.zone, "example.net", DNS_TXT, "v=spf1 ip4:192.0.2.1 exp=why.example.net -all");
	zone_text(&scene.zone, "why.example.net", DNS_TXT, "no \"(quotes)\" of <%{i}>");
	zone_text(&scene.zone, "mx.example.net", DNS_TXT, "v=spf1 a -all");
	zone_text(&scene.zone, "slow.example.net", ZONE_TIMEOUT, "");
	assert_int_equal(session_new(&scene.session), BS_OK);
	assert_int_equal(session_set(scene.session, &scene.session->client_addr, "192.0.2.1"), BS_OK);
	assert_int_equal(session_set(scene.session, &scene.session->helo, "mx.example.net"), BS_OK);
	*state = &scene;
	return 0;
}

static int
scene_end(void **state)
{
	struct scene *scene = *state;

	session_free(scene->session);
	zone_clear(&scene->zone);
	return 0;
}

static void
message(struct scene *scene, const char *sender)
{
	assert_int_equal(session_begin_message(scene->session, sender, NULL), BS_OK);
}

static const struct auth_spf *
mailfrom(struct scene *scene)
{
	return auth_spf_mailfrom(&scene->services, scene->session, bs_now_ms() + 60000);
}

static const struct auth_spf *
helo(struct scene *scene)
{
	return auth_spf_helo(&scene->services, scene->session, bs_now_ms() + 60000);
}

static void
asked_once_a_message(void **state)
{
	struct scene *scene = *state;
	unsigned asked;

	message(scene, "<a@example.net>");
	assert_int_equal(mailfrom(scene)->result, SPF_PASS);
	assert_string_equal(mailfrom(scene)->domain, "example.net");
	assert_ptr_equal(mailfrom(scene), &scene->session->msg.auth.mailfrom);
	asked = scene->zone.asked;
	assert_int_equal(mailfrom(scene)->result, SPF_PASS);
	assert_int_equal(scene->zone.asked, asked);
	message(scene, "<a@slow.example.net>");
	assert_false(scene->session->msg.auth.mailfrom.done);
	assert_int_equal(mailfrom(scene)->result, SPF_TEMPERROR);
	assert_true(scene->zone.asked > asked);
}

static void
helo_is_asked_once_while_it_is_the_same(void **state)
{
	struct scene *scene = *state;
	unsigned asked;

	message(scene, "<a@example.net>");
	assert_int_equal(helo(scene)->result, SPF_FAIL);
	asked = scene->zone.asked;
	message(scene, "<b@example.net>");
	assert_false(scene->session->msg.auth.helo.done);
	assert_int_equal(helo(scene)->result, SPF_FAIL);
	assert_int_equal(scene->zone.asked, asked);
	message(scene, "<c@example.net>");
	assert_int_equal(session_set(scene->session, &scene->session->helo, "other.example.net"), BS_OK);
	assert_int_equal(helo(scene)->result, SPF_NONE);
	assert_true(scene->zone.asked > asked);
}

static void
a_failure_of_the_dns_is_not_remembered(void **state)
{
	struct scene *scene = *state;
	unsigned asked;

	assert_int_equal(session_set(scene->session, &scene->session->helo, "slow.example.net"), BS_OK);
	message(scene, "<a@example.net>");
	assert_int_equal(helo(scene)->result, SPF_TEMPERROR);
	asked = scene->zone.asked;
	assert_int_equal(helo(scene)->result, SPF_TEMPERROR);
	assert_int_equal(scene->zone.asked, asked);
	message(scene, "<b@example.net>");
	assert_int_equal(helo(scene)->result, SPF_TEMPERROR);
	assert_true(scene->zone.asked > asked);
}

static void
the_null_sender_is_the_helo_s_postmaster(void **state)
{
	struct scene *scene = *state;

	message(scene, "<>");
	assert_int_equal(mailfrom(scene)->result, SPF_FAIL);
	assert_string_equal(mailfrom(scene)->domain, "mx.example.net");
}

static void
a_stranger_s_words_are_made_safe(void **state)
{
	struct scene *scene = *state;

	assert_int_equal(session_set(scene->session, &scene->session->client_addr, "192.0.2.9"), BS_OK);
	message(scene, "<a@example.net>");
	assert_int_equal(mailfrom(scene)->result, SPF_FAIL);
	assert_string_equal(mailfrom(scene)->explanation, "no ''quotes'' of '192.0.2.9'");
	assert_null(strpbrk(mailfrom(scene)->reason, "\"()<>\\"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(asked_once_a_message, scene_begin, scene_end),
		cmocka_unit_test_setup_teardown(helo_is_asked_once_while_it_is_the_same, scene_begin, scene_end),
		cmocka_unit_test_setup_teardown(a_failure_of_the_dns_is_not_remembered, scene_begin, scene_end),
		cmocka_unit_test_setup_teardown(the_null_sender_is_the_helo_s_postmaster, scene_begin, scene_end),
		cmocka_unit_test_setup_teardown(a_stranger_s_words_are_made_safe, scene_begin, scene_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
