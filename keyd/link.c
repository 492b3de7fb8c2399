#include "link.h"

#include "wire.h"

enum bs_err
link_put(struct chan *ch, uint8_t type, uint64_t id, const void *payload, size_t len)
{
	uint8_t head[LINK_HEADER_LEN];
	struct bs_wr wr = bs_wr_init(head, sizeof(head));
	enum bs_err err;

	if (len > LINK_MAX - LINK_HEADER_LEN || chan_queued(ch) > ch->out_max - LINK_HEADER_LEN - len)
		return BS_ERR_LIMIT;
	bs_wr_u32(&wr, (uint32_t)(LINK_HEADER_LEN - 4 + len));
	bs_wr_u8(&wr, type);
	bs_wr_u64(&wr, id);
	err = chan_write(ch, head, sizeof(head));
	return err != BS_OK || len == 0 ? err : chan_write(ch, payload, len);
}

enum bs_err
link_peek(const struct chan *ch, struct link_msg *msg)
{
	size_t have;
	const uint8_t *p = chan_in(ch, &have);
	struct bs_rd rd = bs_rd_init(p, have);
	size_t len;

	if (have < LINK_HEADER_LEN)
		return BS_ERR_SHORT;
	len = bs_rd_u32(&rd);
	if (len < LINK_HEADER_LEN - 4 || len > LINK_MAX - 4)
		return BS_ERR_FORMAT;
	if (have - 4 < len)
		return BS_ERR_SHORT;
	msg->type = bs_rd_u8(&rd);
	msg->id = bs_rd_u64(&rd);
	msg->payload = p + LINK_HEADER_LEN;
	msg->len = len - (LINK_HEADER_LEN - 4);
	return BS_OK;
}

void
link_take(struct chan *ch, const struct link_msg *msg)
{
	chan_consume(ch, LINK_HEADER_LEN + msg->len);
}

enum bs_err
link_wait(struct chan *ch, struct link_msg *msg)
{
	enum bs_err err;

	while ((err = link_peek(ch, msg)) == BS_ERR_SHORT) {
		err = chan_read_wait(ch);
		if (err != BS_OK)
			return err;
	}
	return err;
}
