#include "home.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* In a folder of a mail user, who may have put a link or a pipe there. */
static FILE *
open_regular(const char *path)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	FILE *fp = NULL;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		fp = fdopen(fd, "r");
	if (fp == NULL && fd >= 0)
		(void)close(fd);
	return fp;
}

enum bs_err
home_read_file(const char *path, size_t max, uint8_t **out, size_t *len)
{
	FILE *fp = open_regular(path);
	uint8_t *bytes = fp == NULL ? NULL : malloc(max + 1);
	enum bs_err err = BS_OK;

	if (fp == NULL)
		return BS_ERR_NOENT;
	*len = bytes == NULL ? 0 : fread(bytes, 1, max + 1, fp);
	if (bytes == NULL || ferror(fp))
		err = bytes == NULL ? BS_ERR_NOMEM : BS_ERR_IO;
	else if (*len > max)
		err = BS_ERR_LIMIT;
	(void)fclose(fp);
	if (err == BS_OK)
		*out = bytes;
	else
		free(bytes);
	return err;
}

void
home_folder(const struct ctl *ctl, const char *address, char *out, size_t size)
{
	const char *at = bs_address_domain(address), *from = ctl->settings.mail_home;
	size_t n = 0;

	out[0] = '\0';
	for (; *from != '\0' && n < size; from++) {
		int len;

		if (from[0] == '%' && (from[1] == 'd' || from[1] == 'n')) {
			from++;
			len = *from == 'd' ? snprintf(out + n, size - n, "%s", at)
			                   : snprintf(out + n, size - n, "%.*s", (int)(at - 1 - address), address);
		} else {
			len = snprintf(out + n, size - n, "%c", *from);
		}
		n += len < 0 ? size : (size_t)len;
	}
}

void
home_path(const struct ctl *ctl, const char *address, const char *name, char *out, size_t size)
{
	size_t n;

	home_folder(ctl, address, out, size);
	n = strlen(out);
	(void)snprintf(out + n, size - n, "/basalt/%s", name);
}

enum bs_err
home_record(const struct ctl *ctl, const char *address, struct bs_record *out)
{
	char path[4096];
	uint8_t *bytes = NULL;
	size_t len = 0;
	enum bs_err err;

	home_path(ctl, address, "record", path, sizeof(path));
	err = home_read_file(path, BS_RECORD_MAX, &bytes, &len);
	if (err == BS_OK)
		err = bs_record_parse(bytes, len, out);
	free(bytes);
	return err == BS_OK ? BS_OK : BS_ERR_NOENT;
}

uint64_t
home_generation(const struct ctl *ctl, const char *address)
{
	struct bs_record rec;

	return home_record(ctl, address, &rec) == BS_OK ? rec.generation : 0;
}
