#include "password.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "ctl.h"
#include "secretcode.h"

/* Byte by byte, so that nothing of a next line is taken. NULL: what is wrong was said. */
static char *
read_line(int fd, const char *what)
{
	char *line = bs_secret_new(BS_PASSWORD_MAX + 2);
	size_t len = 0;
	ssize_t n;

	if (line == NULL) {
		ctl_fail(BS_ERR_NOMEM, "no locked memory for a password; raise `ulimit -l`");
		return NULL;
	}
	while ((n = read(fd, line + len, 1)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || line[len] == '\n' || len > BS_PASSWORD_MAX)
			break;
		len++;
	}
	if (len > 0 && line[len - 1] == '\r')
		len--;
	line[len] = '\0';
	if (n >= 0 && len > 0 && len <= BS_PASSWORD_MAX && memchr(line, '\0', len) == NULL)
		return line;
	ctl_fail(BS_ERR_ARG, len == 0 ? "%s: nothing was given" : "%s: too long, or it holds a NUL", what);
	bs_secret_free(line);
	return NULL;
}

static char *
ask_once(int tty, const char *prompt)
{
	struct termios old, quiet;
	char *line;

	if (tcgetattr(tty, &old) < 0)
		return NULL;
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	/* The prompt comes behind that: who answers it at once must not be shown, nor thrown away. */
	if (tcsetattr(tty, TCSAFLUSH, &quiet) < 0)
		return NULL;
	dprintf(tty, "%s: ", prompt);
	line = read_line(tty, prompt);
	(void)tcsetattr(tty, TCSAFLUSH, &old);
	dprintf(tty, "\n");
	return line;
}

static char *
ask(int tty, const char *prompt, bool confirm)
{
	char *first = ask_once(tty, prompt);
	char *again = first == NULL || !confirm ? NULL : ask_once(tty, "The same again");

	if (first != NULL && confirm && (again == NULL || strcmp(first, again) != 0)) {
		if (again != NULL)
			ctl_fail(BS_ERR_ARG, "the two are not the same");
		bs_secret_free(first);
		first = NULL;
	}
	bs_secret_free(again);
	return first;
}

int
ctl_read_password(uint64_t given, uint64_t option, const char *prompt, bool confirm, char **out)
{
	bool from_stdin = (given & option) != 0;
	int tty = -1;
	char *line;

	if (!from_stdin) {
		tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
		if (tty < 0) {
			ctl_fail(BS_ERR_ARG, "there is no terminal to ask for a password: give %s",
			    option == CTL_OLD_PASSWORD ? "--old-password-stdin" : "--password-stdin");
			return CTL_USAGE;
		}
	}
	line = from_stdin ? read_line(STDIN_FILENO, prompt) : ask(tty, prompt, confirm);
	if (tty >= 0)
		close(tty);
	if (line == NULL)
		return CTL_FAILED;
	*out = line;
	return CTL_OK;
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
