#include "core/telemetry.h"

#include <assert.h>
#include <string.h>

#include "base/jpull.h"

static const struct {
	const char *label, *text;
} errors[TELEMETRY_ERROR_COUNT] = {
#define X(name, label, text) {label, text},
	TELEMETRY_ERROR_TABLE(X)
#undef X
};

const char *telemetry_error_label(enum telemetry_error e)
{
	assert(e < TELEMETRY_ERROR_COUNT);
	return errors[e].label;
}

const char *telemetry_error_text(enum telemetry_error e)
{
	assert(e < TELEMETRY_ERROR_COUNT);
	return errors[e].text;
}

const char *value_type_text(enum value_type type)
{
	static const char *const texts[VALUE_TYPE_COUNT] = {"number", "sum", "ratio", "sketch", "hist"};
	assert(type < VALUE_TYPE_COUNT);
	return texts[type];
}

/* One report being read. Readers return an error and leave the parser wherever they stood: report_read finds the end. A
 * broken text is seen by JP_ERROR, which stays. */
struct reader {
	struct jp p;
	struct telemetry_message *t;
	struct telemetry_report *r;
	struct slice member; /* the name under way, for the reject */
	unsigned seen;       /* members of the report that came, by bit */
	bool is_shadow;      /* the metrics under way are those of a release in shadow */
};

enum member { MEMBER_TS, MEMBER_BOOT, MEMBER_SEQ, MEMBER_MODEL, MEMBER_VERSION, MEMBER_METRICS, MEMBER_SHADOW, MEMBER_COUNT };

static struct slice token(const struct jp *p)
{
	return (struct slice){p->token, p->token_len};
}

/* Names as the tables have them: with their length, as most comparisons end there. */
#define NAME(text) {text, sizeof(text) - 1}
#define SHADOW_LEN (sizeof(TELEMETRY_SHADOW) - 1)

static bool is_same(struct slice a, struct slice b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* Reads the next value as an integer within bounds. */
static bool read_int(struct jp *p, int64_t min, int64_t max, int64_t *out)
{
	return jp_next(p) == JP_NUMBER && jp_int(p, out) && *out >= min && *out <= max;
}

static bool take_double(const struct jp *p, double *out)
{
	return jp_double(p, out) && *out >= -TELEMETRY_VALUE_MAX && *out <= TELEMETRY_VALUE_MAX;
}

/* Texts with escapes never match the name rules, which know no backslash. */
static enum telemetry_error read_ts(struct reader *r)
{
	r->r->has_ts = read_int(&r->p, INT64_MIN, INT64_MAX, &r->r->ts_ms);
	return r->r->has_ts ? TELEMETRY_OK : TELEMETRY_BAD_TS;
}

static enum telemetry_error read_boot(struct reader *r)
{
	bool is_text = jp_next(&r->p) == JP_STRING;
	r->r->boot = token(&r->p);
	return is_text && name_is_boot(r->r->boot) ? TELEMETRY_OK : TELEMETRY_BAD_BOOT;
}

static enum telemetry_error read_seq(struct reader *r)
{
	return read_int(&r->p, 1, TELEMETRY_SEQ_MAX, &r->r->seq) ? TELEMETRY_OK : TELEMETRY_BAD_SEQ;
}

static enum telemetry_error read_model(struct reader *r)
{
	bool is_text = jp_next(&r->p) == JP_STRING;
	r->r->model = token(&r->p);
	return is_text && name_is_name(r->r->model) ? TELEMETRY_OK : TELEMETRY_BAD_MODEL;
}

static enum telemetry_error read_version(struct reader *r)
{
	bool is_text = jp_next(&r->p) == JP_STRING;
	r->r->version = token(&r->p);
	return is_text && name_is_version(r->r->version) ? TELEMETRY_OK : TELEMETRY_BAD_VERSION;
}

/* A sketch key as written: canonical decimal, so that one key has one spelling. */
static bool sketch_key(struct slice s, int32_t *key)
{
	size_t i = s.len > 0 && s.data[0] == '-';
	int32_t v = 0;
	if (s.len - i < 1 || s.len - i > 4) return false;
	if (s.data[i] == '0' && s.len > 1) return false; /* leading zeros and -0 */
	for (size_t at = i; at < s.len; at++) {
		if (s.data[at] < '0' || s.data[at] > '9') return false;
		v = v * 10 + (s.data[at] - '0');
	}
	*key = i ? -v : v;
	return v <= TELEMETRY_SKETCH_KEY;
}

static enum telemetry_error read_sketch(struct reader *r, struct metric_value *m)
{
	struct telemetry_message *t = r->t;
	uint64_t met[(2 * TELEMETRY_SKETCH_KEY + 1) / 64 + 1] = {0};
	enum jp_event e = jp_next(&r->p);
	if (e != JP_OBJECT) return TELEMETRY_BAD_SKETCH;
	m->type = VALUE_SKETCH;
	m->keys = t->keys + t->key_used;
	m->counts = t->counts + t->count_used;
	while ((e = jp_next(&r->p)) == JP_KEY) {
		int32_t key;
		int64_t count;
		if (!sketch_key(token(&r->p), &key)) return TELEMETRY_BAD_SKETCH_KEY;
		unsigned bit = (unsigned)(key + TELEMETRY_SKETCH_KEY);
		if (met[bit / 64] >> bit % 64 & 1) return TELEMETRY_DUPLICATE_SKETCH_KEY;
		met[bit / 64] |= (uint64_t)1 << bit % 64;
		if (!read_int(&r->p, 1, TELEMETRY_COUNT_MAX, &count)) return TELEMETRY_BAD_SKETCH_COUNT;
		if (m->bin_count == TELEMETRY_SKETCH_BINS) return TELEMETRY_BAD_SKETCH;
		assert(t->key_used < sizeof t->keys / sizeof t->keys[0]);
		assert(t->count_used < sizeof t->counts / sizeof t->counts[0]);
		t->keys[t->key_used++] = key;
		t->counts[t->count_used++] = (uint64_t)count;
		m->bin_count++;
		m->n += count;
	}
	return e == JP_OBJECT_END && m->bin_count > 0 ? TELEMETRY_OK : TELEMETRY_BAD_SKETCH;
}

static enum telemetry_error read_hist(struct reader *r, struct metric_value *m)
{
	struct telemetry_message *t = r->t;
	enum jp_event e = jp_next(&r->p);
	if (e != JP_ARRAY) return TELEMETRY_BAD_HIST;
	m->type = VALUE_HIST;
	m->counts = t->counts + t->count_used;
	while ((e = jp_next(&r->p)) != JP_ARRAY_END) {
		int64_t count;
		if (e != JP_NUMBER || !jp_int(&r->p, &count)) return TELEMETRY_BAD_HIST_COUNT;
		if (count < 0 || count > TELEMETRY_COUNT_MAX) return TELEMETRY_BAD_HIST_COUNT;
		if (m->bin_count == TELEMETRY_HIST_BINS) return TELEMETRY_BAD_HIST;
		assert(t->count_used < sizeof t->counts / sizeof t->counts[0]);
		t->counts[t->count_used++] = (uint64_t)count;
		m->bin_count++;
		m->n += count;
	}
	return m->bin_count > 0 ? TELEMETRY_OK : TELEMETRY_BAD_HIST;
}

static enum telemetry_error read_n(struct reader *r, struct metric_value *m)
{
	return read_int(&r->p, 1, TELEMETRY_COUNT_MAX, &m->n) ? TELEMETRY_OK : TELEMETRY_BAD_COUNT;
}

static enum telemetry_error read_k(struct reader *r, struct metric_value *m)
{
	return read_int(&r->p, 0, TELEMETRY_COUNT_MAX, &m->k) ? TELEMETRY_OK : TELEMETRY_BAD_K;
}

static enum telemetry_error read_sum(struct reader *r, struct metric_value *m)
{
	bool ok = jp_next(&r->p) == JP_NUMBER && take_double(&r->p, &m->value);
	return ok ? TELEMETRY_OK : TELEMETRY_BAD_SUM;
}

/* The members a metric object may have; a form is a set of them. */
enum part { PART_N = 1, PART_SUM = 2, PART_K = 4, PART_SKETCH = 8, PART_HIST = 16 };

static const struct {
	struct slice name;
	enum part bit;
	enum telemetry_error (*read)(struct reader *, struct metric_value *);
} parts[] = {
	{NAME("n"), PART_N, read_n},
	{NAME("sum"), PART_SUM, read_sum},
	{NAME("k"), PART_K, read_k},
	{NAME("sketch"), PART_SKETCH, read_sketch},
	{NAME("hist"), PART_HIST, read_hist},
};

static enum telemetry_error read_part(struct reader *r, struct metric_value *m, unsigned *have)
{
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		if (!is_same(token(&r->p), parts[i].name)) continue;
		if (*have & parts[i].bit) return TELEMETRY_DUPLICATE_MEMBER;
		*have |= parts[i].bit;
		return parts[i].read(r, m);
	}
	return TELEMETRY_BAD_METRIC_FORM;
}

static enum telemetry_error read_summary(struct reader *r, struct metric_value *m)
{
	unsigned have = 0;
	enum jp_event e;
	while ((e = jp_next(&r->p)) == JP_KEY) {
		enum telemetry_error error = read_part(r, m, &have);
		if (error) return error;
	}
	if (e != JP_OBJECT_END) return TELEMETRY_BAD_METRIC_FORM;
	switch (have) {
	case PART_SKETCH:
	case PART_HIST: return TELEMETRY_OK;
	case PART_N | PART_SUM: m->type = VALUE_SUM; return TELEMETRY_OK;
	case PART_N | PART_K:
		m->type = VALUE_RATIO;
		m->value = (double)m->k;
		return m->k <= m->n ? TELEMETRY_OK : TELEMETRY_K_ABOVE_N;
	default: return TELEMETRY_BAD_METRIC_FORM;
	}
}

static bool is_of_shadow(struct slice name)
{
	return name.len >= SHADOW_LEN && memcmp(name.data, TELEMETRY_SHADOW, SHADOW_LEN) == 0;
}

/* The name with TELEMETRY_SHADOW in front, in the workspace. */
static struct slice shadow_name(struct telemetry_message *t, struct slice name)
{
	char *at = t->names + t->name_used;
	assert(sizeof t->names - t->name_used >= SHADOW_LEN + name.len);
	memcpy(at, TELEMETRY_SHADOW, SHADOW_LEN);
	memcpy(at + SHADOW_LEN, name.data, name.len);
	t->name_used += (unsigned)(SHADOW_LEN + name.len);
	return (struct slice){at, SHADOW_LEN + name.len};
}

/* The parser stands on the metric's name. */
static enum telemetry_error read_metric(struct reader *r)
{
	struct telemetry_message *t = r->t;
	r->member = token(&r->p);
	size_t before = r->is_shadow ? SHADOW_LEN : 0;
	if (!name_is_metric(r->member) || r->member.len + before >= NAME_METRIC_BYTES) return TELEMETRY_BAD_METRIC_NAME;
	if (is_of_shadow(r->member)) return TELEMETRY_RESERVED_METRIC;
	if (r->r->metric_count == TELEMETRY_METRICS) return TELEMETRY_TOO_MANY_METRICS;
	struct slice name = r->is_shadow ? shadow_name(t, r->member) : r->member;
	for (unsigned i = 0; i < r->r->metric_count; i++)
		if (is_same(r->r->metrics[i].name, name)) return TELEMETRY_DUPLICATE_METRIC;
	assert(t->metric_used < sizeof t->metrics / sizeof t->metrics[0]);
	struct metric_value *m = &t->metrics[t->metric_used++];
	*m = (struct metric_value){.name = name};
	r->r->metric_count++;
	switch (jp_next(&r->p)) {
	case JP_NUMBER:
		m->type = VALUE_NUMBER;
		m->n = 1;
		return take_double(&r->p, &m->value) ? TELEMETRY_OK : TELEMETRY_BAD_NUMBER;
	case JP_OBJECT: return read_summary(r, m);
	default: return TELEMETRY_BAD_METRIC_FORM;
	}
}

static enum telemetry_error read_metrics(struct reader *r)
{
	enum jp_event e = jp_next(&r->p);
	if (e != JP_OBJECT) return TELEMETRY_METRICS_NOT_OBJECT;
	while ((e = jp_next(&r->p)) == JP_KEY) {
		enum telemetry_error error = read_metric(r);
		if (error) return error;
	}
	return e == JP_OBJECT_END ? TELEMETRY_OK : TELEMETRY_METRICS_NOT_OBJECT;
}

static enum telemetry_error read_shadow_id(struct reader *r)
{
	bool is_text = jp_next(&r->p) == JP_STRING;
	r->r->shadow = token(&r->p);
	return is_text && name_is_name(r->r->shadow) ? TELEMETRY_OK : TELEMETRY_BAD_SHADOW_ID;
}

static enum telemetry_error read_shadow_metrics(struct reader *r)
{
	r->is_shadow = true;
	enum telemetry_error error = read_metrics(r);
	r->is_shadow = false;
	return error;
}

/* {"id","metrics"}: both are required, so that a device cannot leave open whose pairs these are. */
static enum telemetry_error read_shadow(struct reader *r)
{
	static const struct slice id = NAME("id"), metrics = NAME("metrics");
	bool has_id = false, has_metrics = false;
	enum jp_event e = jp_next(&r->p);
	if (e != JP_OBJECT) return TELEMETRY_BAD_SHADOW;
	while ((e = jp_next(&r->p)) == JP_KEY) {
		r->member = token(&r->p);
		bool is_id = is_same(r->member, id);
		if (!is_id && !is_same(r->member, metrics)) return TELEMETRY_UNKNOWN_MEMBER;
		bool *has = is_id ? &has_id : &has_metrics;
		if (*has) return TELEMETRY_DUPLICATE_MEMBER;
		*has = true;
		enum telemetry_error error = is_id ? read_shadow_id(r) : read_shadow_metrics(r);
		if (error) return error;
	}
	return e == JP_OBJECT_END && has_id && has_metrics ? TELEMETRY_OK : TELEMETRY_BAD_SHADOW;
}

static const struct {
	struct slice name;
	enum telemetry_error (*read)(struct reader *);
} members[MEMBER_COUNT] = {
	[MEMBER_TS] = {NAME("ts"), read_ts},
	[MEMBER_BOOT] = {NAME("boot"), read_boot},
	[MEMBER_SEQ] = {NAME("seq"), read_seq},
	[MEMBER_MODEL] = {NAME("model"), read_model},
	[MEMBER_VERSION] = {NAME("version"), read_version},
	[MEMBER_METRICS] = {NAME("metrics"), read_metrics},
	[MEMBER_SHADOW] = {NAME("shadow"), read_shadow},
};

static enum telemetry_error read_member(struct reader *r)
{
	r->member = token(&r->p);
	for (unsigned i = 0; i < MEMBER_COUNT; i++) {
		if (!is_same(r->member, members[i].name)) continue;
		if (r->seen >> i & 1) return TELEMETRY_DUPLICATE_MEMBER;
		r->seen |= 1u << i;
		return members[i].read(r);
	}
	return TELEMETRY_UNKNOWN_MEMBER;
}

/* The name of a required member that did not come, or empty. */
static struct slice missing(unsigned seen)
{
	static const enum member required[] = {MEMBER_BOOT, MEMBER_SEQ, MEMBER_METRICS};
	for (size_t i = 0; i < sizeof required / sizeof required[0]; i++)
		if (!(seen >> required[i] & 1)) return members[required[i]].name;
	return (struct slice){NULL, 0};
}

/* The parser stands behind the opening brace. */
static enum telemetry_error read_members(struct reader *r)
{
	enum jp_event e;
	while ((e = jp_next(&r->p)) == JP_KEY) {
		enum telemetry_error error = read_member(r);
		if (error) return error;
	}
	r->member = missing(r->seen);
	if (r->member.len > 0) return TELEMETRY_MISSING_MEMBER;
	bool has_model = r->seen >> MEMBER_MODEL & 1, has_version = r->seen >> MEMBER_VERSION & 1;
	return has_model == has_version ? TELEMETRY_OK : TELEMETRY_MODEL_WITHOUT_VERSION;
}

/* Leaves the report, wherever its reading stopped. False: the text itself is broken. */
static bool leave(struct jp *p, unsigned outside)
{
	while (p->depth > outside)
		if (jp_next(p) == JP_ERROR) return false;
	return p->error == NULL;
}

static void reject(struct reader *r, enum telemetry_error reason, size_t at)
{
	struct telemetry_message *t = r->t;
	t->rejects[t->reject_count++] = (struct telemetry_reject){reason, t->seen - 1, at, r->member};
}

/* One element of the message, whose first event is `e`. False: the text itself is broken. */
static bool read_report(struct reader *r, enum jp_event e)
{
	struct telemetry_message *t = r->t;
	const unsigned outside = e == JP_OBJECT || e == JP_ARRAY ? r->p.depth - 1u : r->p.depth;
	const unsigned metrics = t->metric_used, keys = t->key_used, counts = t->count_used, names = t->name_used;
	const size_t start = r->p.at - 1;
	t->seen++;
	r->r = &t->reports[t->report_count];
	*r->r = (struct telemetry_report){.metrics = t->metrics + metrics};
	r->member = (struct slice){NULL, 0};
	r->seen = 0;
	r->is_shadow = false;
	enum telemetry_error error = e == JP_OBJECT ? read_members(r) : TELEMETRY_REPORT_NOT_OBJECT;
	size_t at = error ? r->p.at : start;
	if (!leave(&r->p, outside)) return false;
	r->r->text = (struct slice){r->p.text + start, r->p.at - start};
	if (e == JP_OBJECT && r->r->text.len > TELEMETRY_REPORT_BYTES) error = TELEMETRY_REPORT_TOO_LARGE;
	if (error == TELEMETRY_OK) {
		t->report_count++;
		return true;
	}
	reject(r, error, at);
	t->metric_used = metrics; /* its values are nobody's */
	t->key_used = keys;
	t->count_used = counts;
	t->name_used = names;
	return true;
}

/* Elements of an array; the parser stands behind the bracket. */
static enum telemetry_error read_array(struct reader *r)
{
	enum jp_event e;
	while ((e = jp_next(&r->p)) != JP_ARRAY_END) {
		if (e == JP_ERROR) return TELEMETRY_SYNTAX;
		if (r->t->seen == TELEMETRY_REPORTS) return TELEMETRY_TOO_MANY_REPORTS;
		if (!read_report(r, e)) return TELEMETRY_SYNTAX;
	}
	return TELEMETRY_OK;
}

static enum telemetry_error read_message(struct reader *r)
{
	enum telemetry_error error = TELEMETRY_OK;
	switch (jp_next(&r->p)) {
	case JP_ERROR: return TELEMETRY_SYNTAX;
	case JP_OBJECT:
		if (!read_report(r, JP_OBJECT)) return TELEMETRY_SYNTAX;
		break;
	case JP_ARRAY: error = read_array(r); break;
	default: return TELEMETRY_NOT_A_REPORT;
	}
	if (error) return error;
	return jp_next(&r->p) == JP_END ? TELEMETRY_OK : TELEMETRY_SYNTAX;
}

bool telemetry_parse(struct telemetry_message *t, const char *text, size_t len)
{
	struct reader r = {.t = t};
	t->error_at = 0;
	t->seen = t->report_count = t->reject_count = 0;
	t->metric_used = t->key_used = t->count_used = t->name_used = 0;
	jp_init(&r.p, text, len);
	t->error = len > TELEMETRY_MESSAGE_BYTES ? TELEMETRY_MESSAGE_TOO_LARGE : read_message(&r);
	if (t->error) t->error_at = r.p.at;
	return t->error == TELEMETRY_OK && t->reject_count == 0;
}

void telemetry_drop_shadow(struct telemetry_report *r, struct metric_value room[TELEMETRY_METRICS])
{
	unsigned kept = 0;
	for (unsigned i = 0; i < r->metric_count; i++)
		if (!is_of_shadow(r->metrics[i].name)) room[kept++] = r->metrics[i];
	r->metrics = room;
	r->metric_count = kept;
	r->shadow = (struct slice){NULL, 0};
}
