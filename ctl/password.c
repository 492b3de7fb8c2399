#include "password.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "secretcode.h"
#include "terminal.h"

#define INTERRUPTED (-1)

/* Byte by byte, so that nothing of a next line is taken. The line's length; it may be longer than a password. */
static int
read_bytes(int fd, const struct terminal *terminal, char line[BS_PASSWORD_MAX + 2], size_t *out)
{
	size_t len = 0;
	ssize_t n;

	for (;;) {
		if (terminal != NULL && !terminal_wait(terminal))
			return INTERRUPTED;
		n = read(fd, line + len, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || line[len] == '\n' || len > BS_PASSWORD_MAX)
			break;
		len++;
	}
	if (n < 0)
		return ctl_fail(BS_ERR_IO, "reading a password: %s", strerror(errno));
	if (n == 0 && len == 0) {
		ctl_fail(BS_ERR_ARG, "the input ended before a password came");
		return CTL_USAGE;
	}
	*out = len;
	return CTL_OK;
}

/* An exit status: CTL_FAILED, what was given can be no password; or INTERRUPTED. It says what is wrong. */
static int
read_line(int fd, const struct terminal *terminal, const char *what, char **out)
{
	char *line = bs_secret_new(BS_PASSWORD_MAX + 2);
	size_t len = 0;
	int rc;

	if (line == NULL)
		return ctl_fail(BS_ERR_NOMEM, "no locked memory for a password; raise `ulimit -l`");
	rc = read_bytes(fd, terminal, line, &len);
	if (len > 0 && line[len - 1] == '\r')
		len--;
	line[len] = '\0';
	if (rc == CTL_OK && (len == 0 || len > BS_PASSWORD_MAX || memchr(line, '\0', len) != NULL)) {
		ctl_fail(BS_ERR_ARG, len == 0 ? "%s: nothing was given" : "%s: too long, or it holds a NUL", what);
		rc = CTL_FAILED;
	}
	if (rc == CTL_OK)
		*out = line;
	else
		bs_secret_free(line);
	return rc;
}

static int
ask_once(int tty, const char *prompt, char **out)
{
	struct terminal terminal;
	bool again;
	int rc;

	do {
		if (!terminal_quiet(&terminal, tty))
			return ctl_fail(BS_ERR_ARG, "no password can be asked for on this terminal");
		/* Behind that: who answers at once must not be shown. */
		(void)dprintf(tty, "%s: ", prompt);
		rc = read_line(tty, &terminal, prompt, out);
		again = terminal_restore(&terminal) && rc == INTERRUPTED;
	} while (again);
	return rc == INTERRUPTED ? ctl_fail(BS_ERR_ARG, "%s: interrupted", prompt) : rc;
}

static int
ask(int tty, const char *prompt, bool confirm, char **out)
{
	char *first = NULL, *again = NULL;
	int rc = ask_once(tty, prompt, &first);

	if (rc == CTL_OK && confirm)
		rc = ask_once(tty, "The same again", &again);
	if (rc == CTL_OK && confirm && strcmp(first, again) != 0)
		rc = ctl_fail(BS_ERR_ARG, "the two are not the same");
	bs_secret_free(again);
	if (rc == CTL_OK)
		*out = first;
	else
		bs_secret_free(first);
	return rc;
}

int
ctl_read_password(uint64_t given, uint64_t option, const char *prompt, bool confirm, char **out)
{
	int tty, rc;

	if ((given & option) != 0)
		return read_line(STDIN_FILENO, NULL, prompt, out);
	tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (tty < 0) {
		ctl_fail(BS_ERR_ARG, "there is no terminal to ask for a password: give %s",
		    option == CTL_OLD_PASSWORD ? "--old-password-stdin" : "--password-stdin");
		return CTL_USAGE;
	}
	rc = ask(tty, prompt, confirm, out);
	(void)close(tty);
	return rc;
}

int
ctl_read_secret(uint64_t given, const char *address, char **out)
{
	char prompt[BS_ADDRESS_MAX + 64];

	snprintf(prompt, sizeof(prompt), "Password or recovery code of %s", address);
	return ctl_read_password(given, CTL_PASSWORD, prompt, false, out);
}

int
ctl_refused_secret(const char *address, const char *secret)
{
	struct bs_code code;
	unsigned group = 0;
	enum bs_err err = bs_code_read(secret, strlen(secret), &code, &group);

	bs_wipe(code.secret, sizeof(code.secret));
	if (err == BS_ERR_ARG)
		return ctl_fail(BS_ERR_DENIED, "%s: mistyped: look at group %u of the code again", address, group);
	if (err == BS_OK && code.kind == BS_CODE_APP)
		return ctl_fail(BS_ERR_DENIED, "%s: an app password opens mail, but changes no keys", address);
	return ctl_fail(BS_ERR_DENIED, "%s: no such account, or this is neither its password nor a recovery code of it", address);
}
