/* Packed reports: what goes in comes out, and broken bytes are noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/ddsketch.h"
#include "store/report_log.h"

#define BASE INT64_C(1700000000000)

static struct telemetry_message message;

static void put(struct buf *out, int64_t device, int64_t received_ms, int64_t version, const char *json)
{
	int64_t names[TELEMETRY_METRICS];
	for (int64_t i = 0; i < TELEMETRY_METRICS; i++)
		names[i] = 10 + i;
	assert_true(telemetry_parse(&message, json, strlen(json)));
	for (unsigned i = 0; i < message.report_count; i++)
		assert_int_equal(report_log_put(out, BASE, device, received_ms, version, names, &message.reports[i]), message.reports[i].metric_count);
}

static void every_form_comes_back(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	struct report_log_reader l;
	struct log_report r;
	struct log_metric m;
	put(&b, 7, BASE + 12, 3, "{\"ts\":-5,\"boot\":\"b.1\",\"seq\":9007199254740992,\"model\":\"m\",\"version\":\"1\",\"metrics\":{\"a\":-1.5e-7,"
	    "\"b\":{\"n\":2147483647,\"sum\":-1e12},\"c\":{\"n\":5,\"k\":0},\"d\":{\"sketch\":{\"-1024\":1,\"1024\":2147483647}},\"e\":{\"hist\":[0,0,7]}}}");
	report_log_open(&l, b.data, b.len, BASE);
	assert_true(report_log_next(&l, 0, &r));
	assert_true(r.device == 7 && r.received_ms == BASE + 12 && r.has_ts && r.ts_ms == -5 && r.version == 3 && r.seq == 9007199254740992);
	assert_true(slice_equals(r.boot, "b.1"));
	assert_true(report_log_metric(&r, &m) && m.name == 10 && m.type == VALUE_NUMBER && m.n == 1 && m.value == -1.5e-7);
	assert_true(report_log_metric(&r, &m) && m.name == 11 && m.type == VALUE_SUM && m.n == 2147483647 && m.value == -1e12);
	assert_true(report_log_metric(&r, &m) && m.type == VALUE_RATIO && m.n == 5 && m.k == 0);
	assert_true(report_log_metric(&r, &m) && m.type == VALUE_SKETCH && m.bin_count == 2 && m.keys[0] == -1024 && m.keys[1] == 1024);
	assert_true(m.counts[1] == 2147483647 && m.n == 2147483648);
	assert_true(report_log_metric(&r, &m) && m.type == VALUE_HIST && m.bin_count == 3 && m.n == 7 && m.counts[2] == 7);
	assert_false(report_log_metric(&r, &m));
	assert_false(report_log_next(&l, 0, &r));
	assert_false(l.is_broken);
	buf_done(&b);
}

static void times_may_be_nonsense(void **state)
{
	(void)state;
	static const char *const texts[] = {"9223372036854775807", "-9223372036854775808", "0"};
	static const int64_t wanted[] = {INT64_C(1) << 60, -(INT64_C(1) << 60), 0};
	for (size_t i = 0; i < 3; i++) {
		char json[128];
		struct buf b = BUF_INIT;
		struct report_log_reader l;
		struct log_report r;
		snprintf(json, sizeof json, "{\"ts\":%s,\"boot\":\"b\",\"seq\":1,\"metrics\":{}}", texts[i]);
		put(&b, 1, BASE, 0, json);
		report_log_open(&l, b.data, b.len, BASE);
		assert_true(report_log_next(&l, 0, &r) && r.has_ts && r.ts_ms == wanted[i] && r.metric_count == 0);
		buf_done(&b);
	}
}

static void others_are_skipped(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	struct report_log_reader l;
	struct log_report r;
	for (int64_t i = 0; i < 30; i++)
		put(&b, 1 + i % 3, BASE + i, 0, "{\"boot\":\"b\",\"seq\":1,\"metrics\":{\"a\":1}}");
	report_log_open(&l, b.data, b.len, BASE);
	int64_t count = 0;
	for (; report_log_next(&l, 2, &r); count++)
		assert_true(r.device == 2 && r.received_ms == BASE + 1 + 3 * count && !r.has_ts);
	assert_int_equal(count, 10);
	report_log_open(&l, "", 0, BASE);
	assert_false(report_log_next(&l, 0, &r));
	assert_false(l.is_broken);
	buf_done(&b);
}

static void broken_bytes_are_noticed(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	put(&b, 1, BASE, 0, "{\"ts\":1,\"boot\":\"boot\",\"seq\":1,\"metrics\":{\"a\":1,\"b\":{\"sketch\":{\"1\":1,\"2\":2}},\"c\":{\"hist\":[1,2]}}}");
	for (size_t len = 1; len < b.len; len++) { /* cut: in a block of exactly that size, so that a sanitizer sees a step beyond */
		uint8_t *cut = malloc(len);
		struct report_log_reader l;
		struct log_report r;
		memcpy(cut, b.data, len);
		report_log_open(&l, cut, len, BASE);
		assert_false(report_log_next(&l, 0, &r));
		assert_true(l.is_broken);
		free(cut);
	}
	for (size_t at = 0; at < b.len; at++) { /* every byte, changed in every way: nothing but an end */
		for (int v = 0; v < 256; v++) {
			uint8_t *copy = malloc(b.len);
			struct report_log_reader l;
			struct log_report r;
			struct log_metric m;
			memcpy(copy, b.data, b.len);
			copy[at] = (uint8_t)v;
			report_log_open(&l, copy, b.len, BASE);
			while (report_log_next(&l, 0, &r)) {
				while (report_log_metric(&r, &m))
					assert_true(m.bin_count <= TELEMETRY_SKETCH_BINS);
			}
			free(copy);
		}
	}
	buf_done(&b);
}

static void summaries_say_what_is_known(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	struct report_log_reader l;
	struct log_report r;
	struct log_metric m;
	struct log_summary s;
	put(&b, 1, BASE, 0, "{\"boot\":\"b\",\"seq\":1,\"metrics\":{\"a\":4,\"b\":-4,\"c\":{\"n\":4,\"sum\":10},\"d\":{\"n\":4,\"k\":1},"
	    "\"e\":{\"sketch\":{\"7\":2,\"3\":1}},\"f\":{\"hist\":[1,2]},\"g\":{\"hist\":[0]}}}");
	report_log_open(&l, b.data, b.len, BASE);
	assert_true(report_log_next(&l, 0, &r));
	assert_true(report_log_metric(&r, &m));
	report_log_summarise(&m, &s);
	assert_true(s.n == 1 && s.sum == 4 && s.min == 4 && s.max == 4 && s.has_values && s.has_sketch && m.keys[0] == ddsketch_key(4) && m.bin_count == 1);
	assert_true(report_log_metric(&r, &m));
	report_log_summarise(&m, &s);
	assert_true(s.sum == -4 && s.has_values && !s.has_sketch);
	assert_true(report_log_metric(&r, &m));
	report_log_summarise(&m, &s);
	assert_true(s.n == 4 && s.sum == 10 && s.min == 2.5 && s.max == 2.5 && s.has_values && !s.has_sketch);
	assert_true(report_log_metric(&r, &m));
	report_log_summarise(&m, &s);
	assert_true(s.n == 4 && s.sum == 1 && s.min == 0.25);
	assert_true(report_log_metric(&r, &m));
	report_log_summarise(&m, &s);
	assert_true(s.n == 3 && s.min == ddsketch_key_value(3) && s.max == ddsketch_key_value(7) && s.has_sketch);
	assert_true(s.sum == 2 * ddsketch_key_value(7) + ddsketch_key_value(3));
	for (int i = 0; i < 2; i++) {
		assert_true(report_log_metric(&r, &m));
		report_log_summarise(&m, &s);
		assert_true(s.n == 3 - 3 * i && !s.has_values && !s.has_sketch);
	}
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_form_comes_back), cmocka_unit_test(times_may_be_nonsense), cmocka_unit_test(others_are_skipped),
		cmocka_unit_test(broken_bytes_are_noticed), cmocka_unit_test(summaries_say_what_is_known),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
