/*
 * threads: functions on threads of their own, which nobody joins. Those that are done wait a while for the next function:
 * making a thread and ending it costs more than many a function that it is made for.
 *
 * Any thread may call, but for _free(), which is the last call. What a function leaves on its stack stays there until the
 * stack is used again: secrets are wiped by whom they belong to, as ever.
 *
 *     threads = bs_threads_new(STACK_BYTES, IDLE_MAX, BS_THREADS_IDLE_MS);
 *     if (!bs_threads_run(threads, serve, client)) ...       // serve(client) has not been called and will not be
 *     bs_threads_free(threads);                              // does not wait for functions that run
 */
#ifndef BASALT_THREADS_H
#define BASALT_THREADS_H

#include <stdbool.h>
#include <stddef.h>

#define BS_THREADS_IDLE_MS 10000 /* a good idle_ms */

struct bs_threads;

/* idle_max: how many wait at most; idle_ms: how long one waits. NULL: out of memory. */
struct bs_threads *bs_threads_new(size_t stack_bytes, unsigned idle_max, unsigned idle_ms);
/* False: no thread can be had. */
bool bs_threads_run(struct bs_threads *threads, void (*function)(void *arg), void *arg);
/* Ends those that wait; the others end with their function. NULL is legal. */
void bs_threads_free(struct bs_threads *threads);

/* One thread for one function. False: none can be had. */
bool bs_thread_start(size_t stack_bytes, void *(*function)(void *arg), void *arg);

#endif
