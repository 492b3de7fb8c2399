/*
 * program: runs a program that a setting names. It gets no environment but PATH and LANG, and descriptors that are to go on (FD_CLOEXEC) alone.
 *
 *     size_t n = program_words(command, argv);                 // a copy of the setting, which is cut up
 *     argv[n] = NULL;
 *     pid_t pid = program_start(argv, in, STDERR_FILENO);      // then waitpid()
 */
#ifndef CTL_PROGRAM_H
#define CTL_PROGRAM_H

#include <stddef.h>
#include <sys/types.h>

#define PROGRAM_WORDS_MAX 32
#define PROGRAM_NOT_RUN 127 /* exit status: argv[0] could not be executed */

/* The words of a setting, at most PROGRAM_WORDS_MAX; their number, 0: none, or too many. */
size_t program_words(char *command, const char **argv);
/* in: its standard input, -1: nothing; out: its standard output. Standard error is ours. -1: errno. */
pid_t program_start(const char *const *argv, int in, int out);

#endif
