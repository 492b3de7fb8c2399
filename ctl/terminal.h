/*
 * terminal: a terminal without echo while a secret is typed, and as it was afterwards, whatever ends the program.
 *
 * SIGINT, SIGQUIT, SIGTERM, SIGHUP and SIGTSTP wait from _quiet to _restore, and are delivered then. One terminal at a time,
 * one thread.
 *
 *     if (terminal_quiet(&t, tty)) {
 *         while (terminal_wait(&t)) ...read...
 *         again = terminal_restore(&t);
 *     }
 */
#ifndef CTL_TERMINAL_H
#define CTL_TERMINAL_H

#include <signal.h>
#include <stdbool.h>
#include <termios.h>

struct terminal {
	int tty, signals;
	struct termios before;
	sigset_t mask;
};

/* False: it is no terminal. */
bool terminal_quiet(struct terminal *t, int tty);
/* Until a line is there; false: one of the signals is. */
bool terminal_wait(const struct terminal *t);
/* True: the program was stopped by the terminal (Ctrl-Z) and goes on now: what was asked has to be asked again. */
bool terminal_restore(struct terminal *t);

#endif
