#include "core/health.h"

#include <assert.h>
#include <math.h>

#define PRECISION_LEAST 1.0
#define PRECISION_MOST 1e4

unsigned health_cell(const struct health_context *x, float temperature_c, float battery, float rssi_dbm)
{
	unsigned cell = 0;
	/* a comparison with NaN is false */
	if (temperature_c > x->hot_c) cell |= HEALTH_HOT;
	if (battery < x->battery_low) cell |= HEALTH_LOW_BATTERY;
	if (rssi_dbm < x->rssi_bad) cell |= HEALTH_BAD_LINK;
	return cell;
}

const char *health_cell_name(unsigned cell)
{
	static const char *const names[HEALTH_CELLS] = {
		"normal", "hot", "low_battery", "hot+low_battery", "bad_link", "hot+bad_link", "low_battery+bad_link", "hot+low_battery+bad_link"};
	assert(cell < HEALTH_CELLS);
	return names[cell];
}

static int64_t pairs(int64_t n)
{
	return n * (n - 1);
}

void health_add(struct health_sums *s, const struct health_count *c)
{
	s->devices += c->results > 0;
	s->results += c->results;
	s->failures += c->failures;
	s->result_pairs += pairs(c->results);
	s->failure_pairs += pairs(c->failures);
}

void health_remove(struct health_sums *s, const struct health_count *c)
{
	s->devices -= c->results > 0;
	s->results -= c->results;
	s->failures -= c->failures;
	s->result_pairs -= pairs(c->results);
	s->failure_pairs -= pairs(c->failures);
}

void health_note(struct health_count *c, bool passed)
{
	if (c->results == HEALTH_RESULTS_MAX) {
		c->results /= 2;
		c->failures /= 2;
	}
	c->results++;
	c->failures = (uint16_t)(c->failures + !passed);
}

struct health_prior health_prior(const struct health_sums *s)
{
	double n = (double)s->results, mean = ((double)s->failures + 0.5) / (n + 1);
	double precision = n + 1;
	if (s->result_pairs > 0) {
		double variance = (double)s->failure_pairs / (double)s->result_pairs - mean * mean;
		double wanted = variance > 0 ? mean * (1 - mean) / variance - 1 : PRECISION_MOST;
		precision = fmin(precision, wanted);
	}
	precision = fmin(fmax(precision, PRECISION_LEAST), PRECISION_MOST);
	return (struct health_prior){mean * precision, (1 - mean) * precision};
}

/* ln of the probability of exactly k */
static double ln_mass(const struct health_prior *p, int n, int k)
{
	double ways = lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0);
	double above = lgamma(k + p->a) + lgamma(n - k + p->b) - lgamma(n + p->a + p->b);
	return ways + above - (lgamma(p->a) + lgamma(p->b) - lgamma(p->a + p->b));
}

double health_tail(const struct health_prior *p, int n, int k)
{
	assert(k >= 0 && k <= n && n <= HEALTH_RESULTS_MAX);
	if (k == 0) return 1;
	double mass = exp(ln_mass(p, n, k)), sum = 0;
	for (int i = k; i <= n; i++) {
		sum += mass;
		mass *= (double)(n - i) / (i + 1) * (i + p->a) / (n - i - 1 + p->b); /* 0 from i = n on */
	}
	return fmin(sum, 1);
}

struct health_judgement health_judge(const struct health_sums *s, const struct health_count *c)
{
	struct health_sums others = *s;
	health_remove(&others, c);
	struct health_prior p = health_prior(&others);
	struct health_judgement j = {.cohort_rate = p.a / (p.a + p.b), .p = 1};
	if (c->results == 0) return j;
	j.rate = (double)c->failures / c->results;
	j.p = health_tail(&p, c->results, c->failures);
	j.is_suspicious = j.rate > j.cohort_rate && j.p <= HEALTH_ALPHA;
	return j;
}
