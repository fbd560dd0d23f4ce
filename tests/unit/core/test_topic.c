#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/topic.h"

#define ID64 "d123456789012345678901234567890123456789012345678901234567890123"

static void every_topic_reads_back(void **state)
{
	(void)state;
	for (int k = 0; k < TOPIC_COUNT; k++) {
		char text[TOPIC_BYTES];
		enum topic_kind kind;
		struct slice device;
		size_t len = topic_build((enum topic_kind)k, ID64, text);
		assert_int_equal(len, strlen(text));
		assert_true(topic_parse(text, &kind, &device));
		assert_int_equal(kind, k);
		assert_true(slice_equals(device, ID64));
	}
}

static void texts_are_those_of_the_protocol(void **state)
{
	char text[TOPIC_BYTES], client[TOPIC_CLIENT_BYTES];
	(void)state;
	topic_build(TOPIC_DESIRED, "dev-1", text);
	assert_string_equal(text, "aviary/v1/dev-1/desired");
	assert_int_equal(topic_filter(TOPIC_TELEMETRY, text), 21);
	assert_string_equal(text, "aviary/v1/+/telemetry");
	assert_int_equal(topic_client_id(ID64, client), 71);
	assert_string_equal(client, "aviary-" ID64);
}

static void what_is_not_ours_is_refused(void **state)
{
	static const char *const bad[] = {
		"", "aviary/v1/", "aviary/v1/dev-1", "aviary/v1/dev-1/", "aviary/v1/dev-1/other", "aviary/v1//telemetry",
		"aviary/v2/dev-1/telemetry", "Aviary/v1/dev-1/telemetry", "aviary/v1/dev-1/telemetry/x", "aviary/v1/+/telemetry",
		"aviary/v1/../telemetry", "aviary/v1/a b/telemetry", "aviary/v1/" ID64 "x/telemetry", "x/aviary/v1/dev-1/status",
	};
	enum topic_kind kind;
	struct slice device;
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_false(topic_parse(bad[i], &kind, &device));
}

static void table(void **state)
{
	(void)state;
	assert_int_equal(topic_get(TOPIC_TELEMETRY)->limit_bytes, 65536);
	assert_false(topic_get(TOPIC_TELEMETRY)->retained);
	assert_true(topic_get(TOPIC_STATUS)->retained);
	assert_int_equal(topic_get(TOPIC_STATUS)->limit_bytes, 512);
	assert_int_equal(topic_get(TOPIC_REPORT)->limit_bytes, 8192);
	assert_int_equal(topic_get(TOPIC_DESIRED)->direction, TOPIC_TO_DEVICE);
	assert_true(topic_get(TOPIC_DESIRED)->retained);
	for (int k = 0; k < TOPIC_COUNT; k++) assert_int_equal(topic_get((enum topic_kind)k)->qos, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_topic_reads_back),
		cmocka_unit_test(texts_are_those_of_the_protocol),
		cmocka_unit_test(what_is_not_ours_is_refused),
		cmocka_unit_test(table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
