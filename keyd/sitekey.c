#include "sitekey.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hex.h"

#define HEX_LEN (2 * BS_SIGN_SEC_LEN)

/* A new file with data and a newline, on disk when this returns. */
static enum bs_err
write_file(const char *path, mode_t mode, const char *hex, size_t len, char *errbuf, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	bool ok;

	if (fd < 0) {
		(void)snprintf(errbuf, size, "%s: %s%s", path, strerror(errno),
		    errno == EEXIST ? "; it is kept, since a new key would make every account look forged" : "");
		return errno == EEXIST ? BS_ERR_EXISTS : BS_ERR_IO;
	}
	ok = fchmod(fd, mode) == 0 && write(fd, hex, len) == (ssize_t)len && write(fd, "\n", 1) == 1 && fsync(fd) == 0;
	if (!ok)
		(void)snprintf(errbuf, size, "%s: %s", path, strerror(errno));
	(void)close(fd);
	if (!ok)
		(void)unlink(path);
	return ok ? BS_OK : BS_ERR_IO;
}

enum bs_err
sitekey_make(const char *path, char *errbuf, size_t errbuf_size)
{
	uint8_t pub[BS_SIGN_PUB_LEN], sec[BS_SIGN_SEC_LEN];
	char hex[HEX_LEN], pub_path[4096];
	int n = snprintf(pub_path, sizeof(pub_path), "%s.pub", path);
	enum bs_err err;

	if (n < 0 || (size_t)n >= sizeof(pub_path)) {
		(void)snprintf(errbuf, errbuf_size, "%s: the path is too long", path);
		return BS_ERR_ARG;
	}
	bs_sign_keypair(pub, sec);
	bs_hex_encode(sec, sizeof(sec), hex);
	err = write_file(path, 0600, hex, HEX_LEN, errbuf, errbuf_size);
	if (err == BS_OK) {
		bs_hex_encode(pub, sizeof(pub), hex);
		err = write_file(pub_path, 0644, hex, 2 * sizeof(pub), errbuf, errbuf_size);
		if (err != BS_OK)
			(void)unlink(path); /* ours, made a moment ago: half a pair serves nobody */
	}
	bs_wipe(sec, sizeof(sec));
	bs_wipe(hex, sizeof(hex));
	return err;
}

static enum bs_err
check_mode(int fd, const char *path, char *errbuf, size_t size)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		(void)snprintf(errbuf, size, "%s: not a regular file", path);
		return BS_ERR_CONF;
	}
	if ((st.st_mode & 077) != 0) {
		(void)snprintf(errbuf, size, "%s: others than its owner may read the site key: run \"chmod 600 %s\"", path, path);
		return BS_ERR_CONF;
	}
	if (st.st_uid != 0 && st.st_uid != geteuid()) {
		(void)snprintf(errbuf, size, "%s: the site key belongs to user %u: run \"chown root %s\"", path,
		    (unsigned)st.st_uid, path);
		return BS_ERR_CONF;
	}
	return BS_OK;
}

/* A signature by the first half verifies under the second. */
static bool
pair_fits(const uint8_t key[BS_SIGN_SEC_LEN])
{
	static const uint8_t text[] = "basalt site key";
	uint8_t sig[BS_SIG_LEN];

	return bs_sign(key, text, sizeof(text), sig) == BS_OK
	    && bs_sign_verify(key + BS_SIGN_SEC_LEN - BS_SIGN_PUB_LEN, text, sizeof(text), sig) == BS_OK;
}

enum bs_err
sitekey_load(const char *path, uint8_t sec[BS_SIGN_SEC_LEN], char *errbuf, size_t errbuf_size)
{
	char hex[HEX_LEN + 2];
	uint8_t key[BS_SIGN_SEC_LEN];
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
	enum bs_err err;

	if (fd < 0) {
		(void)snprintf(errbuf, errbuf_size, "%s: %s; make one with \"basalt-keyd --make-site-key %s\"", path,
		    strerror(errno), path);
		return BS_ERR_CONF;
	}
	err = check_mode(fd, path, errbuf, errbuf_size);
	if (err != BS_OK)
		goto out;
	n = read(fd, hex, sizeof(hex));
	if (n != HEX_LEN + 1 || hex[HEX_LEN] != '\n' || !bs_hex_decode(hex, key, sizeof(key))) {
		(void)snprintf(errbuf, errbuf_size, "%s: not a site key: 128 hex digits and a newline are expected", path);
		err = BS_ERR_CONF;
		goto out;
	}
	if (!pair_fits(key)) {
		(void)snprintf(errbuf, errbuf_size, "%s: damaged: its two halves do not belong together", path);
		err = BS_ERR_CONF;
		goto out;
	}
	memcpy(sec, key, sizeof(key));
out:
	bs_wipe(hex, sizeof(hex));
	bs_wipe(key, sizeof(key));
	(void)close(fd);
	return err;
}
