/* The buffer that takes the place of read and write for one descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../../src/net/sockbuf.h"

static int ends[2];
static struct sockbuf *b;

static int setup(void **state)
{
	(void)state;
	b = sockbuf_new();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) return -1;
	sockbuf_reset(b, ends[0]);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sockbuf_free(b);
	sockbuf_free(NULL);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static void input_is_gathered_and_in_order(void **state)
{
	char text[20] = "", byte;
	(void)state;
	assert_int_equal(write(ends[1], "hello", 5), 5);
	sockbuf_leave(sockbuf_enter(b)); /* not active any more: the bare call */
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(byte, 'h');
	assert_false(sockbuf_has_input(b));
	struct sockbuf *before = sockbuf_enter(b);
	assert_null(before);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(byte, 'e');
	assert_true(sockbuf_has_input(b));
	assert_int_equal(read(ends[0], text, 10), 3);
	assert_string_equal(text, "llo");
	sockbuf_leave(before);
	assert_int_equal(write(ends[1], "x", 1), 1);
	sockbuf_enter(b);
	errno = 0;
	assert_int_equal(read(ends[0], &byte, 1), -1); /* a short read was taken for a drained socket */
	assert_int_equal(errno, EAGAIN);
	sockbuf_look_again(b);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	sockbuf_look_again(b);
	assert_int_equal(read(ends[0], &byte, 1), -1);
	assert_int_equal(errno, EAGAIN);
	sockbuf_leave(before);
	close(ends[1]);
	sockbuf_enter(b);
	sockbuf_look_again(b);
	assert_int_equal(read(ends[0], &byte, 1), 0); /* the end */
	sockbuf_leave(before);
	ends[1] = dup(ends[0]);
}

static void output_waits_for_the_flush_and_for_room(void **state)
{
	char text[100000];
	size_t given = 0, taken = 0;
	ssize_t n;
	(void)state;
	memset(text, 'x', sizeof text);
	sockbuf_enter(b);
	assert_int_equal(write(ends[0], "abc", 3), 3);
	assert_true(sockbuf_has_output(b));
	sockbuf_leave(NULL);
	assert_int_equal(read(ends[1], text, 10), -1);
	assert_int_equal(sockbuf_flush(b), 0);
	assert_false(sockbuf_has_output(b));
	assert_int_equal(read(ends[1], text, 10), 3);
	memset(text, 'x', sizeof text);
	sockbuf_enter(b);
	while ((n = write(ends[0], text, sizeof text)) > 0) given += (size_t)n;
	assert_int_equal(n, -1);
	assert_int_equal(errno, EAGAIN);
	sockbuf_leave(NULL);
	assert_true(given > 16384);
	for (int i = 0; i < 10000 && taken < given; i++) {
		assert_int_equal(sockbuf_flush(b), 0);
		while ((n = read(ends[1], text, sizeof text)) > 0) taken += (size_t)n;
	}
	assert_int_equal(taken, given);
	assert_false(sockbuf_has_output(b));
	sockbuf_enter(b);
	assert_int_equal(write(ends[0], "abc", 3), 3);
	sockbuf_leave(NULL);
	shutdown(ends[0], SHUT_WR);
	assert_int_equal(sockbuf_flush(b), EPIPE);
}

static void others_are_not_touched(void **state)
{
	int other[2];
	char byte = 0;
	(void)state;
	assert_int_equal(pipe2(other, O_NONBLOCK | O_CLOEXEC), 0);
	sockbuf_enter(b);
	assert_int_equal(write(other[1], "ab", 2), 2);
	assert_int_equal(write(other[1], "c", 1), 1); /* what would wake up a thread that there is not */
	sockbuf_enter(NULL);
	assert_int_equal(write(other[1], "d", 1), 1);
	sockbuf_leave(NULL);
	assert_int_equal(read(other[0], &byte, 1), 1);
	assert_int_equal(read(other[0], &byte, 1), 1);
	assert_int_equal(read(other[0], &byte, 1), 1);
	assert_int_equal(byte, 'd');
	assert_int_equal(read(-1, &byte, 1), -1);
	assert_int_equal(errno, EBADF);
	close(other[0]);
	close(other[1]);
}

static void a_new_socket_starts_empty(void **state)
{
	char byte;
	(void)state;
	assert_int_equal(write(ends[1], "old", 3), 3);
	sockbuf_enter(b);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(write(ends[0], "old", 3), 3);
	sockbuf_leave(NULL);
	sockbuf_reset(b, ends[0]);
	assert_false(sockbuf_has_input(b) || sockbuf_has_output(b));
	assert_false(sockbuf_has_input(NULL) || sockbuf_has_output(NULL));
	assert_int_equal(sockbuf_flush(NULL), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(input_is_gathered_and_in_order), TEST(output_waits_for_the_flush_and_for_room),
	    TEST(others_are_not_touched), TEST(a_new_socket_starts_empty),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
