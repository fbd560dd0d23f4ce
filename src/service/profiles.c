/* Learning: from reports to cells, from cells to rows. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/health.h"
#include "service/metrics.h"
#include "service/profiles_inside.h"
#include "service/registry.h"
#include "service/selection.h"
#include "service/symbols.h"
#include "service/telemetry.h"
#include "service/timebox.h"
#include "service/unit.h"
#include "store/report_log.h"

#define LOOK_AGAIN_MS 60000  /* a version that the catalog did not have may be there now */
#define ROUND_EVERY_MS 10000
#define HARDWARE_MAX 4096
#define MICRO_PER_MILLI 1000.0

/* What is read of a report. X(NAME, metric) */
#define NOTED_TABLE(X)                                                                                                 \
	X(LATENCY, "latency_ms")                                                                                           \
	X(ENERGY, "energy_mj")                                                                                             \
	X(ACCURACY, "accuracy")                                                                                            \
	X(MEMORY, "arena_used_bytes")                                                                                      \
	X(TEMPERATURE, "temperature_c")                                                                                    \
	X(BATTERY, "battery")                                                                                              \
	X(RSSI, "link_rssi_dbm")
enum noted {
#define X(name, metric) NOTED_##name,
	NOTED_TABLE(X)
#undef X
	    NOTED_COUNT
};
static const char *const noted_metrics[NOTED_COUNT] = {
#define X(name, metric) metric,
	NOTED_TABLE(X)
#undef X
};
/* Where a context begins; as health checks have it by default (docs/health.md). */
static const struct health_context contexts = {.hot_c = 60, .battery_low = 0.2f, .rssi_bad = -85};

static void *must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

/* ---- the table ---- */

static uint32_t intern_hardware(struct profiles *p, const char *name)
{
	for (size_t i = 0; i < p->hardware_count; i++)
		if (strcmp(p->hardware[i], name) == 0)
			return (uint32_t)i;
	if (p->hardware_count == HARDWARE_MAX)
		return UINT32_MAX;
	p->hardware = must(realloc(p->hardware, (p->hardware_count + 1) * sizeof *p->hardware));
	p->hardware[p->hardware_count] = must(strdup(name));
	return (uint32_t)p->hardware_count++;
}

static size_t place_of(const struct profiles *p, uint32_t hardware, int64_t artifact)
{
	uint64_t h = ((uint64_t)artifact * UINT64_C(0x9e3779b97f4a7c15)) ^ hardware * UINT64_C(0xd6e8feb86659fd93);
	size_t at = (size_t)((h ^ h >> 29) & (p->index_size - 1));
	for (; p->index[at] != 0; at = (at + 1) & (p->index_size - 1)) {
		const struct learned *l = p->all[p->index[at] - 1];
		if (l->artifact == artifact && l->hardware == hardware)
			break;
	}
	return at;
}

static struct learned *find(const struct profiles *p, uint32_t hardware, int64_t artifact)
{
	uint32_t at = p->index[place_of(p, hardware, artifact)];
	return at != 0 ? p->all[at - 1] : NULL;
}

const struct learned *profiles_learned(const struct profiles *p, const char *hardware, int64_t artifact)
{
	for (size_t i = 0; p != NULL && i < p->hardware_count; i++)
		if (strcmp(p->hardware[i], hardware) == 0)
			return find(p, (uint32_t)i, artifact);
	return NULL;
}

/* At most one a cell, so there is always room in the index. */
static struct learned *add(struct profiles *p, uint32_t hardware, int64_t artifact)
{
	size_t at = place_of(p, hardware, artifact);
	assert(p->index[at] == 0);
	if (p->count == p->room) {
		p->room = p->room != 0 ? p->room * 2 : 64;
		p->all = must(realloc(p->all, p->room * sizeof *p->all));
	}
	struct learned *l = must(calloc(1, sizeof *l));
	l->artifact = artifact;
	l->hardware = hardware;
	p->all[p->count++] = l;
	p->index[at] = (uint32_t)p->count;
	return l;
}

/* NULL: no room. */
static struct profile_cell *cell_of(struct profiles *p, uint32_t hardware, int64_t artifact, unsigned cell, struct learned **out)
{
	struct learned *l = find(p, hardware, artifact);
	if ((l == NULL || l->cells[cell] == NULL) && p->cells == PROFILE_CELLS_MAX)
		return NULL;
	if (l == NULL)
		l = add(p, hardware, artifact);
	if (l->cells[cell] == NULL) {
		l->cells[cell] = must(calloc(1, sizeof *l->cells[cell]));
		ddsketch_init(&l->cells[cell]->latency);
		metric_set(METER_PROFILE_CELLS, (int64_t)++p->cells);
	}
	*out = l;
	return l->cells[cell];
}

/* ---- rows ---- */

#define CELL_FORMAT 1
#define CELL_BYTES_MAX (1 + 8 * 8 + 2 * PROFILE_REGISTERS + DDSKETCH_ENCODED_MAX)

static void put_word(uint8_t **at, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		*(*at)++ = (uint8_t)(v >> (8 * i));
}

static uint64_t get_word(const uint8_t **at)
{
	uint64_t v = 0;
	for (int i = 0; i < 8; i++)
		v |= (uint64_t)*(*at)++ << (8 * i);
	return v;
}

static void put_real(uint8_t **at, double d)
{
	uint64_t v;
	memcpy(&v, &d, sizeof v);
	put_word(at, v);
}

static double get_real(const uint8_t **at)
{
	double d;
	uint64_t v = get_word(at);
	memcpy(&d, &v, sizeof d);
	return d;
}

static size_t encode_cell(const struct profile_cell *c, uint8_t out[CELL_BYTES_MAX])
{
	uint8_t *at = out;
	*at++ = CELL_FORMAT;
	put_real(&at, c->energy_sum_uj);
	put_real(&at, c->energy_n);
	put_real(&at, c->right);
	put_real(&at, c->answers);
	put_word(&at, (uint64_t)c->memory_bytes[0]);
	put_word(&at, (uint64_t)c->memory_bytes[1]);
	put_word(&at, (uint64_t)c->newest_ms);
	put_word(&at, (uint64_t)c->faded_ms);
	memcpy(at, c->devices, sizeof c->devices);
	at += sizeof c->devices;
	return (size_t)(at - out) + ddsketch_encode(&c->latency, at);
}

static bool decode_cell(struct profile_cell *c, const uint8_t *data, size_t len)
{
	const size_t head = 1 + 8 * 8 + sizeof c->devices;
	const uint8_t *at = data + 1;
	if (len < head || data[0] != CELL_FORMAT)
		return false;
	c->energy_sum_uj = get_real(&at);
	c->energy_n = get_real(&at);
	c->right = get_real(&at);
	c->answers = get_real(&at);
	c->memory_bytes[0] = (int64_t)get_word(&at);
	c->memory_bytes[1] = (int64_t)get_word(&at);
	c->newest_ms = (int64_t)get_word(&at);
	c->faded_ms = (int64_t)get_word(&at);
	memcpy(c->devices, at, sizeof c->devices);
	return ddsketch_decode(&c->latency, data + head, len - head) == ERR_OK;
}

static void load_row(void *ctx, const struct learned_row *row)
{
	struct profiles *p = ctx;
	struct learned *l;
	uint32_t hardware = intern_hardware(p, row->hardware);
	if (hardware == UINT32_MAX || row->cell < 0 || row->cell >= HEALTH_CELLS)
		return;
	struct profile_cell *c = cell_of(p, hardware, row->artifact, (unsigned)row->cell, &l);
	if (c == NULL)
		return;
	l->batch[row->cell] = row->batch;
	if (!decode_cell(c, row->data, row->len)) { /* of another version of the program: learned anew */
		memset(c, 0, sizeof *c);
		ddsketch_init(&c->latency);
	}
}

/* ---- from a report to a cell ---- */

static const struct version_seen *look_up(struct profiles *p, int64_t symbol, int64_t now_ms)
{
	const struct symbol *y = symbols_get(telemetry_symbols(p->s->telemetry), symbol);
	if (y == NULL || y->is_metric)
		return NULL;
	if ((size_t)symbol >= p->version_count) {
		size_t count = (size_t)symbol + 64;
		p->versions = must(realloc(p->versions, count * sizeof *p->versions));
		memset(p->versions + p->version_count, 0, (count - p->version_count) * sizeof *p->versions);
		p->version_count = count;
	}
	struct version_seen *v = &p->versions[symbol];
	if (v->is_looked && now_ms - v->looked_ms < LOOK_AGAIN_MS && now_ms >= v->looked_ms)
		return v->version != 0 ? v : NULL;
	struct fault f;
	*v = (struct version_seen){.looked_ms = now_ms, .is_looked = true};
	if (profile_find_version(p->store, y->model, y->text, &v->model, &v->version, &f) != ERR_OK)
		v->version = 0;
	return v->version != 0 ? v : NULL;
}

static enum noted noted_of(struct profiles *p, int64_t symbol)
{
	for (unsigned i = 0; i < NOTED_COUNT; i++)
		if (p->metrics[i] == symbol)
			return (enum noted)i;
	const struct symbol *y = symbols_get(telemetry_symbols(p->s->telemetry), symbol);
	for (unsigned i = 0; y != NULL && i < NOTED_COUNT; i++) {
		if (p->metrics[i] != 0 || strcmp(y->text, noted_metrics[i]) != 0)
			continue;
		p->metrics[i] = symbol;
		return (enum noted)i;
	}
	return NOTED_COUNT;
}

struct gathered {
	struct profile_sample sample;
	int16_t keys[TELEMETRY_SKETCH_BINS];
	uint32_t counts[TELEMETRY_SKETCH_BINS];
	float surroundings[3]; /* temperature, battery, rssi; NaN */
	bool has_any;
};

static void take_latency(struct gathered *g, const struct log_metric *m)
{
	g->sample.latency_count = 0;
	if (m->type == VALUE_NUMBER && m->value > 0) {
		g->keys[0] = (int16_t)ddsketch_key(m->value);
		g->counts[0] = 1;
		g->sample.latency_count = 1;
	}
	for (unsigned i = 0; m->type == VALUE_SKETCH && i < m->bin_count; i++) {
		g->keys[i] = (int16_t)m->keys[i];
		g->counts[i] = (uint32_t)m->counts[i];
		g->sample.latency_count++;
	}
	g->has_any = g->has_any || g->sample.latency_count > 0;
}

static void take_metric(struct gathered *g, enum noted which, const struct log_metric *m)
{
	bool is_number = m->type == VALUE_NUMBER;
	switch (which) {
	case NOTED_LATENCY:
		take_latency(g, m);
		break;
	case NOTED_ENERGY:
		g->sample.energy_n = is_number ? 1 : m->type == VALUE_SUM ? (uint64_t)m->n : 0;
		g->sample.energy_sum_uj = m->value * MICRO_PER_MILLI;
		g->has_any = g->has_any || g->sample.energy_n > 0;
		break;
	case NOTED_ACCURACY:
		if (m->type == VALUE_RATIO) {
			g->sample.answers = (uint64_t)m->n;
			g->sample.right = (uint64_t)m->k;
			g->has_any = true;
		}
		break;
	case NOTED_MEMORY:
		if (is_number && m->value > 0 && m->value < 1e12) {
			g->sample.memory_bytes = (int64_t)m->value;
			g->has_any = true;
		}
		break;
	case NOTED_TEMPERATURE:
	case NOTED_BATTERY:
	case NOTED_RSSI:
		if (is_number)
			g->surroundings[which - NOTED_TEMPERATURE] = (float)m->value;
		break;
	case NOTED_COUNT:
		break;
	}
}

/* What a report does not say stays what it was. */
static unsigned note_context(struct profiles *p, const struct device_state *d, const float surroundings[3])
{
	static const unsigned bits[3] = {HEALTH_HOT, HEALTH_LOW_BATTERY, HEALTH_BAD_LINK};
	if (d->index >= p->context_count) {
		size_t count = registry_span(p->s->registry) + 1024;
		p->contexts = must(realloc(p->contexts, count));
		memset(p->contexts + p->context_count, 0, count - p->context_count);
		p->context_count = count;
	}
	unsigned now = health_cell(&contexts, surroundings[0], surroundings[1], surroundings[2]), cell = p->contexts[d->index];
	for (unsigned i = 0; i < 3; i++)
		if (!isnan(surroundings[i]))
			cell = (cell & ~bits[i]) | (now & bits[i]);
	p->contexts[d->index] = (uint8_t)cell;
	return cell;
}

static uint32_t hardware_of(struct profiles *p, const struct device_state *d)
{
	if (d->hardware >= p->hardware_of_count) {
		size_t count = d->hardware + 64;
		p->hardware_of = must(realloc(p->hardware_of, count * sizeof *p->hardware_of));
		memset(p->hardware_of + p->hardware_of_count, 0, (count - p->hardware_of_count) * sizeof *p->hardware_of);
		p->hardware_of_count = count;
	}
	if (p->hardware_of[d->hardware] == 0) {
		uint32_t place = intern_hardware(p, registry_text(p->s->registry, d->hardware));
		p->hardware_of[d->hardware] = place == UINT32_MAX ? 0 : place + 1;
	}
	return p->hardware_of[d->hardware] - 1; /* UINT32_MAX: too many classes */
}

static void note(struct profiles *p, const struct device_state *d, int64_t artifact, unsigned cell, int64_t batch, const struct log_report *r,
	struct gathered *g)
{
	struct learned *l;
	uint32_t hardware = hardware_of(p, d);
	struct profile_cell *c = hardware != UINT32_MAX ? cell_of(p, hardware, artifact, cell, &l) : NULL;
	if (c == NULL) {
		metric_add(METER_PROFILES_REFUSED, 1);
		return;
	}
	if (batch <= l->batch[cell])
		return; /* told again, and in the row already */
	g->sample.device = (uint64_t)d->row;
	g->sample.latency_keys = g->keys;
	g->sample.latency_counts = g->counts;
	profile_note(c, &g->sample, r->received_ms);
	l->dirty |= (uint8_t)(1u << cell);
	p->generation++;
}

static void on_report(void *ctx, int64_t batch, const struct log_report *report)
{
	struct profiles *p = ctx;
	struct log_report r = *report;
	struct log_metric m;
	struct gathered g;
	const struct device_state *d = registry_by_row(p->s->registry, r.device);
	if (d == NULL)
		return;
	g.sample = (struct profile_sample){.latency_count = 0};
	g.has_any = false;
	g.surroundings[0] = g.surroundings[1] = g.surroundings[2] = NAN;
	while (report_log_metric(&r, &m)) {
		enum noted which = noted_of(p, m.name);
		if (which != NOTED_COUNT)
			take_metric(&g, which, &m);
	}
	unsigned cell = note_context(p, d, g.surroundings);
	const struct version_seen *v = r.version != 0 && g.has_any ? look_up(p, r.version, r.received_ms) : NULL;
	int64_t artifact = v != NULL ? selection_runs(p->s->selection, d, v->model, v->version, r.received_ms) : 0;
	if (artifact != 0)
		note(p, d, artifact, cell, batch, &r, &g);
}

unsigned profiles_context(const struct profiles *p, const struct device_state *d)
{
	return p != NULL && d->index < p->context_count ? p->contexts[d->index] : 0;
}

uint64_t profiles_generation(const struct profiles *p)
{
	return p != NULL ? p->generation : 0;
}

uint64_t profiles_imports(const struct profiles *p)
{
	return p != NULL ? p->imports : 0;
}

/* ---- writing ---- */

static void on_lost(void *ctx)
{
	((struct profiles *)ctx)->is_lost = true;
}

static void write_all_again(struct profiles *p)
{
	for (size_t i = 0; i < p->count; i++)
		for (unsigned c = 0; c < HEALTH_CELLS; c++)
			if (p->all[i]->cells[c] != NULL)
				p->all[i]->dirty |= (uint8_t)(1u << c);
	p->is_round = p->is_lost = false;
}

static bool begin_round(struct profiles *p, int64_t now_ms)
{
	bool is_due = now_ms >= p->round_due_ms || now_ms < p->round_due_ms - 2 * ROUND_EVERY_MS; /* or the clock went back */
	bool has_any = false;
	for (size_t i = 0; is_due && !has_any && i < p->count; i++)
		has_any = p->all[i]->dirty != 0;
	if (!has_any)
		return false;
	p->is_round = true;
	p->round_at = 0;
	p->round_batch = telemetry_settled(p->s->telemetry);
	p->round_due_ms = now_ms + ROUND_EVERY_MS;
	return true;
}

static enum err write_cells(struct call *c, struct profiles *p, struct learned *l)
{
	static uint8_t bytes[CELL_BYTES_MAX]; /* the loop's thread alone */
	enum err e = ERR_OK;
	for (unsigned cell = 0; cell < HEALTH_CELLS && e == ERR_OK; cell++) {
		if (!(l->dirty >> cell & 1))
			continue;
		struct learned_row row = {.artifact = l->artifact, .hardware = p->hardware[l->hardware], .cell = cell, .data = bytes,
			.batch = telemetry_settled(p->s->telemetry), .updated_at = c->now_ms};
		row.len = encode_cell(l->cells[cell], bytes);
		e = profile_put(p->store, &row, c->fault);
	}
	if (e == ERR_OK)
		l->dirty = 0;
	return e;
}

static enum err write_some(struct call *c, struct profiles *p)
{
	struct timebox box = timebox_begin(TIMEBOX_NS);
	enum err e = ERR_OK;
	for (bool is_first = true; p->round_at < p->count && e == ERR_OK; p->round_at++) {
		struct learned *l = p->all[p->round_at];
		if (l->dirty == 0)
			continue;
		if (!is_first && timebox_is_over(&box))
			return ERR_OK;
		e = write_cells(c, p, l);
		is_first = false;
	}
	if (e != ERR_OK)
		return e;
	p->is_round = false;
	return profile_set_watermark(p->store, p->round_batch, c->fault);
}

enum err profiles_tick(struct call *c)
{
	struct profiles *p = c->s->profiles;
	if (p == NULL)
		return ERR_OK;
	if (p->is_lost)
		write_all_again(p);
	if (!p->is_round && !begin_round(p, c->now_ms))
		return ERR_OK;
	enum err e = unit_begin(c->s, c->fault);
	if (e == ERR_OK)
		e = unit_end(c->s, write_some(c, p), c->fault);
	if (e != ERR_OK)
		p->is_lost = true;
	return e;
}

/* ---- opening ---- */

enum err profiles_open(struct services *s, struct profiles **out, struct fault *f)
{
	struct profiles *p = must(calloc(1, sizeof *p));
	int64_t watermark = 0;
	*out = NULL;
	p->s = s;
	p->index_size = 2 * PROFILE_CELLS_MAX;
	p->index = must(calloc(p->index_size, sizeof *p->index));
	enum err e = profile_store_open(s->db, &p->store, f);
	if (e == ERR_OK)
		e = profile_each(p->store, load_row, p, f);
	if (e == ERR_OK)
		e = profile_watermark(p->store, &watermark, f);
	if (e != ERR_OK) {
		profiles_close(p);
		return e;
	}
	telemetry_listen(s->telemetry, on_report, p);
	e = telemetry_tell_again(s->telemetry, p, watermark, f);
	if (e != ERR_OK) {
		profiles_close(p);
		return e;
	}
	units_listen(s->units, (struct unit_listener){.lost = on_lost, .ctx = p});
	*out = p;
	return ERR_OK;
}

void profiles_close(struct profiles *p)
{
	if (p == NULL)
		return;
	telemetry_listen(p->s->telemetry, NULL, p);
	profile_store_close(p->store);
	for (size_t i = 0; i < p->count; i++) {
		for (unsigned c = 0; c < HEALTH_CELLS; c++)
			free(p->all[i]->cells[c]);
		free(p->all[i]);
	}
	for (size_t i = 0; i < p->hardware_count; i++)
		free(p->hardware[i]);
	free(p->all);
	free(p->index);
	free(p->hardware);
	free(p->hardware_of);
	free(p->contexts);
	free(p->versions);
	free(p);
}
