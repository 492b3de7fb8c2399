#include "netstring.h"

#include <stdio.h>

enum bs_err
netstring_parse(const uint8_t *data, size_t data_len, size_t max, size_t *start, size_t *len, size_t *used)
{
	size_t n = 0, i = 0;

	for (; i < data_len && data[i] >= '0' && data[i] <= '9'; i++) {
		if (i == 1 && data[0] == '0')
			return BS_ERR_FORMAT; /* no leading zeros */
		n = n * 10 + (size_t)(data[i] - '0');
		if (n > max)
			return BS_ERR_LIMIT;
	}
	if (i == data_len)
		return BS_ERR_SHORT;
	if (i == 0 || data[i] != ':')
		return BS_ERR_FORMAT;
	if (data_len - i - 1 < n + 1)
		return BS_ERR_SHORT;
	if (data[i + 1 + n] != ',')
		return BS_ERR_FORMAT;
	*start = i + 1;
	*len = n;
	*used = i + n + 2;
	return BS_OK;
}

enum bs_err
netstring_append(struct bs_buf *buf, const void *data, size_t len)
{
	char head[24];
	int n = snprintf(head, sizeof(head), "%zu:", len);
	enum bs_err err;

	if (n < 0 || bs_buf_room(buf) < (size_t)n + len + 1)
		return BS_ERR_LIMIT;
	err = bs_buf_append(buf, head, (size_t)n);
	if (err == BS_OK)
		err = bs_buf_append(buf, data, len);
	if (err == BS_OK)
		err = bs_buf_append(buf, ",", 1);
	return err;
}
