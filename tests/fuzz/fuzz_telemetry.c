/* Whatever a device sends as telemetry: what is taken lies within the message and within the limits of
 * docs/protocol.md, and each taken report is taken on its own too. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/telemetry.h"
#include "fuzz.h"

static bool lies_within(struct slice s, const char *text, size_t len)
{
	return s.len == 0 || (s.data >= text && s.data + s.len <= text + len);
}

static bool is_of_shadow(const struct metric_value *m)
{
	return m->name.len > 7 && memcmp(m->name.data, TELEMETRY_SHADOW, 7) == 0;
}

static void check_metric(const struct telemetry_message *t, const struct metric_value *m, const char *text, size_t len)
{
	int64_t sum = 0;
	assert(name_is_metric(m->name));
	assert(is_of_shadow(m) ? lies_within(m->name, t->names, sizeof t->names) : lies_within(m->name, text, len));
	assert(m->type < VALUE_TYPE_COUNT && isfinite(m->value) && fabs(m->value) <= TELEMETRY_VALUE_MAX);
	assert(m->n >= (m->type == VALUE_HIST ? 0 : 1) && m->k >= 0 && m->k <= m->n);
	assert(m->bin_count <= TELEMETRY_SKETCH_BINS);
	for (unsigned i = 0; i < m->bin_count; i++) {
		assert(m->counts[i] <= TELEMETRY_COUNT_MAX);
		sum += (int64_t)m->counts[i];
		if (m->type == VALUE_SKETCH) assert(abs(m->keys[i]) <= TELEMETRY_SKETCH_KEY && m->counts[i] > 0);
	}
	if (m->bin_count > 0) assert(sum == m->n);
}

static void check_report(const struct telemetry_message *t, const struct telemetry_report *r, const char *text, size_t len)
{
	assert(lies_within(r->text, text, len) && r->text.len > 0 && r->text.len <= TELEMETRY_REPORT_BYTES);
	assert(lies_within(r->boot, text, len) && name_is_boot(r->boot));
	assert(r->seq >= 1 && r->seq <= TELEMETRY_SEQ_MAX && r->metric_count <= TELEMETRY_METRICS);
	assert((r->model.len > 0) == (r->version.len > 0));
	assert(lies_within(r->shadow, text, len) && (r->shadow.len == 0 || name_is_name(r->shadow)));
	for (unsigned i = 0; i < r->metric_count; i++) {
		check_metric(t, &r->metrics[i], text, len);
		assert(r->shadow.len > 0 || !is_of_shadow(&r->metrics[i]));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct telemetry_message t, alone;
	const char *text = (const char *)data;
	bool all = telemetry_parse(&t, text, size);
	assert(all == (t.error == TELEMETRY_OK && t.reject_count == 0));
	assert(t.report_count + t.reject_count <= t.seen && t.seen <= TELEMETRY_REPORTS && t.error_at <= size);
	for (unsigned i = 0; i < t.reject_count; i++) assert(t.rejects[i].at <= size && t.rejects[i].index < t.seen);
	for (unsigned i = 0; i < t.report_count; i++) {
		const struct telemetry_report *r = &t.reports[i];
		check_report(&t, r, text, size);
		bool again = telemetry_parse(&alone, r->text.data, r->text.len);
		assert(again && alone.report_count == 1 && alone.reports[0].metric_count == r->metric_count);
	}
	return 0;
}
