/* Inspections: what is read, what is joined with a declaration, what is refused, and how fast hostile bytes are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "service/inspect.h"

#define CORPUS "tests/fuzz/corpus/"

static struct inspection *inspect(const char *name, const char *declared, bool is_firmware)
{
	struct inspection *i = inspection_new(declared, is_firmware);
	inspection_run(i, name);
	return i;
}

static void assert_in(const char *text, const char *part)
{
	if (text == NULL || strstr(text, part) == NULL)
		fail_msg("%s is not in %s", part, text != NULL ? text : "nothing");
}

static void facts_summary_and_requirements(void **state)
{
	(void)state;
	struct inspection *i = inspect(CORPUS "tflite/conv8.tflite", NULL, false);
	assert_int_equal(i->state, FACTS_READ);
	assert_in(i->facts, "\"operators\":[{\"name\":\"CONV_2D\"");
	assert_in(i->summary, "\"format\":\"tflite\"");
	assert_in(i->requires, "\"ops\":[\"CONV_2D@");
	assert_in(i->requires, "\"arena_bytes\":");
	inspection_free(i);
	i = inspect(CORPUS "tflite/hybrid.tflite", NULL, false);
	assert_in(i->requires, "\"hybrid\":true");
	inspection_free(i);
	i = inspect(CORPUS "onnx/small.onnx", NULL, false);
	assert_int_equal(i->state, FACTS_READ);
	assert_in(i->requires, "\"format\":\"onnx\"");
	inspection_free(i);
}

static void the_stricter_of_both_holds_and_contradictions_are_refused(void **state)
{
	(void)state;
	struct inspection *i = inspect(CORPUS "tflite/conv8.tflite", "{\"requires\":{\"arena_bytes\":1000000,\"link\":[\"wifi\"]}}", false);
	assert_in(i->requires, "\"arena_bytes\":1000000");
	assert_in(i->requires, "\"link\":[\"wifi\"]");
	assert_null(strstr(i->summary, "conflicts"));
	inspection_free(i);
	i = inspect(CORPUS "tflite/conv8.tflite", "{\"requires\":{\"arena_bytes\":1}}", false);
	assert_int_equal(i->state, FACTS_READ);
	assert_in(i->summary, "\"conflicts\":[\"arena_bytes: declared 1,");
	inspection_free(i);
	i = inspect(CORPUS "tflite/conv8.tflite", "{\"requires\":{\"format\":\"onnx\"}}", false);
	assert_int_equal(i->state, FACTS_REFUSED);
	assert_in(i->error, "format");
	assert_null(i->requires);
	inspection_free(i);
	i = inspect(CORPUS "tflite/conv8.tflite", "{\"format\":\"onnx\"}", false);
	assert_int_equal(i->state, FACTS_REFUSED);
	assert_in(i->error, "tflite");
	inspection_free(i);
}

static void what_is_not_read(void **state)
{
	(void)state;
	static const char blob[] = "anything", looks[] = "\0\0\0\0TFL3 and no more";
	struct inspection *i = inspection_new(NULL, false);
	inspection_read(i, blob, sizeof blob);
	assert_int_equal(i->state, FACTS_OPAQUE);
	assert_null(i->requires);
	inspection_free(i);
	i = inspection_new("{\"requires\":{\"accelerators\":[\"npu\"]}}", false);
	inspection_read(i, blob, sizeof blob);
	assert_in(i->requires, "\"flash_slot_bytes\":9");
	assert_in(i->requires, "npu");
	inspection_free(i);
	i = inspection_new(NULL, false);
	inspection_read(i, looks, sizeof looks);
	assert_int_equal(i->state, FACTS_REFUSED);
	assert_in(i->error, "tflite: ");
	inspection_free(i);
	i = inspection_new(NULL, true); /* a firmware may begin with anything */
	inspection_read(i, looks, sizeof looks);
	assert_int_equal(i->state, FACTS_OPAQUE);
	assert_null(i->requires);
	inspection_free(i);
	i = inspect("there is no such file", NULL, false);
	assert_int_equal(i->state, FACTS_READING);
	inspection_free(i);
}

/* Every byte of the root and its vtable turned, and lengths that promise gigabytes: microseconds each. */
static void hostile_bytes_cost_microseconds(void **state)
{
	(void)state;
	uint8_t data[65536];
	FILE *f = fopen(CORPUS "tflite/conv8.tflite", "rb");
	assert_non_null(f);
	size_t len = fread(data, 1, sizeof data, f), refused = 0;
	fclose(f);
	uint64_t start_ns = clock_mono_ns();
	for (size_t at = 0; at < len && at < 400; at++) {
		uint8_t kept = data[at];
		data[at] ^= 0x7f;
		struct inspection *i = inspection_new(NULL, false);
		inspection_read(i, data, len);
		refused += i->state == FACTS_REFUSED;
		assert_true(i->state != FACTS_REFUSED || i->error[0] != '\0');
		inspection_free(i);
		data[at] = kept;
	}
	double each_ms = (double)(clock_mono_ns() - start_ns) / 1e6 / 400;
	print_message("%zu of 400 are refused, %.3f ms each\n", refused, each_ms);
	assert_true(refused > 30);
	assert_true(each_ms < 20); /* with sanitizers, on a busy machine */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(facts_summary_and_requirements),
		cmocka_unit_test(the_stricter_of_both_holds_and_contradictions_are_refused),
		cmocka_unit_test(what_is_not_read),
		cmocka_unit_test(hostile_bytes_cost_microseconds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
