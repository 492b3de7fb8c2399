#include "escrow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "address.h"
#include "hex.h"
#include "utf8.h"

#define LINE_MAX_LEN 512

struct escrow {
	size_t count;
	struct escrow_key keys[ESCROW_DOMAINS_MAX];
};

/* The next word of *text; false: it has none, or one that size does not hold. */
static bool
take_word(const char **text, char *out, size_t size)
{
	size_t len;

	*text += strspn(*text, " \t");
	len = strcspn(*text, " \t");
	if (len == 0 || len >= size)
		return false;
	memcpy(out, *text, len);
	out[len] = '\0';
	*text += len;
	return true;
}

bool
escrow_parse_line(const char *line, struct escrow_key *out)
{
	char word[LINE_MAX_LEN], domain[BS_DOMAIN_MAX + 1];
	struct escrow_key key = { .name = "" };
	size_t len;

	if (!take_word(&line, word, sizeof(word)) || bs_domain_parse(word, domain) != BS_OK || strlen(domain) >= sizeof(key.domain))
		return false;
	memcpy(key.domain, domain, strlen(domain) + 1);
	if (!take_word(&line, word, sizeof(word)) || strlen(word) != 2 * BS_KEY_LEN || !bs_hex_decode(word, key.public_key, BS_KEY_LEN))
		return false;
	line += strspn(line, " \t");
	len = strlen(line);
	while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t'))
		len--;
	if (len == 0 || len > BS_SLOT_LABEL_MAX || !bs_utf8_is_name(line, len))
		return false;
	memcpy(key.name, line, len);
	*out = key;
	return true;
}

static enum bs_err
complain(const char *path, const char *what, char *errbuf, size_t size)
{
	(void)snprintf(errbuf, size, "keyd.escrow: %s: %s", path, what);
	return BS_ERR_CONF;
}

static enum bs_err
take_line(struct escrow *escrow, const char *path, unsigned number, char *line, char *errbuf, size_t size)
{
	struct escrow_key key;

	line[strcspn(line, "\r\n")] = '\0';
	if (line[strspn(line, " \t")] == '\0' || line[0] == '#')
		return BS_OK;
	if (!escrow_parse_line(line, &key)) {
		(void)snprintf(errbuf, size, "keyd.escrow: %s:%u: must be DOMAIN, the 64 hex digits of a public key, and who holds "
		    "the private one", path, number);
		return BS_ERR_CONF;
	}
	for (size_t i = 0; i < escrow->count; i++)
		if (strcmp(escrow->keys[i].domain, key.domain) == 0)
			return complain(path, "a domain stands there twice", errbuf, size);
	if (escrow->count == ESCROW_DOMAINS_MAX)
		return complain(path, "too many domains", errbuf, size);
	escrow->keys[escrow->count++] = key;
	return BS_OK;
}

static enum bs_err
read_lines(FILE *fp, struct escrow *escrow, const char *path, char *errbuf, size_t size)
{
	char line[LINE_MAX_LEN];
	enum bs_err err = BS_OK;

	for (unsigned number = 1; err == BS_OK && fgets(line, sizeof(line), fp) != NULL; number++)
		err = strchr(line, '\n') == NULL && !feof(fp) ? complain(path, "a line is too long", errbuf, size)
		                                              : take_line(escrow, path, number, line, errbuf, size);
	return err == BS_OK && ferror(fp) ? complain(path, strerror(errno), errbuf, size) : err;
}

static enum bs_err
check_owner(int fd, const char *path, char *errbuf, size_t size)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return complain(path, "not a regular file", errbuf, size);
	if ((st.st_mode & 022) != 0 || (st.st_uid != 0 && st.st_uid != geteuid()))
		return complain(path, "others than root may write it, and could name a key of their own", errbuf, size);
	return BS_OK;
}

enum bs_err
escrow_load(const char *path, struct escrow **out, char *errbuf, size_t errbuf_size)
{
	struct escrow *escrow;
	enum bs_err err;
	FILE *fp;
	int fd;

	if (path[0] == '\0') {
		*out = NULL;
		return BS_OK;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
	fp = fd < 0 ? NULL : fdopen(fd, "r");
	if (fp == NULL) {
		if (fd >= 0)
			(void)close(fd);
		return complain(path, strerror(errno), errbuf, errbuf_size);
	}
	escrow = calloc(1, sizeof(*escrow));
	err = escrow == NULL ? BS_ERR_NOMEM : check_owner(fd, path, errbuf, errbuf_size);
	if (err == BS_OK)
		err = read_lines(fp, escrow, path, errbuf, errbuf_size);
	(void)fclose(fp);
	if (err == BS_OK)
		*out = escrow;
	else
		escrow_free(escrow);
	return err;
}

void
escrow_free(struct escrow *escrow)
{
	free(escrow);
}

const struct escrow_key *
escrow_find(const struct escrow *escrow, const char *address)
{
	const char *at = strrchr(address, '@');

	for (size_t i = 0; escrow != NULL && at != NULL && i < escrow->count; i++)
		if (strcmp(escrow->keys[i].domain, at + 1) == 0)
			return &escrow->keys[i];
	return NULL;
}
