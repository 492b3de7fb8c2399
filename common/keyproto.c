#include "keyproto.h"

#define A BS_PEER_AUTH
#define M BS_PEER_MAIL
#define D BS_PEER_DELIVERY
#define C BS_PEER_CONTROL

/* Who may send what, in one place: keyd's vault asks this again for every request that a front hands on. */
static const uint8_t permitted[] = {
	[BS_OP_LOGIN] = A,
	[BS_OP_EXISTS] = A | D,
	[BS_OP_ATTACH] = M,
	[BS_OP_UNWRAP] = M,
	[BS_OP_SUBKEY] = M,
	[BS_OP_RECORD] = A | M | D | C,
	[BS_OP_KEYSET] = M,
	[BS_OP_CLOSE] = M,
	[BS_OP_LOGIN_MEMBER] = A,
	[BS_OP_ENROL_LOGIN] = A,
	[BS_OP_RESUME_TOKEN] = M,
	[BS_OP_DROP_TOKEN] = M,
	[BS_OP_HOLDS] = M,
	[BS_OP_KEYSET_OF] = D,
	[BS_OP_ENROL] = C,
	[BS_OP_PASSWD] = C,
	[BS_OP_REMOVE] = C,
	[BS_OP_STATUS] = C,
	[BS_OP_SET_FLAGS] = C,
	[BS_OP_SLOTS] = C,
	[BS_OP_ADD_SLOT] = C,
	[BS_OP_REMOVE_SLOT] = C,
	[BS_OP_ROTATE] = C,
	[BS_OP_CHANGE_PASSWORD] = C,
	[BS_OP_RESET] = C,
	[BS_OP_HEAL] = C,
	[BS_OP_RESTORE] = C,
	[BS_OP_DROP_KEY] = C,
	[BS_OP_OPEN] = C,
	[BS_OP_SESSIONS] = C,
	[BS_OP_END_SESSIONS] = C,
	[BS_OP_KEYS] = C,
	[BS_OP_RESTORE_KEYSET] = C,
	[BS_OP_KEYSET_DIGEST] = C,
};

enum bs_err
bs_keyproto_parse(const void *data, size_t len, size_t max, struct bs_frame *out)
{
	struct bs_rd rd = bs_rd_init(data, len);
	uint32_t body_len = bs_rd_u32(&rd);
	struct bs_frame frame;

	if (rd.failed)
		return BS_ERR_SHORT;
	/* Judged on the length alone, so that nobody waits for bytes that he would refuse. */
	if (body_len < BS_FRAME_HEADER_LEN - 4)
		return BS_ERR_FORMAT;
	if (max > BS_FRAME_MAX)
		max = BS_FRAME_MAX;
	if (max < BS_FRAME_HEADER_LEN || body_len > max - 4)
		return BS_ERR_LIMIT;
	frame.version = bs_rd_u8(&rd);
	if (!rd.failed && frame.version != BS_KEYPROTO_VERSION)
		return BS_ERR_VERSION;
	frame.opcode = bs_rd_u8(&rd);
	frame.status = bs_rd_u16(&rd);
	frame.request_id = bs_rd_u32(&rd);
	frame.payload_len = body_len - (BS_FRAME_HEADER_LEN - 4);
	frame.payload = bs_rd_bytes(&rd, frame.payload_len);
	frame.len = (size_t)body_len + 4;
	if (rd.failed)
		return BS_ERR_SHORT;
	*out = frame;
	return BS_OK;
}

size_t
bs_keyproto_frame(uint8_t *out, size_t size, uint8_t opcode, enum bs_err status, uint32_t request_id,
    const void *payload, size_t payload_len)
{
	struct bs_wr wr = bs_wr_init(out, size);

	if (payload_len > BS_FRAME_MAX - BS_FRAME_HEADER_LEN)
		return 0;
	bs_wr_u32(&wr, (uint32_t)payload_len + BS_FRAME_HEADER_LEN - 4);
	bs_wr_u8(&wr, BS_KEYPROTO_VERSION);
	bs_wr_u8(&wr, opcode);
	bs_wr_u16(&wr, (uint16_t)status);
	bs_wr_u32(&wr, request_id);
	bs_wr_bytes(&wr, payload, payload_len);
	return wr.failed ? 0 : wr.len;
}

unsigned
bs_keyproto_permitted(uint8_t opcode)
{
	return opcode < sizeof(permitted) / sizeof(permitted[0]) ? permitted[opcode] : 0;
}

enum bs_err
bs_keyproto_status(uint16_t status)
{
	return status < BS_ERR_COUNT ? (enum bs_err)status : BS_ERR_FORMAT;
}
