/* Format, all integers as core/varint.h has them, z(x) varint_zigzag:
 *   chunk:  0, 0, FORMAT, device, reports...
 *   report: flags, z(received - the one before's; the first: base), [HAS_TS: z(ts - received, less the same of the report before)],
 *           [not NEXT_SEQ: z(seq - the one before's)], [not SAME_SHAPE: version, length of boot, boot, number of metrics, (name, type)...], values
 *   value:  number: figure; sum: z(n), figure; ratio: z(n), z(k); sketch: bins, (key + 1024, count)...; hist: classes, z(count)...
 *           n, k and counts of a histogram less those of the report before where it has the same shape
 *   figure: 2 z(mantissa - the one before's) where both are decimals of the same number of places; else 1, how, and the value as in the log
 */
#include "store/chunk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/decimal.h"
#include "core/varint.h"

enum { FORMAT = 1, HAS_TS = 1, SAME_SHAPE = 2, NEXT_SEQ = 4, NO_PLACES = 255, HEAD = 3 };

#define BINS_MAX 4096 /* of all metrics of a report together: 8 KiB of JSON hold no more, and a record of the log has 64 KiB */

/* What the report before said of one metric. */
struct last_metric {
	int64_t name;
	enum value_type type;
	unsigned places; /* NO_PLACES: the figure was no decimal */
	int64_t mantissa, n, k;
	unsigned bin_count;
	uint64_t counts[TELEMETRY_HIST_BINS];
};

struct last_report {
	int64_t received_ms, ts_ahead_ms, seq, version;
	char boot[NAME_BOOT_BYTES];
	size_t boot_len;
	unsigned metric_count;
	struct last_metric metrics[TELEMETRY_METRICS];
};

struct chunk_writer {
	struct buf *out;
	struct last_report last;
	struct log_metric now[TELEMETRY_METRICS];
};

static void put_int(struct buf *out, int64_t v)
{
	uint8_t bytes[VARINT_MAX];
	buf_append(out, bytes, varint_put(bytes, v));
}

static void start(struct last_report *last, int64_t base_ms)
{
	last->received_ms = base_ms;
	last->ts_ahead_ms = last->seq = last->version = 0;
	last->boot_len = 0;
	last->metric_count = UINT8_MAX; /* nothing has this shape */
}

/* ---- writing ---- */

struct chunk_writer *chunk_writer_new(void)
{
	struct chunk_writer *w = calloc(1, sizeof *w);
	if (w == NULL)
		abort();
	return w;
}

void chunk_writer_free(struct chunk_writer *w)
{
	free(w);
}

void chunk_begin(struct chunk_writer *w, struct buf *out, int64_t device, int64_t base_ms)
{
	w->out = out;
	start(&w->last, base_ms);
	buf_append(out, "\0\0\1", HEAD);
	put_int(out, device);
}

static bool has_shape_of(const struct last_report *last, const struct log_report *r, const struct log_metric *now, unsigned count)
{
	bool same = last->metric_count == count && last->version == r->version && last->boot_len == r->boot.len &&
		memcmp(last->boot, r->boot.data, r->boot.len) == 0;
	for (unsigned i = 0; i < count && same; i++)
		same = last->metrics[i].name == now[i].name && last->metrics[i].type == now[i].type;
	return same;
}

static void put_shape(struct chunk_writer *w, const struct log_report *r, unsigned count)
{
	struct last_report *last = &w->last;
	put_int(w->out, r->version);
	put_int(w->out, (int64_t)r->boot.len);
	buf_append(w->out, r->boot.data, r->boot.len);
	put_int(w->out, count);
	last->version = r->version;
	last->boot_len = r->boot.len;
	memcpy(last->boot, r->boot.data, r->boot.len);
	last->metric_count = count;
	for (unsigned i = 0; i < count; i++) {
		put_int(w->out, w->now[i].name);
		buf_char(w->out, (char)w->now[i].type);
		struct last_metric *m = &last->metrics[i];
		m->name = w->now[i].name;
		m->type = w->now[i].type;
		m->places = NO_PLACES;
		m->n = m->k = 0;
		m->bin_count = 0;
	}
}

static void put_figure(struct buf *out, struct last_metric *last, double v)
{
	int64_t mantissa = 0;
	unsigned places = NO_PLACES;
	uint64_t bits;
	if (!decimal_of(v, &mantissa, &places))
		places = NO_PLACES;
	if (places != NO_PLACES && places == last->places) {
		put_int(out, 2 * varint_zigzag(mantissa - last->mantissa));
	} else {
		put_int(out, 1);
		buf_char(out, (char)(places == NO_PLACES ? 0 : places + 1));
		if (places != NO_PLACES) {
			put_int(out, varint_zigzag(mantissa));
		} else {
			memcpy(&bits, &v, sizeof bits);
			for (unsigned i = 0; i < 8; i++)
				buf_char(out, (char)(bits >> (8 * i)));
		}
	}
	last->places = places;
	last->mantissa = mantissa;
}

static void put_bins(struct buf *out, struct last_metric *last, const struct log_metric *m)
{
	put_int(out, m->bin_count);
	for (unsigned i = 0; i < m->bin_count; i++) {
		if (m->type == VALUE_SKETCH) {
			put_int(out, m->keys[i] + TELEMETRY_SKETCH_KEY);
			put_int(out, (int64_t)m->counts[i]);
		} else {
			put_int(out, varint_zigzag((int64_t)m->counts[i] - (last->bin_count == m->bin_count ? (int64_t)last->counts[i] : 0)));
		}
	}
	if (m->type == VALUE_HIST) {
		last->bin_count = m->bin_count;
		memcpy(last->counts, m->counts, m->bin_count * sizeof *last->counts);
	}
}

static void put_value(struct buf *out, struct last_metric *last, const struct log_metric *m)
{
	if (m->type == VALUE_SKETCH || m->type == VALUE_HIST) {
		put_bins(out, last, m);
		return;
	}
	if (m->type == VALUE_SUM || m->type == VALUE_RATIO)
		put_int(out, varint_zigzag(m->n - last->n));
	if (m->type == VALUE_RATIO)
		put_int(out, varint_zigzag(m->k - last->k));
	else
		put_figure(out, last, m->value);
	last->n = m->n;
	last->k = m->k;
}

void chunk_add(struct chunk_writer *w, struct log_report *r)
{
	struct last_report *last = &w->last;
	unsigned count = 0;
	while (count < TELEMETRY_METRICS && report_log_metric(r, &w->now[count]))
		count++;
	assert(r->boot.len < sizeof last->boot);
	bool same = has_shape_of(last, r, w->now, count), is_next = r->seq == last->seq + 1;
	buf_char(w->out, (char)((r->has_ts ? HAS_TS : 0) | (same ? SAME_SHAPE : 0) | (is_next ? NEXT_SEQ : 0)));
	put_int(w->out, varint_zigzag(r->received_ms - last->received_ms));
	if (r->has_ts) {
		put_int(w->out, varint_zigzag(r->ts_ms - r->received_ms - last->ts_ahead_ms));
		last->ts_ahead_ms = r->ts_ms - r->received_ms;
	}
	if (!is_next)
		put_int(w->out, varint_zigzag(r->seq - last->seq));
	if (!same)
		put_shape(w, r, count);
	for (unsigned i = 0; i < count; i++)
		put_value(w->out, &last->metrics[i], &w->now[i]);
	last->received_ms = r->received_ms;
	last->seq = r->seq;
}

/* ---- reading ---- */

struct reader {
	const uint8_t *at, *end;
	struct last_report last;
	/* of the report that is being read */
	int64_t bins;
	struct metric_value values[TELEMETRY_METRICS];
	int64_t names[TELEMETRY_METRICS];
	int32_t keys[TELEMETRY_METRICS][TELEMETRY_SKETCH_BINS];
	uint64_t counts[TELEMETRY_METRICS][TELEMETRY_SKETCH_BINS];
};

static bool get_int(struct reader *c, int64_t *v)
{
	return varint_get(&c->at, c->end, v);
}

static bool get_byte(struct reader *c, unsigned *v)
{
	if (c->at == c->end)
		return false;
	*v = *c->at++;
	return true;
}

/* Adds a difference; false beyond what the writer can have meant. */
static bool get_change(struct reader *c, int64_t *v)
{
	int64_t d;
	return get_int(c, &d) && !__builtin_add_overflow(*v, varint_unzigzag(d), v);
}

static bool get_shape(struct reader *c)
{
	struct last_report *last = &c->last;
	int64_t boot_len, count;
	if (!get_int(c, &last->version) || !get_int(c, &boot_len) || boot_len <= 0 || boot_len >= NAME_BOOT_BYTES || boot_len > c->end - c->at)
		return false;
	memcpy(last->boot, c->at, (size_t)boot_len);
	last->boot_len = (size_t)boot_len;
	c->at += boot_len;
	if (!get_int(c, &count) || count > TELEMETRY_METRICS)
		return false;
	last->metric_count = (unsigned)count;
	for (int64_t i = 0; i < count; i++) {
		struct last_metric *m = &last->metrics[i];
		unsigned type;
		if (!get_int(c, &m->name) || m->name == 0 || !get_byte(c, &type) || type >= VALUE_TYPE_COUNT)
			return false;
		m->type = (enum value_type)type;
		m->places = NO_PLACES;
		m->n = m->k = 0;
		m->bin_count = 0;
	}
	return true;
}

static bool get_double(struct reader *c, double *v)
{
	if (c->end - c->at < 8)
		return false;
	uint64_t bits = 0;
	for (unsigned i = 0; i < 8; i++)
		bits |= (uint64_t)c->at[i] << (8 * i);
	memcpy(v, &bits, sizeof *v);
	c->at += 8;
	return true;
}

static bool get_figure(struct reader *c, struct last_metric *last, double *v)
{
	int64_t head;
	unsigned how;
	if (!get_int(c, &head))
		return false;
	if (head % 2 == 0) {
		last->mantissa += varint_unzigzag(head / 2);
		how = last->places + 1;
	} else {
		int64_t mantissa = 0;
		if (head != 1 || !get_byte(c, &how) || (how != 0 && !get_int(c, &mantissa)))
			return false;
		last->mantissa = varint_unzigzag(mantissa);
		last->places = how == 0 ? NO_PLACES : how - 1;
		if (how == 0)
			return get_double(c, v);
	}
	if (how > DECIMAL_PLACES_MAX + 1 || last->mantissa > DECIMAL_MANTISSA_MAX || last->mantissa < -DECIMAL_MANTISSA_MAX)
		return false;
	*v = decimal_value(last->mantissa, how - 1);
	return true;
}

static bool get_bins(struct reader *c, struct last_metric *last, struct metric_value *v, int32_t *keys, uint64_t *counts)
{
	int64_t count, key, n;
	bool has_keys = last->type == VALUE_SKETCH;
	if (!get_int(c, &count) || count > (has_keys ? TELEMETRY_SKETCH_BINS : TELEMETRY_HIST_BINS) || (c->bins += count) > BINS_MAX)
		return false;
	for (int64_t i = 0; i < count; i++) {
		n = !has_keys && last->bin_count == (unsigned)count ? (int64_t)last->counts[i] : 0;
		if (has_keys ? !get_int(c, &key) || key > 2 * TELEMETRY_SKETCH_KEY || !get_int(c, &n) : !get_change(c, &n) || n < 0)
			return false;
		if (has_keys)
			keys[i] = (int32_t)(key - TELEMETRY_SKETCH_KEY);
		counts[i] = (uint64_t)n;
	}
	last->bin_count = (unsigned)count;
	if (!has_keys)
		memcpy(last->counts, counts, (size_t)count * sizeof *counts);
	*v = (struct metric_value){.type = last->type, .bin_count = (unsigned)count, .keys = keys, .counts = counts};
	return true;
}

static bool get_value(struct reader *c, unsigned i)
{
	struct last_metric *last = &c->last.metrics[i];
	struct metric_value *v = &c->values[i];
	c->names[i] = last->name;
	if (last->type == VALUE_SKETCH || last->type == VALUE_HIST)
		return get_bins(c, last, v, c->keys[i], c->counts[i]);
	*v = (struct metric_value){.type = last->type};
	if (last->type != VALUE_NUMBER && (!get_change(c, &last->n) || last->n < 0))
		return false;
	if (last->type == VALUE_RATIO ? !get_change(c, &last->k) || last->k < 0 : !get_figure(c, last, &v->value))
		return false;
	v->n = last->n;
	v->k = last->k;
	return true;
}

static bool get_report(struct reader *c, struct telemetry_report *r)
{
	struct last_report *last = &c->last;
	unsigned flags;
	if (!get_byte(c, &flags) || flags > (HAS_TS | SAME_SHAPE | NEXT_SEQ) || !get_change(c, &last->received_ms))
		return false;
	*r = (struct telemetry_report){.has_ts = flags & HAS_TS, .metrics = c->values};
	if (r->has_ts && !get_change(c, &last->ts_ahead_ms))
		return false;
	if (__builtin_add_overflow(last->received_ms, last->ts_ahead_ms, &r->ts_ms))
		return false;
	if (flags & NEXT_SEQ)
		last->seq++;
	else if (!get_change(c, &last->seq) || last->seq < 0)
		return false;
	if (flags & SAME_SHAPE ? last->metric_count > TELEMETRY_METRICS : !get_shape(c))
		return false;
	r->seq = last->seq;
	r->boot = (struct slice){last->boot, last->boot_len};
	r->metric_count = last->metric_count;
	c->bins = 0;
	for (unsigned i = 0; i < last->metric_count; i++)
		if (!get_value(c, i))
			return false;
	return true;
}

bool chunk_is(const void *data, size_t len)
{
	return len > HEAD && memcmp(data, "\0\0", 2) == 0;
}

bool chunk_expand(const void *data, size_t len, int64_t base_ms, struct buf *out)
{
	int64_t device;
	if (!chunk_is(data, len) || ((const uint8_t *)data)[2] != FORMAT)
		return false;
	struct reader *c = malloc(sizeof *c);
	if (c == NULL)
		abort();
	c->at = (const uint8_t *)data + HEAD;
	c->end = (const uint8_t *)data + len;
	start(&c->last, base_ms);
	bool ok = get_int(c, &device) && device > 0;
	while (ok && c->at < c->end) {
		struct telemetry_report r;
		ok = get_report(c, &r) && c->last.received_ms >= base_ms;
		if (ok)
			(void)report_log_put(out, base_ms, device, c->last.received_ms, c->last.version, c->names, &r);
	}
	free(c);
	return ok;
}
