/*
 * fuzz_handover: what a vault takes from the one before it, and a supervisor from its own last image. The first byte says which: 0 the
 * supervisor's; else messages, each u8 type, u16 length, payload, for a vault that has (2) or has not (1) had a good head.
 * Whatever came, the counts agree with the tables, and the vault can be ended.
 */
#include "tests/unit/handover_fixture.h"

#include "keyd/succession.h"

#define SITE 7

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct keydconf conf;
static struct fixture_arenas arenas; /* kept: to make them takes longer than all the rest */
static uint8_t head[2 + 2 * BS_KEY_LEN + 8 + 2 + sizeof(struct vault_stats)];
static size_t head_len;

static void
need(bool ok)
{
	if (!ok)
		abort();
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct bs_wr wr = bs_wr_init(head, sizeof(head));
	uint8_t boot_key[BS_KEY_LEN] = { 1 }, site[BS_SIGN_PUB_LEN];

	(void)argc;
	(void)argv;
	need(bs_crypto_init() == BS_OK);
	bs_log_level(BS_LOG_FATAL);
	fixture_conf(&conf, 4);
	need(fixture_arenas(&arenas, 12));
	memset(site, SITE, sizeof(site));
	bs_wr_u16(&wr, HANDOVER_VERSION);
	bs_wr_bytes(&wr, boot_key, sizeof(boot_key));
	bs_wr_bytes(&wr, site, sizeof(site));
	bs_wr_u64(&wr, 1);
	bs_wr_u16(&wr, sizeof(struct vault_stats) / 8);
	memset(head + wr.len, 0, sizeof(head) - wr.len);
	head_len = sizeof(head);
	return 0;
}

static void
fuzz_succession(const uint8_t *data, size_t size)
{
	struct roleset set;
	uint8_t bytes[SUCCESSION_LEN_MAX];
	char run_dir[RUN_DIR_MAX];
	size_t len;

	if (succession_parse(data, size, &set, run_dir, sizeof(run_dir)) != BS_OK)
		return;
	need(set.count > 0 && set.count <= ROLES_MAX);
	need(succession_bytes(&set, run_dir, bytes, &len) == BS_OK && len == size && memcmp(bytes, data, len) == 0);
}

/* Takes until something is refused. */
static void
take_all(struct vault *v, struct handover *h, struct bs_rd *rd)
{
	struct link_msg msg = { .type = 0 };
	enum bs_err err = BS_OK;

	while (err == BS_OK && rd->left > 0) {
		msg.type = bs_rd_u8(rd);
		msg.payload = bs_rd_str16(rd, &msg.len);
		err = rd->failed ? BS_ERR_SHORT : handover_take(v, h, &msg);
	}
}

static void
check(const struct vault *v, const struct handover *h)
{
	unsigned sessions = 0, conns = 0;

	for (unsigned i = 0; i < KEYD_SOCKETS; i++) {
		for (unsigned n = 0; n < FIXTURE_CLIENTS; n++) {
			conns += v->conns[i][n].id != 0;
			sessions += v->conns[i][n].session != NULL;
		}
	}
	need(conns == h->conns && sessions == v->session_count && sessions <= 4);
	need(tokens_count(v->tokens) == h->tokens && arena_used(v->job_cells) == 0);
	need(arena_used(v->ring_cells) >= rings_count(v->rings));
}

/* All that it had in the arenas is given back. */
static void
end(struct vault *v)
{
	arena_release(arenas.secrets, v->own);
	v->secrets = v->job_cells = v->ring_cells = NULL;
	fixture_free(v);
	need(arena_used(arenas.secrets) + arena_used(arenas.job_cells) + arena_used(arenas.ring_cells) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct link_msg first = { .type = HANDOVER_HEAD, .payload = head, .len = head_len };
	struct handover h = { .begun = false };
	struct bs_rd rd = bs_rd_init(data, size);
	uint8_t what = bs_rd_u8(&rd);
	struct vault *v;

	if (what == 0)
		fuzz_succession(rd.p, rd.left);
	if (what != 1 && what != 2)
		return 0;
	v = fixture_vault_in(&conf, &arenas, SITE);
	need(v != NULL);
	if (what == 2)
		need(handover_take(v, &h, &first) == BS_OK);
	take_all(v, &h, &rd);
	check(v, &h);
	end(v);
	return 0;
}
