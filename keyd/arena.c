#include "arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CELL_ALIGN 16u

struct arena {
	uint8_t *map; /* guard page, cells, guard page */
	size_t map_len;
	size_t page;
	size_t bytes;
	size_t cell_len;
	size_t cells;
	size_t used;
	bool secretmem;
	uint32_t *next_free; /* [cells]: list of free cells; IN_USE for the others */
	uint32_t first_free;
};

#define NONE UINT32_MAX
#define IN_USE (UINT32_MAX - 1)

/* Memory that only this process maps, over the PROT_NONE pages at where. False where the kernel has no memfd_secret. */
static bool
map_secret(void *where, size_t len)
{
	bool ok = false;
#ifdef SYS_memfd_secret
	int fd = (int)syscall(SYS_memfd_secret, 0U);

	if (fd < 0)
		return false;
	ok = ftruncate(fd, (off_t)len) == 0
	    && mmap(where, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED;
	(void)close(fd);
#else
	(void)where, (void)len;
#endif
	return ok;
}

/* Ordinary memory: locked, wiped in a child that a bug might fork. */
static bool
map_locked(void *where, size_t len)
{
	if (mmap(where, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return false;
	(void)madvise(where, len, MADV_WIPEONFORK);
	return mlock(where, len) == 0;
}

static enum bs_err
map_cells(struct arena *arena)
{
	uint8_t *cells;

	arena->map = mmap(NULL, arena->map_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena->map == MAP_FAILED) {
		arena->map = NULL;
		return BS_ERR_NOMEM;
	}
	cells = arena->map + arena->page;
	arena->secretmem = map_secret(cells, arena->bytes);
	if (!arena->secretmem && !map_locked(cells, arena->bytes))
		return BS_ERR_LIMIT;
	if (madvise(cells, arena->bytes, MADV_DONTDUMP) != 0 && !arena->secretmem)
		return BS_ERR_NOMEM;
	(void)madvise(cells, arena->bytes, MADV_DONTFORK);
	memset(cells, 0, arena->bytes); /* every page is there now: no fault later */
	return BS_OK;
}

static size_t
round_up(size_t len, size_t to)
{
	return (len + to - 1) / to * to;
}

size_t
arena_size(size_t cell_len, size_t cells)
{
	return round_up(round_up(cell_len, CELL_ALIGN) * cells, (size_t)sysconf(_SC_PAGESIZE));
}

enum bs_err
arena_new(size_t cell_len, size_t cells, struct arena **out)
{
	struct arena *arena;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	enum bs_err err = BS_ERR_NOMEM;

	if (cells == 0 || cells >= IN_USE || cell_len == 0 || cell_len > SIZE_MAX / 4 / cells - CELL_ALIGN)
		return BS_ERR_LIMIT;
	arena = calloc(1, sizeof(*arena));
	if (arena == NULL)
		return BS_ERR_NOMEM;
	arena->page = page;
	arena->cell_len = round_up(cell_len, CELL_ALIGN);
	arena->cells = cells;
	arena->bytes = arena_size(cell_len, cells);
	arena->map_len = arena->bytes + 2 * page;
	arena->next_free = calloc(cells, sizeof(*arena->next_free));
	if (arena->next_free == NULL)
		goto out;
	for (size_t i = 0; i < cells; i++)
		arena->next_free[i] = i + 1 < cells ? (uint32_t)(i + 1) : NONE;
	err = map_cells(arena);
	if (err != BS_OK)
		goto out;
	*out = arena;
	arena = NULL;
out:
	arena_free(arena);
	return err;
}

void
arena_free(struct arena *arena)
{
	if (arena == NULL)
		return;
	/* After a failure the cells may not be writable: nothing was handed out then. */
	if (arena->used > 0)
		explicit_bzero(arena->map + arena->page, arena->bytes);
	if (arena->map != NULL)
		(void)munmap(arena->map, arena->map_len);
	free(arena->next_free);
	free(arena);
}

void *
arena_alloc(struct arena *arena)
{
	uint32_t i = arena->first_free;

	if (i == NONE)
		return NULL;
	arena->first_free = arena->next_free[i];
	arena->next_free[i] = IN_USE;
	arena->used++;
	return arena->map + arena->page + i * arena->cell_len;
}

void
arena_release(struct arena *arena, void *cell)
{
	size_t off, i;

	if (cell == NULL)
		return;
	off = (size_t)((uint8_t *)cell - (arena->map + arena->page));
	i = off / arena->cell_len;
	if (off % arena->cell_len != 0 || i >= arena->cells || arena->next_free[i] != IN_USE)
		abort();
	explicit_bzero(cell, arena->cell_len);
	arena->next_free[i] = arena->first_free;
	arena->first_free = (uint32_t)i;
	arena->used--;
}

size_t
arena_used(const struct arena *arena)
{
	return arena->used;
}

size_t
arena_cells(const struct arena *arena)
{
	return arena->cells;
}

size_t
arena_bytes(const struct arena *arena)
{
	return arena->bytes;
}

bool
arena_is_secretmem(const struct arena *arena)
{
	return arena->secretmem;
}
