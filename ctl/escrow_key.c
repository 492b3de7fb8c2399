/* basaltctl escrow-key: the pair whose public half goes into keyd's escrow file. Asks no daemon. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "secretcode.h"
#include "verbs.h"

/* A new file that only its owner reads, on disk when this returns. */
static int
write_secret(const char *path, const uint8_t key[BS_KEY_LEN])
{
	char text[BS_CODE_ESCROW_SIZE + 1];
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	size_t len;
	bool ok;

	if (fd < 0)
		return ctl_fail(BS_ERR_ARG, "%s: %s", path, strerror(errno));
	bs_code_escrow_text(key, text);
	len = strlen(text);
	text[len++] = '\n';
	ok = fchmod(fd, 0600) == 0 && write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
	bs_wipe(text, sizeof(text));
	(void)close(fd);
	if (ok)
		return CTL_OK;
	(void)unlink(path);
	return ctl_fail(BS_ERR_IO, "%s: it can't be written", path);
}

int
escrow_key_new(struct ctl *ctl)
{
	uint8_t pub[BS_KEY_LEN], sec[BS_KEY_LEN];
	char hex[2 * BS_KEY_LEN + 1];
	int rc;

	bs_x25519_keypair(pub, sec);
	rc = write_secret(ctl->args.words[0], sec);
	bs_wipe(sec, sizeof(sec));
	ctl_hex(pub, BS_KEY_LEN, hex);
	if (rc == CTL_OK)
		printf("%s\n", hex);
	return rc;
}
