/*
 * arena: the one place where the vault keeps secrets: a fixed number of equal cells in one locked, guarded mapping.
 *
 * Mapped after all other roles forked, never grows (one sodium_malloc a key fails at 16,377 keys: four mappings each).
 * memfd_secret(2) where the kernel has it, so that not even the kernel maps it; else anonymous memory, locked. Always:
 * a guard page on both sides, out of core files, not inherited by a fork, each cell wiped when it is released. The
 * book-keeping lies outside, so that a write past a cell never hands one cell out twice. One thread.
 * Errors: BS_ERR_LIMIT (the memory can't be locked: RLIMIT_MEMLOCK), BS_ERR_NOMEM.
 *
 *     err = arena_new(sizeof(struct ring_cell), 10000, &arena);
 *     struct ring_cell *cell = arena_alloc(arena);      // zeroed; NULL: all are taken
 *     arena_release(arena, cell);
 */
#ifndef KEYD_ARENA_H
#define KEYD_ARENA_H

#include "err.h"

#include <stddef.h>

struct arena;

/* What arena_new() would lock, in bytes. */
size_t arena_size(size_t cell_len, size_t cells);
enum bs_err arena_new(size_t cell_len, size_t cells, struct arena **out) BS_MUST_USE;
/* Wipes all cells and unmaps; NULL is legal. */
void arena_free(struct arena *arena);
void *arena_alloc(struct arena *arena);
/* Wipes. A pointer that is no cell in use is a bug: aborts. NULL is legal. */
void arena_release(struct arena *arena, void *cell);
size_t arena_used(const struct arena *arena);
size_t arena_cells(const struct arena *arena);
/* Locked bytes, without the guards. */
size_t arena_bytes(const struct arena *arena);
/* True when it stands on memfd_secret. */
bool arena_is_secretmem(const struct arena *arena);

#endif
