#include "kdf.h"

#include "crypto.h"
#include "link.h"
#include "log.h"

/* One request's payload to one seed. */
static enum bs_err
derive(const struct link_msg *msg, uint8_t seed[BS_KEY_LEN])
{
	struct bs_rd rd = bs_rd_init(msg->payload, msg->len);
	uint32_t memory_kib = bs_rd_u32(&rd), passes = bs_rd_u32(&rd);
	const uint8_t *salt = bs_rd_bytes(&rd, BS_SALT_LEN);
	size_t len;
	const uint8_t *password = bs_rd_str16(&rd, &len);

	if (!bs_rd_done(&rd))
		return BS_ERR_FORMAT;
	return bs_argon2id(password, len, salt, memory_kib, passes, seed);
}

static enum bs_err
answer(struct chan *ch, const struct link_msg *msg)
{
	uint8_t seed[BS_KEY_LEN] = { 0 }, reply[2 + BS_KEY_LEN];
	uint64_t id = msg->id;
	enum bs_err err = msg->type == LINK_KDF ? derive(msg, seed) : BS_ERR_FORMAT;
	struct bs_wr wr = bs_wr_init(reply, sizeof(reply));

	link_take(ch, msg);
	bs_wr_u16(&wr, (uint16_t)err);
	bs_wr_bytes(&wr, seed, sizeof(seed));
	err = link_put(ch, LINK_KDF, id, reply, wr.len);
	bs_wipe(seed, sizeof(seed));
	bs_wipe(reply, sizeof(reply));
	return err == BS_OK ? chan_flush_wait(ch) : err;
}

int
kdf_run(int fd)
{
	struct chan ch;
	struct link_msg msg;

	chan_init(&ch, fd, LINK_MAX, LINK_MAX);
	while (link_wait(&ch, &msg) == BS_OK && answer(&ch, &msg) == BS_OK)
		;
	chan_clear(&ch);
	return 0;
}
