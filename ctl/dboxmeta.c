#include "dboxmeta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mailfile.h"

#define META_MAX (256u * 1024)
#define MAGIC "\n\001\003\n"
#define MAGIC_LEN (sizeof(MAGIC) - 1)

enum bs_err
dboxmeta_read(int fd, uint64_t off, uint64_t end, struct dboxmeta *out)
{
	size_t len = end < off || end - off > META_MAX ? 0 : (size_t)(end - off), got = 0;
	char *bytes;
	enum bs_err err;

	if (len < MAGIC_LEN)
		return BS_ERR_FORMAT;
	bytes = malloc(len);
	if (bytes == NULL)
		return BS_ERR_NOMEM;
	err = ctl_pread(fd, off, bytes, len, &got);
	if (err == BS_OK && (got < len || memcmp(bytes, MAGIC, MAGIC_LEN) != 0))
		err = BS_ERR_FORMAT;
	if (err != BS_OK)
		free(bytes);
	else
		*out = (struct dboxmeta){ .bytes = bytes, .len = len };
	return err;
}

void
dboxmeta_clear(struct dboxmeta *meta)
{
	free(meta->bytes);
	*meta = (struct dboxmeta){ 0 };
}

/* Where the line that begins at `at` ends, its LF included. */
static size_t
line_end(const struct dboxmeta *meta, size_t at)
{
	const char *lf = memchr(meta->bytes + at, '\n', meta->len - at);

	return lf == NULL ? meta->len : (size_t)(lf - meta->bytes) + 1;
}

/* The line of this letter; false: there is none. The empty line is the last one that is looked at. */
static bool
find(const struct dboxmeta *meta, char letter, size_t *from, size_t *to)
{
	for (size_t at = MAGIC_LEN; at < meta->len && meta->bytes[at] != '\n'; at = line_end(meta, at)) {
		if (meta->bytes[at] != letter)
			continue;
		*from = at;
		*to = line_end(meta, at);
		return true;
	}
	return false;
}

bool
dboxmeta_has(const struct dboxmeta *meta, char letter)
{
	size_t from, to;

	return find(meta, letter, &from, &to);
}

enum bs_err
dboxmeta_set_text_len(struct dboxmeta *meta, uint64_t text_len)
{
	size_t from = MAGIC_LEN, to = MAGIC_LEN, line_len = 0;
	char line[32], *bytes;

	(void)find(meta, DBOXMETA_TEXT_LEN, &from, &to);
	if (text_len > 0)
		line_len = (size_t)snprintf(line, sizeof(line), "%c%llx\n", DBOXMETA_TEXT_LEN, (unsigned long long)text_len);
	bytes = malloc(meta->len + line_len);
	if (bytes == NULL)
		return BS_ERR_NOMEM;
	memcpy(bytes, meta->bytes, from);
	memcpy(bytes + from, line, line_len);
	memcpy(bytes + from + line_len, meta->bytes + to, meta->len - to);
	free(meta->bytes);
	*meta = (struct dboxmeta){ .bytes = bytes, .len = from + line_len + meta->len - to };
	return BS_OK;
}
