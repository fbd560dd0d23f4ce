#include "core/looks.h"

#include <assert.h>
#include <math.h>

int64_t looks_reports_at(uint32_t k, uint32_t controls) {
	assert(k >= 1);
	double n = 2.0 * (controls + 1.0) * pow(1.5, k - 1.0);
	return n < 9e18 ? (int64_t)ceil(n) : INT64_MAX;
}

uint32_t looks_planned(uint32_t blocks, int64_t reports_planned) {
	double k = ceil(log((double)blocks * (double)reports_planned / 2) / log(1.5) - 1e-9);
	return k < 1 ? 1 : k > LOOKS_MAX ? LOOKS_MAX : (uint32_t)k;
}

uint32_t looks_due(int64_t reports, uint32_t controls) {
	uint32_t k = 0;
	while (k < 2 * LOOKS_MAX && looks_reports_at(k + 1, controls) <= reports)
		k++;
	return k;
}

double looks_share(uint32_t k, uint32_t planned) {
	assert(k >= 1 && planned >= 1);
	double j = (double)k - planned;
	return k <= planned ? 0.9 / planned : 0.1 / (j * (j + 1));
}

double looks_share_until(uint32_t k, uint32_t planned) {
	assert(planned >= 1);
	double j = (double)k - planned;
	return k <= planned ? 0.9 * k / planned : 0.9 + 0.1 * (1 - 1 / (j + 1));
}

double looks_wave_share(uint32_t wave, uint32_t waves) {
	assert(wave >= 1 && wave <= waves);
	if (waves == 1)
		return 1;
	return wave == 1 ? 0.5 : 0.5 / (waves - 1.0);
}

double looks_beta_share(uint32_t extension, uint32_t extensions_max) {
	assert(extension <= extensions_max);
	return ldexp(1, -(int)extension) / (2 - ldexp(1, -(int)extensions_max));
}
