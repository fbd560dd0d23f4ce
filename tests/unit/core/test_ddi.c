#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/ddi.h"

/* ---- the tables of c.4 and c.5, as they are documented ---- */

static void test_feedback(void **state)
{
	static const struct {
		enum ddi_execution execution;
		enum ddi_finished finished;
		enum delivery_type type;
		const char *status, *message;
		enum report_state report;
		bool is_final;
	} rows[] = {
		{DDI_CLOSED, DDI_SUCCESS, DELIVERY_FORCED, "finished", "Target reported CLOSED with OK!", REPORT_SUCCEEDED, true},
		{DDI_CLOSED, DDI_NONE, DELIVERY_SOFT, "finished", "Target reported CLOSED with OK!", REPORT_SUCCEEDED, true},
		{DDI_CLOSED, DDI_FAILURE, DELIVERY_FORCED, "error", "Target reported CLOSED with ERROR!", REPORT_FAILED, true},
		{DDI_CANCELED, DDI_NONE, DELIVERY_FORCED, "canceled", "Target confirmed cancellation.", REPORT_CANCELLED, true},
		{DDI_REJECTED, DDI_NONE, DELIVERY_FORCED, "warning", "Target REJECTED update", REPORT_STATE_COUNT, false},
		{DDI_DOWNLOAD, DDI_NONE, DELIVERY_FORCED, "download", "Target confirmed download start", REPORT_DOWNLOADING, false},
		{DDI_DOWNLOADED, DDI_NONE, DELIVERY_FORCED, "downloaded", "Target confirmed download finished", REPORT_INSTALLING, false},
		{DDI_DOWNLOADED, DDI_NONE, DELIVERY_DOWNLOADONLY, "downloaded", "Target confirmed download finished", REPORT_SUCCEEDED, true},
		{DDI_PROCEEDING, DDI_NONE, DELIVERY_FORCED, "running", "Target reported PROCEEDING", REPORT_INSTALLING, false},
		{DDI_SCHEDULED, DDI_NONE, DELIVERY_FORCED, "running", "Target reported SCHEDULED", REPORT_STATE_COUNT, false},
		{DDI_RESUMED, DDI_NONE, DELIVERY_FORCED, "running", "Target reported RESUMED", REPORT_STATE_COUNT, false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ddi_meaning m;
		ddi_on_feedback(rows[i].execution, rows[i].finished, rows[i].type, &m);
		assert_string_equal(action_status_text(m.status), rows[i].status);
		assert_memory_equal(m.message, DDI_SERVER_PREFIX, strlen(DDI_SERVER_PREFIX));
		assert_string_equal(m.message + strlen(DDI_SERVER_PREFIX), rows[i].message);
		assert_int_equal(m.report, rows[i].report);
		assert_int_equal(m.is_final, rows[i].is_final);
	}
}

static void test_cancel_feedback(void **state)
{
	static const struct {
		enum ddi_execution execution;
		enum ddi_finished finished;
		const char *status;
		enum ddi_cancel effect;
		bool has_before, has_after;
	} rows[] = {
		{DDI_CLOSED, DDI_SUCCESS, "canceled", DDI_CANCEL_DONE, true, true},
		{DDI_CLOSED, DDI_NONE, "canceled", DDI_CANCEL_DONE, true, true},
		{DDI_CLOSED, DDI_FAILURE, "error", DDI_CANCEL_REFUSED, true, false},
		{DDI_REJECTED, DDI_NONE, "cancel_rejected", DDI_CANCEL_REFUSED, true, false},
		{DDI_CANCELED, DDI_NONE, "warning", DDI_CANCEL_WAITS, true, false},
		{DDI_PROCEEDING, DDI_NONE, "running", DDI_CANCEL_WAITS, false, false},
		{DDI_SCHEDULED, DDI_NONE, "running", DDI_CANCEL_WAITS, false, false},
		{DDI_RESUMED, DDI_NONE, "running", DDI_CANCEL_WAITS, false, false},
		{DDI_DOWNLOAD, DDI_NONE, "running", DDI_CANCEL_WAITS, false, false},
		{DDI_DOWNLOADED, DDI_NONE, "running", DDI_CANCEL_WAITS, false, false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ddi_cancel_meaning m;
		ddi_on_cancel_feedback(rows[i].execution, rows[i].finished, &m);
		assert_string_equal(action_status_text(m.status), rows[i].status);
		assert_int_equal(m.effect, rows[i].effect);
		assert_int_equal(m.before != NULL, rows[i].has_before);
		assert_int_equal(m.after != NULL, rows[i].has_after);
	}
}

static void test_words(void **state)
{
	enum ddi_execution x;
	enum ddi_finished finished;
	enum delivery_type type;
	enum action_status status;
	(void)state;
	for (int i = 0; i < DDI_EXECUTION_COUNT; i++) {
		assert_true(ddi_execution_parse(ddi_execution_text((enum ddi_execution)i), &x));
		assert_int_equal(x, i);
	}
	for (int i = 0; i < DELIVERY_COUNT; i++) {
		assert_true(delivery_parse(delivery_text((enum delivery_type)i), &type));
		assert_int_equal(type, i);
	}
	for (int i = 0; i < ACTION_STATUS_COUNT; i++) {
		assert_true(action_status_parse(action_status_text((enum action_status)i), &status));
		assert_int_equal(status, i);
	}
	assert_false(ddi_execution_parse("done", &x));
	assert_false(delivery_parse("hard", &type));
	assert_false(action_status_parse("", &status));
	assert_true(ddi_finished_parse("none", &finished) && finished == DDI_NONE);
	assert_true(ddi_finished_parse("success", &finished) && finished == DDI_SUCCESS);
	assert_true(ddi_finished_parse("failure", &finished) && finished == DDI_FAILURE);
	assert_false(ddi_finished_parse("Success", &finished));
}

/* ---- polling ---- */

static void test_polling(void **state)
{
	static const char text[] = "00:05:00~10%, attribute.a=in=(x,y) -> 00:01:00 , id==b->10:00:00~5%";
	static const char *const wrong[] = {"", "5m", "00:05", "00:60:00", "24:00:00", "00:00:00", "00:05:00~", "00:05:00~101%", "00:05:00~5", "00:05:00,",
		"00:05:00, id==b", "00:05:00, -> 00:01:00", "00:05:00, id==b -> x", "00:05:00 x", "0a:05:00", "00:05:00~1234%"};
	struct ddi_polling p;
	(void)state;
	assert_true(ddi_polling_parse(text, &p));
	assert_int_equal(p.standard.ms, 300000);
	assert_int_equal(p.standard.jitter_percent, 10);
	assert_int_equal(p.count, 2);
	assert_int_equal(p.overrides[0].filter_len, strlen("attribute.a=in=(x,y)"));
	assert_memory_equal(p.overrides[0].filter, "attribute.a=in=(x,y)", p.overrides[0].filter_len);
	assert_int_equal(p.overrides[0].interval.ms, 60000);
	assert_memory_equal(p.overrides[1].filter, "id==b", 5);
	assert_int_equal(p.overrides[1].interval.ms, 36000000);
	assert_int_equal(p.overrides[1].interval.jitter_percent, 5);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		if (ddi_polling_parse(wrong[i], &p))
			fail_msg("taken: %s", wrong[i]);
	char many[1024] = "00:05:00";
	for (int i = 0; i < DDI_OVERRIDES_MAX + 1; i++)
		strcat(many, ", id==a -> 00:01:00");
	assert_false(ddi_polling_parse(many, &p));
}

static void test_sleep(void **state)
{
	struct ddi_sleep s = {.interval = {300000, 0}, .min_ms = 30000, .max_ms = 86399000, .stretch = 1};
	int64_t low = INT64_MAX, high = 0, sum = 0;
	(void)state;
	assert_int_equal(ddi_sleep_ms(&s), 300000);
	s.stretch = 2.5;
	assert_int_equal(ddi_sleep_ms(&s), 750000);
	s.stretch = 0; /* never shorter */
	assert_int_equal(ddi_sleep_ms(&s), 300000);
	s.interval.jitter_percent = 20;
	for (uint64_t i = 0; i < 10000; i++) {
		s.random = i * UINT64_C(0x9e3779b97f4a7c15);
		int64_t ms = ddi_sleep_ms(&s);
		low = ms < low ? ms : low;
		high = ms > high ? ms : high;
		sum += ms;
	}
	assert_in_range(low, 240000, 241000);
	assert_in_range(high, 359000, 360000);
	assert_in_range(sum / 10000, 298000, 302000);
	s = (struct ddi_sleep){.interval = {300000, 0}, .min_ms = 30000, .max_ms = 86399000, .stretch = 1, .window_in_ms = 15000, .window_polls = 3};
	assert_int_equal(ddi_sleep_ms(&s), 30000); /* not below the least */
	s.window_in_ms = 300000;
	assert_int_equal(ddi_sleep_ms(&s), 100000);
	s.window_in_ms = 100000000;
	assert_int_equal(ddi_sleep_ms(&s), 300000); /* not above what is set */
	s = (struct ddi_sleep){.interval = {60000, 0}, .min_ms = 30000, .max_ms = 120000, .stretch = 100};
	assert_int_equal(ddi_sleep_ms(&s), 120000);
	s = (struct ddi_sleep){.interval = {5000, 0}, .min_ms = 30000, .max_ms = 120000, .stretch = 1, .window_in_ms = 9000};
	assert_int_equal(ddi_sleep_ms(&s), 5000); /* who sets less wants less */
}

static void test_format(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} cases[] = {{0, "00:00:01"}, {1499, "00:00:01"}, {1500, "00:00:02"}, {300000, "00:05:00"}, {3661000, "01:01:01"}, {86399000, "23:59:59"},
		{INT64_C(900000000), "23:59:59"}, {-5, "00:00:01"}};
	char out[9];
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ddi_format_sleep(cases[i].ms, out);
		assert_string_equal(out, cases[i].text);
	}
}

static void test_numbers(void **state)
{
	(void)state;
	assert_false(ddi_is_action(0));
	assert_false(ddi_is_action(10));
	assert_true(ddi_is_action(11));
	assert_false(ddi_is_action(20));
	assert_true(ddi_is_action(INT32_MAX));
	assert_false(ddi_is_action((int64_t)INT32_MAX + 1));
	assert_int_not_equal(ddi_link_hash(11, false, true), ddi_link_hash(11, true, true));
	assert_int_not_equal(ddi_link_hash(11, false, true), ddi_link_hash(11, false, false));
	assert_int_not_equal(ddi_link_hash(11, false, true), ddi_link_hash(12, false, true));
	assert_int_equal(ddi_link_hash(11, false, true), ddi_link_hash(11, false, true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_feedback), cmocka_unit_test(test_cancel_feedback), cmocka_unit_test(test_words), cmocka_unit_test(test_polling),
		cmocka_unit_test(test_sleep), cmocka_unit_test(test_format), cmocka_unit_test(test_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
