#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/arena.h"

static void memory_is_zeroed_aligned_and_distinct(void **state)
{
	(void)state;
	struct arena *a = arena_new(1 << 20);
	unsigned char *last = NULL;
	for (size_t round = 0; round < 3; round++) {
		for (size_t size = 0; size < 300; size++) {
			unsigned char *p = arena_alloc(a, size);
			assert_non_null(p);
			assert_int_equal((uintptr_t)p % 16, 0);
			assert_ptr_not_equal(p, last);
			for (size_t i = 0; i < size; i++) assert_int_equal(p[i], 0);
			memset(p, 0xAB, size);
			last = p;
		}
		arena_reset(a);
		assert_int_equal(arena_used_bytes(a), 0);
	}
	arena_free(a);
	arena_free(NULL);
}

static void large_blocks_and_the_cap(void **state)
{
	(void)state;
	struct arena *a = arena_new(100000);
	assert_false(arena_is_over(a));
	char *big = arena_alloc(a, 99000);
	memset(big, 1, 99000);
	assert_false(arena_is_over(a));
	arena_alloc(a, 2000);
	assert_true(arena_is_over(a));
	arena_reset(a);
	assert_false(arena_is_over(a));
	arena_free(a);
}

static void texts(void **state)
{
	(void)state;
	struct arena *a = arena_new(1000);
	assert_null(arena_strdup(a, NULL));
	assert_string_equal(arena_strdup(a, ""), "");
	assert_string_equal(arena_strndup(a, "abcdef", 3), "abc");
	assert_string_equal(arena_printf(a, "%s-%d", "x", 42), "x-42");
	int *numbers = arena_array(a, 5, sizeof *numbers);
	numbers[4] = 1;
	assert_non_null(arena_array(a, 0, 8));
	arena_free(a);
}

static void overflow_of_the_product_aborts(void **state)
{
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		close(STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		arena_array(arena_new(10), SIZE_MAX / 4, 8);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(memory_is_zeroed_aligned_and_distinct), cmocka_unit_test(large_blocks_and_the_cap),
	    cmocka_unit_test(texts), cmocka_unit_test(overflow_of_the_product_aborts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
