/* The vault's locked cells: fixed number, zeroed, wiped, guarded, and unforgiving to wrong pointers. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "keyd/arena.h"

#define CELLS 100
#define LEN 112

static void
test_all_cells_once(void **state)
{
	struct arena *arena;
	uint8_t *cells[CELLS];

	(void)state;
	assert_int_equal(arena_new(LEN, CELLS, &arena), BS_OK);
	assert_int_equal(arena_cells(arena), CELLS);
	for (int i = 0; i < CELLS; i++) {
		cells[i] = arena_alloc(arena);
		assert_non_null(cells[i]);
		for (int b = 0; b < LEN; b++)
			assert_int_equal(cells[i][b], 0);
		memset(cells[i], 0x5a, LEN);
	}
	assert_null(arena_alloc(arena));
	assert_int_equal(arena_used(arena), CELLS);
	for (int i = 0; i < CELLS; i++) {
		assert_int_equal(cells[i][0], 0x5a); /* no two overlap */
		assert_int_equal(cells[i][LEN - 1], 0x5a);
		arena_release(arena, cells[i]);
		assert_int_equal(cells[i][0], 0);
		assert_int_equal(cells[i][LEN - 1], 0);
	}
	assert_int_equal(arena_used(arena), 0);
	assert_non_null(arena_alloc(arena));
	arena_free(arena);
	arena_free(NULL);
}

/* The signal that fn dies of, in a child. MADV_DONTFORK: the child makes an arena of its own. */
static int
dies_of(void (*fn)(struct arena *))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct arena *arena;

		(void)signal(SIGABRT, SIG_DFL);
		(void)signal(SIGSEGV, SIG_DFL);
		(void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		if (arena_new(LEN, CELLS, &arena) == BS_OK)
			fn(arena);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void
release_twice(struct arena *arena)
{
	void *cell = arena_alloc(arena);

	arena_release(arena, cell);
	arena_release(arena, cell);
}

static void
release_inside(struct arena *arena)
{
	uint8_t *cell = arena_alloc(arena);

	arena_release(arena, cell + 16);
}

static void
release_stranger(struct arena *arena)
{
	static uint8_t other[LEN];

	arena_release(arena, other);
}

static volatile uint8_t *
first_cell(struct arena *arena)
{
	return arena_alloc(arena);
}

static void
read_before(struct arena *arena)
{
	(void)first_cell(arena)[-1];
}

static void
write_behind(struct arena *arena)
{
	first_cell(arena)[arena_bytes(arena)] = 1;
}

static void
test_wrong_pointers_end_the_process(void **state)
{
	(void)state;
	assert_int_equal(dies_of(release_twice), SIGABRT);
	assert_int_equal(dies_of(release_inside), SIGABRT);
	assert_int_equal(dies_of(release_stranger), SIGABRT);
#if !defined(__SANITIZE_ADDRESS__)
	assert_int_equal(dies_of(read_before), SIGSEGV);
	assert_int_equal(dies_of(write_behind), SIGSEGV);
#else
	(void)read_before;
	(void)write_behind;
#endif
}

/* A child that a bug forks has nothing there, or zeros. */
static void
test_not_inherited(void **state)
{
	struct arena *arena;
	uint8_t *cell;
	pid_t pid;
	int status;

	(void)state;
	assert_int_equal(arena_new(LEN, CELLS, &arena), BS_OK);
	cell = arena_alloc(arena);
	memset(cell, 0x5a, LEN);
	pid = fork();
	if (pid == 0) {
		(void)signal(SIGSEGV, SIG_DFL);
		(void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		_exit(*(volatile uint8_t *)cell == 0x5a ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	arena_free(arena);
}

/* Without root no more may be locked than the limit says: then there is no arena, not an unlocked one. */
static void
test_no_lock_no_arena(void **state)
{
	pid_t pid;
	int status;

	(void)state;
#if defined(__SANITIZE_ADDRESS__)
	return; /* it makes mlock() say yes to everything */
#endif
	pid = fork();
	if (pid == 0) {
		struct arena *arena;

		(void)setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ 65536, 65536 });
		if (getuid() == 0 && setuid(65534) != 0)
			_exit(2);
		_exit(arena_new(LEN, 10000, &arena) == BS_ERR_LIMIT ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
test_absurd_sizes(void **state)
{
	struct arena *arena = NULL;

	(void)state;
	assert_int_equal(arena_new(0, 1, &arena), BS_ERR_LIMIT);
	assert_int_equal(arena_new(1, 0, &arena), BS_ERR_LIMIT);
	assert_int_equal(arena_new(SIZE_MAX / 2, 3, &arena), BS_ERR_LIMIT);
	assert_int_equal(arena_new(16, SIZE_MAX / 16, &arena), BS_ERR_LIMIT);
	assert_null(arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_cells_once),
		cmocka_unit_test(test_wrong_pointers_end_the_process),
		cmocka_unit_test(test_not_inherited),
		cmocka_unit_test(test_no_lock_no_arena),
		cmocka_unit_test(test_absurd_sizes),
	};

	return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
