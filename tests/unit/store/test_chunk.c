/* Chunks: every report comes back as the log has it, and hostile bytes end in a refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/chunk.h"

#define BASE INT64_C(1700000000000)

static struct telemetry_message message;
static uint64_t seed;

static uint64_t draw(uint64_t below)
{
	seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
	return seed % below;
}

static void put(struct buf *out, int64_t device, int64_t received_ms, int64_t version, const char *json)
{
	int64_t names[TELEMETRY_METRICS];
	for (int64_t i = 0; i < TELEMETRY_METRICS; i++)
		names[i] = 10 + i;
	assert_true(telemetry_parse(&message, json, strlen(json)));
	(void)report_log_put(out, BASE, device, received_ms, version, names, &message.reports[0]);
}

static size_t pack(const struct buf *log, struct buf *chunk, int64_t device)
{
	struct chunk_writer *w = chunk_writer_new();
	struct report_log_reader l;
	struct log_report r;
	size_t count = 0;
	chunk_begin(w, chunk, device, BASE);
	report_log_open(&l, log->data, log->len, BASE);
	for (; report_log_next(&l, device, &r); count++)
		chunk_add(w, &r);
	chunk_writer_free(w);
	return count;
}

static void assert_same(const struct buf *log, const struct buf *chunk)
{
	struct buf back = BUF_INIT;
	assert_true(chunk_is(chunk->data, chunk->len));
	assert_true(chunk_expand(chunk->data, chunk->len, BASE, &back));
	assert_int_equal(back.len, log->len);
	assert_memory_equal(back.data, log->data, log->len);
	buf_done(&back);
}

/* Reports as sensors make them: few digits, small changes. */
static void put_usual(struct buf *log, int i)
{
	char json[600];
	snprintf(json, sizeof json, "{\"boot\":\"b0\",\"seq\":%d,\"model\":\"kws\",\"version\":\"1.0.0\",\"metrics\":{\"accuracy\":{\"n\":50,\"k\":%d},\"latency_ms\":%d.%02d,"
	         "\"confidence\":0.%02d,\"temperature_c\":31.%02d,\"battery\":0.83,\"link_rssi_dbm\":-%d,\"energy_mj\":1.%02d,\"memory\":0.%02d}}",
	         i + 1, 40 + (int)draw(8), 20 + (int)draw(3), (int)draw(100), 85 + (int)draw(10), (int)draw(100), 55 + (int)draw(9), (int)draw(100), 40 + (int)draw(3));
	put(log, 77, BASE + 60000 * i + (int)draw(40), 3, json);
}

static void usual_reports_are_small(void **state)
{
	(void)state;
	struct buf log = BUF_INIT, chunk = BUF_INIT;
	seed = 7;
	for (int i = 0; i < 60; i++)
		put_usual(&log, i);
	assert_int_equal(pack(&log, &chunk, 77), 60);
	assert_same(&log, &chunk);
	assert_true(chunk.len < 60 * 22); /* of some 215 bytes of JSON each */
	buf_done(&log);
	buf_done(&chunk);
}

static void put_any(struct buf *log, int i)
{
	char json[1024];
	int len = snprintf(json, sizeof json, "{");
	if (draw(2))
		len += snprintf(json + len, sizeof json - (size_t)len, "\"ts\":%lld,", draw(9) ? (long long)(BASE + i * 1000 + (int)draw(500)) : -5LL);
	len += snprintf(json + len, sizeof json - (size_t)len, "\"boot\":\"b%d\",\"seq\":%lld,\"metrics\":{\"a\":", (int)draw(3), draw(3) ? i + 1LL : (long long)draw(1LL << 53) + 1);
	static const char *const figures[] = {"1", "-0.0", "0.1", "1e300", "3.141592653589793", "-17.25", "123456789012", "1e-7"};
	const char *figure = figures[draw(8)];
	len += snprintf(json + len, sizeof json - (size_t)len, strtod(figure, NULL) > 1e12 ? "1e12" : "%s", figure);
	if (draw(2))
		len += snprintf(json + len, sizeof json - (size_t)len, ",\"s\":{\"n\":%d,\"sum\":%s}", 1 + (int)draw(9), draw(2) ? "2.5" : "0.3333333333333333");
	if (draw(2))
		len += snprintf(json + len, sizeof json - (size_t)len, ",\"r\":{\"n\":%d,\"k\":%d}", 50 + (int)draw(9), (int)draw(50));
	if (draw(2))
		len += snprintf(json + len, sizeof json - (size_t)len, ",\"l\":{\"sketch\":{\"57\":%d,\"-3\":2}}", 1 + (int)draw(100));
	if (draw(2))
		len += snprintf(json + len, sizeof json - (size_t)len, draw(2) ? ",\"h\":{\"hist\":[%d,0,5]}" : ",\"h\":{\"hist\":[%d,2147483647]}", (int)draw(1000));
	snprintf(json + len, sizeof json - (size_t)len, "}}");
	put(log, 5, BASE + (int64_t)draw(3600000), (int64_t)draw(3), json);
}

static void any_report_comes_back(void **state)
{
	(void)state;
	for (seed = 1; seed < 400; seed += 3) {
		uint64_t was = seed;
		struct buf log = BUF_INIT, chunk = BUF_INIT;
		for (int i = 0; i < 40; i++)
			put_any(&log, i);
		assert_int_equal(pack(&log, &chunk, 5), 40);
		assert_same(&log, &chunk);
		buf_done(&log);
		buf_done(&chunk);
		seed = was;
	}
}

/* Cut anywhere, or with any byte changed: a refusal or some reports, never more. */
static void broken_bytes_end(void **state)
{
	(void)state;
	struct buf log = BUF_INIT, chunk = BUF_INIT, out = BUF_INIT;
	seed = 11;
	for (int i = 0; i < 12; i++)
		put_any(&log, i);
	pack(&log, &chunk, 5);
	for (size_t len = 0; len < chunk.len; len++) {
		buf_clear(&out);
		(void)chunk_expand(chunk.data, len, BASE, &out);
	}
	for (size_t at = 0; at < chunk.len; at++) {
		for (int bit = 0; bit < 8; bit++) {
			buf_clear(&out);
			chunk.data[at] ^= (char)(1 << bit);
			(void)chunk_expand(chunk.data, chunk.len, BASE, &out);
			chunk.data[at] ^= (char)(1 << bit);
		}
	}
	assert_false(chunk_is(log.data, log.len));
	assert_false(chunk_expand(log.data, log.len, BASE, &out));
	buf_done(&log);
	buf_done(&chunk);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usual_reports_are_small),
		cmocka_unit_test(any_report_comes_back),
		cmocka_unit_test(broken_bytes_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
