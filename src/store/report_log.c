#include "store/report_log.h"

#include <assert.h>
#include <string.h>

#include "core/ddsketch.h"
#include "core/decimal.h"
#include "core/varint.h"

#define TS_BOUND ((int64_t)1 << 60)
#define HAS_TS 1
#define TYPE_MASK 7      /* of a metric's type byte; above it: how a double is written */
#define PLACES_SHIFT 3   /* 0: as it is; p + 1: a decimal of p places */

_Static_assert(VALUE_TYPE_COUNT <= TYPE_MASK, "a type fits its bits");
_Static_assert(TELEMETRY_HIST_BINS <= TELEMETRY_SKETCH_BINS, "log_metric.counts serves both");

static void put_int(struct buf *out, int64_t v)
{
	uint8_t bytes[VARINT_MAX];
	buf_append(out, bytes, varint_put(bytes, v));
}

static void put_double(struct buf *out, double v)
{
	uint64_t bits;
	memcpy(&bits, &v, sizeof bits);
	uint8_t bytes[8];
	for (unsigned i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(bits >> (8 * i));
	buf_append(out, bytes, sizeof bytes);
}

/* The type's byte, a count where the type has one, and the number. */
static void put_number(struct buf *out, const struct metric_value *m)
{
	int64_t mantissa = 0;
	unsigned places = 0;
	bool is_decimal = decimal_of(m->value, &mantissa, &places);
	buf_char(out, (char)((unsigned)m->type | (is_decimal ? (places + 1) << PLACES_SHIFT : 0)));
	if (m->type == VALUE_SUM)
		put_int(out, m->n);
	if (is_decimal)
		put_int(out, varint_zigzag(mantissa));
	else
		put_double(out, m->value);
}

static void put_metric(struct buf *out, int64_t name, const struct metric_value *m)
{
	put_int(out, name);
	if (m->type == VALUE_NUMBER || m->type == VALUE_SUM) {
		put_number(out, m);
		return;
	}
	buf_char(out, (char)m->type);
	switch (m->type) {
	case VALUE_RATIO:
		put_int(out, m->n);
		put_int(out, m->k);
		break;
	case VALUE_SKETCH:
		put_int(out, m->bin_count);
		for (unsigned i = 0; i < m->bin_count; i++) {
			put_int(out, m->keys[i] + TELEMETRY_SKETCH_KEY);
			put_int(out, (int64_t)m->counts[i]);
		}
		break;
	case VALUE_HIST:
		put_int(out, m->bin_count);
		for (unsigned i = 0; i < m->bin_count; i++)
			put_int(out, (int64_t)m->counts[i]);
		break;
	case VALUE_NUMBER:
	case VALUE_SUM:
	case VALUE_TYPE_COUNT:
		assert(!"a type from the parser");
	}
}

static int64_t bounded_ts(int64_t ts)
{
	return ts > TS_BOUND ? TS_BOUND : ts < -TS_BOUND ? -TS_BOUND : ts;
}

unsigned report_log_put(struct buf *out, int64_t base_ms, int64_t device, int64_t received_ms, int64_t version, const int64_t *names,
	const struct telemetry_report *r)
{
	assert(received_ms >= base_ms);
	assert(device > 0 && r->boot.len > 0 && r->boot.len < NAME_BOOT_BYTES);
	unsigned written = 0;
	for (unsigned i = 0; i < r->metric_count; i++)
		written += names[i] != 0;
	size_t start = out->len;
	buf_append(out, "\0\0", 2);
	put_int(out, device);
	put_int(out, received_ms - base_ms);
	put_int(out, r->has_ts ? HAS_TS : 0);
	if (r->has_ts)
		put_int(out, varint_zigzag(bounded_ts(r->ts_ms) - received_ms));
	put_int(out, version);
	put_int(out, r->seq);
	put_int(out, (int64_t)r->boot.len);
	buf_append(out, r->boot.data, r->boot.len);
	put_int(out, written);
	for (unsigned i = 0; i < r->metric_count; i++) {
		if (names[i] != 0)
			put_metric(out, names[i], &r->metrics[i]);
	}
	size_t len = out->len - start - 2;
	assert(len <= UINT16_MAX); /* a report of 8 KiB JSON packs into less than that */
	out->data[start] = (char)(len & 0xff);
	out->data[start + 1] = (char)(len >> 8);
	return written;
}

void report_log_open(struct report_log_reader *l, const void *data, size_t len, int64_t base_ms)
{
	*l = (struct report_log_reader){data, len > 0 ? (const uint8_t *)data + len : data, base_ms, false};
}

static bool get_record(const uint8_t *at, const uint8_t *end, int64_t base_ms, struct log_report *out)
{
	int64_t received, flags, ts = 0, boot_len;
	if (!varint_get(&at, end, &received) || !varint_get(&at, end, &flags) || flags > HAS_TS)
		return false;
	if (flags == HAS_TS && !varint_get(&at, end, &ts))
		return false;
	if (!varint_get(&at, end, &out->version) || !varint_get(&at, end, &out->seq) || !varint_get(&at, end, &boot_len) ||
	    boot_len > end - at)
		return false;
	out->received_ms = base_ms + received;
	out->has_ts = flags == HAS_TS;
	out->ts_ms = out->has_ts ? out->received_ms + varint_unzigzag(ts) : 0;
	out->boot = (struct slice){(const char *)at, (size_t)boot_len};
	at += boot_len;
	if (!varint_get(&at, end, &out->metric_count) || out->metric_count > TELEMETRY_METRICS)
		return false;
	out->metrics = at;
	out->end = end;
	return true;
}

bool report_log_next(struct report_log_reader *l, int64_t device, struct log_report *out)
{
	while (l->end - l->at >= 2) {
		size_t len = (size_t)l->at[0] | (size_t)l->at[1] << 8;
		const uint8_t *at = l->at + 2;
		if (len > (size_t)(l->end - at))
			break;
		const uint8_t *end = at + len;
		if (!varint_get(&at, end, &out->device))
			break;
		if (device == 0 || out->device == device) {
			if (!get_record(at, end, l->base_ms, out))
				break;
			l->at = end;
			return true;
		}
		l->at = end;
	}
	l->is_broken = l->at != l->end;
	l->at = l->end;
	return false;
}

static bool get_double(const uint8_t **at, const uint8_t *end, double *v)
{
	if (end - *at < 8)
		return false;
	uint64_t bits = 0;
	for (unsigned i = 0; i < 8; i++)
		bits |= (uint64_t)(*at)[i] << (8 * i);
	memcpy(v, &bits, sizeof *v);
	*at += 8;
	return true;
}

/* A number as its type byte says that it was written. */
static bool get_number(const uint8_t **at, const uint8_t *end, unsigned how, double *v)
{
	int64_t mantissa;
	if (how == 0)
		return get_double(at, end, v);
	if (how > DECIMAL_PLACES_MAX + 1 || !varint_get(at, end, &mantissa))
		return false;
	mantissa = varint_unzigzag(mantissa);
	if (mantissa > DECIMAL_MANTISSA_MAX || mantissa < -DECIMAL_MANTISSA_MAX)
		return false;
	*v = decimal_value(mantissa, how - 1);
	return true;
}

static bool get_bins(const uint8_t **at, const uint8_t *end, bool has_keys, struct log_metric *out)
{
	int64_t count, key = 0, n;
	if (!varint_get(at, end, &count) || count > (has_keys ? TELEMETRY_SKETCH_BINS : TELEMETRY_HIST_BINS))
		return false;
	out->bin_count = (unsigned)count;
	for (int64_t i = 0; i < count; i++) {
		if ((has_keys && (!varint_get(at, end, &key) || key > 2 * TELEMETRY_SKETCH_KEY)) || !varint_get(at, end, &n))
			return false;
		out->keys[i] = (int32_t)(key - TELEMETRY_SKETCH_KEY);
		out->counts[i] = (uint64_t)n;
		out->n += n;
	}
	return true;
}

bool report_log_metric(struct log_report *r, struct log_metric *out)
{
	const uint8_t *at = r->metrics;
	if (r->metric_count == 0 || !varint_get(&at, r->end, &out->name) || at == r->end || (*at & TYPE_MASK) >= VALUE_TYPE_COUNT)
		return false;
	unsigned how = *at >> PLACES_SHIFT;
	out->type = (enum value_type)(*at++ & TYPE_MASK);
	out->n = out->type == VALUE_NUMBER;
	out->k = 0;
	out->value = 0;
	out->bin_count = 0;
	bool ok = false;
	switch (out->type) {
	case VALUE_NUMBER:
		ok = get_number(&at, r->end, how, &out->value);
		break;
	case VALUE_SUM:
		ok = varint_get(&at, r->end, &out->n) && get_number(&at, r->end, how, &out->value);
		break;
	case VALUE_RATIO:
		ok = varint_get(&at, r->end, &out->n) && varint_get(&at, r->end, &out->k);
		out->value = ok ? (double)out->k : 0;
		break;
	case VALUE_SKETCH:
	case VALUE_HIST:
		ok = get_bins(&at, r->end, out->type == VALUE_SKETCH, out);
		break;
	case VALUE_TYPE_COUNT:
		break;
	}
	r->metrics = at;
	r->metric_count = ok ? r->metric_count - 1 : 0;
	return ok;
}

static void summarise_sketch(const struct log_metric *m, struct log_summary *out)
{
	int lo = m->keys[0], hi = m->keys[0];
	for (unsigned i = 0; i < m->bin_count; i++) {
		lo = m->keys[i] < lo ? m->keys[i] : lo;
		hi = m->keys[i] > hi ? m->keys[i] : hi;
		out->sum += (double)m->counts[i] * ddsketch_key_value(m->keys[i]);
	}
	out->min = ddsketch_key_value(lo);
	out->max = ddsketch_key_value(hi);
	out->has_values = out->has_sketch = m->bin_count > 0;
}

void report_log_summarise(struct log_metric *m, struct log_summary *out)
{
	*out = (struct log_summary){.n = m->n};
	switch (m->type) {
	case VALUE_NUMBER:
		out->sum = out->min = out->max = m->value;
		out->has_values = true;
		out->has_sketch = m->value >= 0;
		m->bin_count = out->has_sketch;
		m->keys[0] = ddsketch_key(m->value);
		m->counts[0] = 1;
		break;
	case VALUE_SUM:
	case VALUE_RATIO:
		out->sum = m->value;
		out->has_values = m->n > 0;
		out->min = out->max = m->n > 0 ? m->value / (double)m->n : 0;
		break;
	case VALUE_SKETCH:
		summarise_sketch(m, out);
		break;
	case VALUE_HIST:
	case VALUE_TYPE_COUNT:
		break;
	}
}
