#include "core/profile.h"

#include <assert.h>
#include <math.h>
#include <string.h>

const char *profile_figure_name(enum profile_figure_kind kind)
{
	static const char *const names[PROFILE_FIGURES] = {
#define X(name, text, smaller) text,
		PROFILE_FIGURE_TABLE(X)
#undef X
	};
	return kind < PROFILE_FIGURES ? names[kind] : "";
}

const char *profile_source_name(enum profile_source s)
{
	static const char *const names[] = {"none", "macs", "published", "declared", "class", "device"};
	return s <= PROFILE_DEVICE ? names[s] : "";
}

void profile_figures_init(struct profile_figures *f)
{
	for (unsigned i = 0; i < PROFILE_FIGURES; i++)
		f->of[i] = (struct profile_figure){.value = NAN, .cell = PROFILE_CELL_ANY, .age_ms = -1};
}

/* ---- devices: HyperLogLog (Flajolet et al. 2007) with linear counting for few ---- */

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static void count_device(uint8_t registers[PROFILE_REGISTERS], uint64_t device)
{
	uint64_t h = mix(device);
	uint8_t *r = &registers[h % PROFILE_REGISTERS];
	h /= PROFILE_REGISTERS;
	uint8_t rank = (uint8_t)(h == 0 ? 57 : __builtin_ctzll(h) + 1);
	if (rank > *r) *r = rank;
}

static uint32_t estimate_devices(const struct profile_cell *c)
{
	double sum = 0, n = PROFILE_REGISTERS;
	unsigned empty = 0;
	for (unsigned i = 0; i < PROFILE_REGISTERS; i++) {
		uint8_t r = c->devices[0][i] > c->devices[1][i] ? c->devices[0][i] : c->devices[1][i];
		sum += ldexp(1, -r);
		empty += r == 0;
	}
	double estimate = 0.7213 / (1 + 1.079 / n) * n * n / sum;
	if (estimate < 2.5 * n && empty > 0) estimate = n * log(n / empty);
	return (uint32_t)lround(estimate);
}

/* ---- fading ---- */

/* Halves the bins; what is lost to rounding is carried to the next bin, so that the sum and the quantiles stay. */
static void halve_sketch(struct ddsketch *s)
{
	uint64_t carry = 1, n = 0; /* one sample that is alone stays one */
	if (s->n == 0) return;
	for (int k = s->lo; k <= s->hi; k++) {
		uint64_t *bin = &s->bins[k - DDSKETCH_KEY_MIN];
		uint64_t twice = *bin + carry;
		carry = twice & 1;
		*bin = twice / 2;
		n += *bin;
	}
	s->n = n;
	while (n > 0 && s->bins[s->lo - DDSKETCH_KEY_MIN] == 0) s->lo++;
	while (n > 0 && s->bins[s->hi - DDSKETCH_KEY_MIN] == 0) s->hi--;
}

static void halve(struct profile_cell *c)
{
	halve_sketch(&c->latency);
	c->energy_sum_uj /= 2, c->energy_n /= 2;
	c->right /= 2, c->answers /= 2;
	c->memory_bytes[1] = c->memory_bytes[0];
	c->memory_bytes[0] = 0;
	memcpy(c->devices[1], c->devices[0], sizeof c->devices[1]);
	memset(c->devices[0], 0, sizeof c->devices[0]);
}

void profile_fade(struct profile_cell *c, int64_t now_ms, int64_t half_life_ms)
{
	assert(half_life_ms > 0);
	if (c->newest_ms == 0 || now_ms <= c->faded_ms) return;
	int64_t halvings = (now_ms - c->faded_ms) / half_life_ms;
	if (halvings >= 40) {
		memset(c, 0, sizeof *c);
		return;
	}
	for (int64_t i = 0; i < halvings; i++) halve(c);
	c->faded_ms += halvings * half_life_ms;
}

/* ---- noting ---- */

void profile_note(struct profile_cell *c, const struct profile_sample *s, int64_t now_ms)
{
	profile_fade(c, now_ms, PROFILE_HALF_LIFE_MS);
	if (c->newest_ms == 0) c->faded_ms = now_ms;
	if (now_ms > c->newest_ms) c->newest_ms = now_ms;
	count_device(c->devices[0], s->device);
	for (unsigned i = 0; i < s->latency_count; i++) {
		enum err e = ddsketch_add_key(&c->latency, s->latency_keys[i], s->latency_counts[i]);
		(void)e; /* what is out of range says nothing about the rest */
	}
	if (s->energy_n > 0 && isfinite(s->energy_sum_uj) && s->energy_sum_uj >= 0) {
		c->energy_sum_uj += s->energy_sum_uj;
		c->energy_n += (double)s->energy_n;
	}
	if (s->memory_bytes > c->memory_bytes[0]) c->memory_bytes[0] = s->memory_bytes;
	if (s->answers > 0 && s->right <= s->answers) {
		c->right += (double)s->right;
		c->answers += (double)s->answers;
	}
}

void profile_merge(struct profile_cell *into, const struct profile_cell *from)
{
	if (from->newest_ms == 0) return;
	enum err e = ddsketch_merge(&into->latency, &from->latency);
	(void)e; /* only fails beyond 2^62 samples; the older ones stay then */
	into->energy_sum_uj += from->energy_sum_uj;
	into->energy_n += from->energy_n;
	into->right += from->right;
	into->answers += from->answers;
	for (unsigned g = 0; g < 2; g++) {
		if (from->memory_bytes[g] > into->memory_bytes[g]) into->memory_bytes[g] = from->memory_bytes[g];
		for (unsigned i = 0; i < PROFILE_REGISTERS; i++)
			if (from->devices[g][i] > into->devices[g][i]) into->devices[g][i] = from->devices[g][i];
	}
	if (from->newest_ms > into->newest_ms) into->newest_ms = from->newest_ms;
	if (from->faded_ms > into->faded_ms) into->faded_ms = from->faded_ms;
}

void profile_read(const struct profile_cell *c, unsigned cell, enum profile_source source, int64_t now_ms,
                  struct profile_figures *out)
{
	profile_figures_init(out);
	if (c->newest_ms == 0) return;
	struct profile_figure base = {.value = NAN, .source = (uint8_t)source, .cell = (uint8_t)cell,
		.devices = estimate_devices(c), .age_ms = now_ms > c->newest_ms ? now_ms - c->newest_ms : 0};
	int64_t memory = c->memory_bytes[0] > c->memory_bytes[1] ? c->memory_bytes[0] : c->memory_bytes[1];
	const struct {
		enum profile_figure_kind kind;
		double value, samples;
	} rows[] = {
		{PROFILE_LATENCY_P50, ddsketch_quantile(&c->latency, 0.5), (double)c->latency.n},
		{PROFILE_LATENCY_P95, ddsketch_quantile(&c->latency, 0.95), (double)c->latency.n},
		{PROFILE_ENERGY, c->energy_sum_uj / c->energy_n, c->energy_n},
		/* the largest that was seen: devices report it always alike */
		{PROFILE_MEMORY, (double)memory, memory > 0 ? PROFILE_CLASS_SAMPLES : 0},
		{PROFILE_QUALITY, c->right / c->answers, c->answers},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (rows[i].samples < 1) continue;
		out->of[rows[i].kind] = base;
		out->of[rows[i].kind].value = rows[i].value;
		out->of[rows[i].kind].samples = (uint64_t)rows[i].samples;
	}
}

/* ---- choosing among sources ---- */

void profile_pick(const struct profile_known *known, struct profile_figures *out)
{
	const struct {
		const struct profile_figures *figures;
		uint64_t samples; /* at least */
	} ranks[] = {
		{known->device, PROFILE_OWN_SAMPLES}, {known->device_any, PROFILE_OWN_SAMPLES},
		{known->cell, PROFILE_CLASS_SAMPLES}, {known->any, PROFILE_CLASS_SAMPLES},
		{known->declared, 0}, {known->published, 0},
	};
	profile_figures_init(out);
	for (unsigned kind = 0; kind < PROFILE_FIGURES; kind++) {
		for (size_t i = 0; i < sizeof ranks / sizeof ranks[0]; i++) {
			if (ranks[i].figures == NULL) continue;
			const struct profile_figure *f = &ranks[i].figures->of[kind];
			if (isnan(f->value) || f->samples < ranks[i].samples) continue;
			out->of[kind] = *f;
			break;
		}
	}
	for (unsigned kind = PROFILE_LATENCY_P50; kind <= PROFILE_LATENCY_P95; kind++) {
		if (!isnan(out->of[kind].value) || known->macs_latency_ms <= 0) continue;
		out->of[kind].value = known->macs_latency_ms;
		out->of[kind].source = PROFILE_MACS;
	}
}

double profile_macs_latency_ms(double macs, double macs_per_ms)
{
	return macs > 0 && macs_per_ms > 0 ? 2 * macs / macs_per_ms : 0;
}

double profile_macs_rate(const double *macs, const double *latency_ms, unsigned count)
{
	double rates[64];
	unsigned n = 0;
	for (unsigned i = 0; i < count && n < 64; i++) {
		if (!(macs[i] > 0) || !(latency_ms[i] > 0)) continue;
		double rate = macs[i] / latency_ms[i];
		unsigned at = n++;
		for (; at > 0 && rates[at - 1] > rate; at--) rates[at] = rates[at - 1];
		rates[at] = rate;
	}
	if (n == 0) return 0;
	return n % 2 ? rates[n / 2] : (rates[n / 2 - 1] + rates[n / 2]) / 2;
}
