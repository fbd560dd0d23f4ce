/* Forms as they come: whole, byte by byte, and broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/multipart.h"

struct log {
	char text[4096];
	size_t len, refuse_at; /* refuse_at: call that returns false, from 1; 0: none */
	size_t calls;
};

static bool count(struct log *l)
{
	return ++l->calls != l->refuse_at;
}

static bool on_begin(void *ctx, const struct multipart_part *part)
{
	struct log *l = ctx;
	l->len += (size_t)snprintf(l->text + l->len, sizeof l->text - l->len, "[%s|%s|", part->name, part->file_name);
	return count(l);
}

static bool on_data(void *ctx, const void *data, size_t len)
{
	struct log *l = ctx;
	assert_true(len > 0 && l->len + len < sizeof l->text);
	memcpy(l->text + l->len, data, len);
	l->len += len;
	l->text[l->len] = '\0';
	return count(l);
}

static bool on_end(void *ctx)
{
	struct log *l = ctx;
	l->len += (size_t)snprintf(l->text + l->len, sizeof l->text - l->len, "]");
	return count(l);
}

static bool feed(struct multipart *m, struct log *l, const char *text, size_t len, size_t step)
{
	const struct multipart_handler h = {on_begin, on_data, on_end, l};
	for (size_t at = 0; at < len; at += step) {
		if (!multipart_feed(m, text + at, len - at < step ? len - at : step, &h))
			return false;
	}
	return true;
}

#define TYPE "multipart/form-data; boundary=ab-ab"
#define PART(head, body) "--ab-ab\r\n" head "\r\n\r\n" body "\r\n"
#define FILE_HEAD "Content-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\nContent-Type: x/y"

static void every_step_gives_the_same(void **state)
{
	/* contents that look like the boundary, and begin or end with pieces of it */
	static const char form[] = "preamble\r\n" PART("content-disposition:form-data;name=md5sum", "12") PART(FILE_HEAD, "\r\n--ab-a\r\n--ab-\r\n\r\n--ab\r\n")
		PART("Content-Disposition: form-data; name=\"e\"", "") "--ab-ab--\r\nepilogue --ab-ab";
	static const char want[] = "[md5sum||12][file|a.bin|\r\n--ab-a\r\n--ab-\r\n\r\n--ab\r\n][e||]";
	(void)state;
	for (size_t step = 1; step < sizeof form; step++) {
		struct multipart m;
		struct log l = {.len = 0};
		assert_true(multipart_init(&m, TYPE));
		assert_true(feed(&m, &l, form, sizeof form - 1, step));
		assert_true(multipart_is_complete(&m));
		assert_string_equal(l.text, want);
	}
}

static void boundaries_that_repeat_themselves(void **state)
{
	static const char form[] = "--aaaa\r\nContent-Disposition: form-data; name=f\r\n\r\n\r\n--aaa\r\n\r\n--aa\r\n--aaaa--";
	(void)state;
	for (size_t step = 1; step < sizeof form; step++) {
		struct multipart m;
		struct log l = {.len = 0};
		assert_true(multipart_init(&m, "multipart/form-data; boundary=\"aaaa\"; charset=x"));
		assert_true(feed(&m, &l, form, sizeof form - 1, step) && multipart_is_complete(&m));
		assert_string_equal(l.text, "[f||\r\n--aaa\r\n\r\n--aa]");
	}
}

static void names_of_files(void **state)
{
	static const char *const rows[][2] = {
		{"name=\"file\"; filename=\"a;b \\\"c\\\".bin\"", "a;b \"c\".bin"}, {"name=file; filename=plain.bin", "plain.bin"},
		{"filename=\"x\"; name=\"file\"", "x"}, {"name=\"file\"; filename=\"u\"; filename*=UTF-8''%c3%BCber%20x", "\xc3\xbc" "ber x"}, {"name=\"file\"", ""},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char form[400], want[200];
		struct multipart m;
		struct log l = {.len = 0};
		int n = snprintf(form, sizeof form, "--ab-ab \t\r\nContent-Disposition: form-data; %s\r\n\r\nx\r\n--ab-ab--", rows[i][0]);
		snprintf(want, sizeof want, "[file|%s|x]", rows[i][1]);
		assert_true(multipart_init(&m, TYPE) && feed(&m, &l, form, (size_t)n, 7));
		assert_string_equal(l.text, want);
	}
}

static void what_is_no_form_is_refused(void **state)
{
	static const char *const types[] = {"text/plain", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=x",
		"multipart/form-data; boundary=0123456789012345678901234567890123456789012345678901234567890123456789012345"};
	static const char *const forms[] = {
		"--ab-abx", "--ab-ab\rx", "--ab-ab-x", "--ab-ab\r\nContent-Type: x\r\n\r\n", "--ab-ab\r\n\r\n", "--ab-ab\r\nContent-Disposition: form-data; name=\"\"\r\n\r\n",
		"--ab-ab\r\nContent-Disposition: form-data; name=f; filename*=UTF-8''%zz\r\n\r\n",
	};
	struct multipart m;
	(void)state;
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		assert_false(multipart_init(&m, types[i]));
	assert_false(multipart_init(&m, NULL));
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		struct log l = {.len = 0};
		assert_true(multipart_init(&m, TYPE));
		assert_false(feed(&m, &l, forms[i], strlen(forms[i]), 1));
		assert_non_null(m.error);
		assert_false(multipart_is_complete(&m));
		assert_false(feed(&m, &l, "x", 1, 1)); /* and stays so */
	}
}

static void limits_hold(void **state)
{
	static char form[8192];
	struct multipart m;
	struct log l = {.len = 0};
	(void)state;
	strcpy(form, "--ab-ab\r\nX: ");
	memset(form + strlen(form), 'a', MULTIPART_HEADERS_MAX);
	assert_true(multipart_init(&m, TYPE));
	assert_false(feed(&m, &l, form, strlen(form), 100));
	form[0] = '\0';
	for (int i = 0; i <= MULTIPART_PARTS_MAX; i++)
		strcat(form, PART("Content-Disposition: form-data; name=f", "x"));
	assert_true(multipart_init(&m, TYPE));
	assert_false(feed(&m, &l, form, strlen(form), 100));
	assert_non_null(m.error);
	assert_true(multipart_init(&m, TYPE));
	assert_false(feed(&m, &l, "--ab-ab\r\n\0", 10, 1));
}

static void a_callback_stops_it(void **state)
{
	static const char form[] = PART(FILE_HEAD, "data") "--ab-ab--";
	(void)state;
	for (size_t at = 1; at <= 3; at++) {
		struct multipart m;
		struct log l = {.refuse_at = at};
		assert_true(multipart_init(&m, TYPE));
		assert_false(feed(&m, &l, form, sizeof form - 1, sizeof form));
		assert_null(m.error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_step_gives_the_same), cmocka_unit_test(boundaries_that_repeat_themselves), cmocka_unit_test(names_of_files),
		cmocka_unit_test(what_is_no_form_is_refused), cmocka_unit_test(limits_hold), cmocka_unit_test(a_callback_stops_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
