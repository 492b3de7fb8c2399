#include "program.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

size_t
program_words(char *command, const char **argv)
{
	size_t n = 0;
	char *rest = NULL;

	for (char *word = strtok_r(command, " \t", &rest); word != NULL; word = strtok_r(NULL, " \t", &rest)) {
		if (n == PROGRAM_WORDS_MAX)
			return 0;
		argv[n++] = word;
	}
	return n;
}

/* The child's half; does not return. */
static void
become(const char *const *argv, int in, int out)
{
	static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", lang[] = "LANG=C";
	static char *const env[] = { path, lang, NULL };

	(void)signal(SIGPIPE, SIG_DFL);
	if (in < 0)
		in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
		_exit(126);
	(void)execve(argv[0], (char *const *)(uintptr_t)argv, env); /* NOLINT(performance-no-int-to-ptr): execve's type */
	_exit(PROGRAM_NOT_RUN);
}

pid_t
program_start(const char *const *argv, int in, int out)
{
	pid_t pid = fork();

	if (pid == 0)
		become(argv, in, out);
	return pid;
}
