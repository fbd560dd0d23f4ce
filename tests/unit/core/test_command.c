/* Tables of commands, and answers: taken whole or refused with the member at fault. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "core/command.h"

static void texts_and_back(void **state)
{
	(void)state;
	enum command_kind kind;
	enum command_check check;
	enum command_state at;
	for (int i = 0; i < COMMAND_KIND_COUNT; i++) assert_true(command_kind_of(command_kind_text((enum command_kind)i), &kind) && (int)kind == i);
	for (int i = 0; i < COMMAND_CHECK_COUNT; i++) assert_true(command_check_of(command_check_text((enum command_check)i), &check) && (int)check == i);
	for (int i = 0; i < COMMAND_STATE_COUNT; i++) assert_true(command_state_of(command_state_text((enum command_state)i), &at) && (int)at == i);
	assert_false(command_kind_of("reboot", &kind));
	assert_false(command_check_of("", &check));
	assert_false(command_state_of("QUEUED", &at));
	assert_false(command_check_is_excusable(COMMAND_CHECK_MODEL_HASH));
	assert_true(command_check_is_excusable(COMMAND_CHECK_INFERENCE));
	assert_false(command_state_is_final(COMMAND_SENT));
	assert_true(command_state_is_final(COMMAND_EXPIRED));
}

static enum err parse(const char *text, struct command_answer *a, struct fault *f)
{
	*f = (struct fault){"", ""};
	return answer_parse(a, text, strlen(text), f);
}

static void answers_are_read(void **state)
{
	(void)state;
	struct command_answer a;
	struct fault f;
	assert_int_equal(parse("{\"id\":17,\"state\":\"done\",\"pass\":false,\"value\":12.5,\"detail\":\"a \\u00e4\",\"more\":[{}]}", &a, &f), ERR_OK);
	assert_int_equal(a.id, 17);
	assert_true(a.is_done && a.has_passed && !a.passed && a.has_value && a.value == 12.5);
	assert_string_equal(a.detail, "a \xc3\xa4");
	assert_int_equal(parse("{\"state\":\"rejected\",\"id\":1}", &a, &f), ERR_OK);
	assert_true(!a.is_done && !a.has_passed && !a.has_value && a.detail[0] == '\0');
	assert_int_equal(parse("{\"state\":\"done\",\"pass\":true,\"id\":9007199254740992}", &a, &f), ERR_OK);
	assert_true(a.passed);
	assert_int_equal(parse("{\"state\":\"done\",\"id\":1,\"value\":-1e15,\"detail\":\"\"}", &a, &f), ERR_OK); /* the very bounds */
	assert_true(a.has_value && a.value == -1e15 && a.detail[0] == '\0');
	char text[ANSWER_BYTES + 1];
	memset(text, ' ', sizeof text);
	memcpy(text, "{\"state\":\"done\",\"id\":7}", 23);
	assert_int_equal(answer_parse(&a, text, ANSWER_BYTES, &f), ERR_OK);
	assert_int_equal(a.id, 7);
}

static void others_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum err e;
		const char *pointer;
	} rows[] = {
		{"", ERR_BAD_REQUEST, ""},
		{"[]", ERR_BAD_REQUEST, ""},
		{"{\"id\":1,\"state\":\"done\"", ERR_BAD_REQUEST, ""},
		{"{\"id\":1,\"state\":\"done\"} x", ERR_BAD_REQUEST, ""},
		{"{\"id\":1,\"more\":", ERR_BAD_REQUEST, ""},
		{"{\"id\":1,\"value\":1e}", ERR_BAD_REQUEST, ""},
		{"{\"state\":\"done\"}", ERR_INVALID, ""},
		{"{\"id\":1}", ERR_INVALID, ""},
		{"{\"id\":0,\"state\":\"done\"}", ERR_INVALID, "/id"},
		{"{\"id\":1.5,\"state\":\"done\"}", ERR_INVALID, "/id"},
		{"{\"id\":9007199254740993,\"state\":\"done\"}", ERR_INVALID, "/id"},
		{"{\"id\":1,\"id\":1,\"state\":\"done\"}", ERR_INVALID, "/id"},
		{"{\"id\":1,\"state\":\"sent\"}", ERR_INVALID, "/state"},
		{"{\"id\":1,\"state\":7}", ERR_INVALID, "/state"},
		{"{\"id\":1,\"state\":\"done\",\"pass\":1}", ERR_INVALID, "/pass"},
		{"{\"id\":1,\"state\":\"done\",\"value\":1e16}", ERR_INVALID, "/value"},
		{"{\"id\":1,\"state\":\"done\",\"value\":\"1\"}", ERR_INVALID, "/value"},
		{"{\"id\":1,\"state\":\"done\",\"detail\":{}}", ERR_INVALID, "/detail"},
	};
	struct command_answer a;
	struct fault f;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_equal(parse(rows[i].text, &a, &f), rows[i].e);
		assert_string_equal(f.pointer, rows[i].pointer);
		assert_true(f.detail[0] != '\0');
	}
	char text[ANSWER_BYTES + 2];
	snprintf(text, sizeof text, "{\"id\":1,\"state\":\"done\",\"detail\":\"%0300d\"}", 7);
	assert_int_equal(parse(text, &a, &f), ERR_INVALID);
	memset(text, ' ', sizeof text);
	assert_int_equal(answer_parse(&a, text, sizeof text - 1, &f), ERR_TOO_LARGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_and_back),
		cmocka_unit_test(answers_are_read),
		cmocka_unit_test(others_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
