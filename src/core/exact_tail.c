#include "core/exact_tail.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define CHUNK 8 /* states that one step of the convolution makes at once */
#define TRY_SPAN 6 /* of counts: their few sums leave gaps between the values of p that are worth finding */
#define NEGLIGIBLE 1e-40 /* probability that may be left out at either end of the distribution at each step */

__extension__ typedef unsigned __int128 uint128;
/* Two doubles that the compiler may keep in one register; each is computed alone, so results do not depend on it. */
typedef double pair __attribute__((vector_size(16), aligned(8), may_alias));

/* What a block adds to the sum above its minimum: `offset` in `weight` of its `size` members. */
struct term {
	uint32_t offset, weight;
	double share; /* weight / size */
};

struct tail {
	const int32_t *x;
	const uint32_t *sizes;
	size_t blocks;
	int64_t target;    /* S less all minima */
	int64_t reach;     /* sum of all spans */
	uint32_t span;     /* largest of a block */
	size_t active;     /* blocks that are not constant */
	uint128 outcomes;  /* product of their reduced sizes, 0 = beyond 2^127 */
	struct term *terms;
	void *memory;      /* the rest of the workspace */
	size_t memory_bytes;
};

static void block_range(const int32_t *x, uint32_t size, int32_t *min, int32_t *max) {
	*min = *max = x[0];
	for (uint32_t i = 1; i < size; i++) {
		*min = x[i] < *min ? x[i] : *min;
		*max = x[i] > *max ? x[i] : *max;
	}
}

static uint64_t common_divisor(uint64_t a, uint64_t b) {
	while (b != 0) {
		uint64_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

/* Terms of one block in rising order of offset, weights and size divided by what they have in common. Returns their
 * number. */
static size_t block_terms(const int32_t *x, uint32_t size, int32_t min, struct term *terms, uint32_t *reduced) {
	size_t count = 0;
	for (uint32_t i = 0; i < size; i++) {
		uint32_t offset = (uint32_t)(x[i] - min);
		size_t at = count;
		while (at > 0 && terms[at - 1].offset > offset)
			at--;
		if (at > 0 && terms[at - 1].offset == offset) {
			terms[at - 1].weight++;
			continue;
		}
		memmove(&terms[at + 1], &terms[at], (count - at) * sizeof *terms);
		terms[at] = (struct term){offset, 1, 0};
		count++;
	}
	uint64_t common = size;
	for (size_t i = 0; i < count; i++)
		common = common_divisor(common, terms[i].weight);
	for (size_t i = 0; i < count; i++)
		terms[i].weight /= (uint32_t)common;
	*reduced = size / (uint32_t)common;
	for (size_t i = 0; i < count; i++)
		terms[i].share = (double)terms[i].weight / *reduced;
	return count;
}

size_t exact_tail_workspace_bytes(size_t blocks, uint32_t span) {
	size_t doubles = blocks < EXACT_TAIL_BLOCKS_MAX ? blocks : EXACT_TAIL_BLOCKS_MAX;
	/* the denominator is below 2^127 and every active block at least doubles it */
	size_t wide = blocks < 127 ? blocks : 127;
	size_t doubles_bytes = 2 * (doubles * span + 1 + 2 * (size_t)span + 2 * CHUNK) * sizeof(double);
	size_t wide_bytes = 2 * (wide * span + 1 + 2 * (size_t)span) * sizeof(uint128);
	size_t table_bytes = ((size_t)span + 1) * sizeof(double);
	size_t most = doubles_bytes > wide_bytes ? doubles_bytes : wide_bytes;
	return ((size_t)span + 2) * sizeof(struct term) + (most > table_bytes ? most : table_bytes) + 64;
}

/* First pass: minima, spans, and whether a fraction fits. */
static void tail_prepare(struct tail *t, int64_t s, void *workspace, size_t workspace_bytes) {
	t->target = s;
	t->reach = 0;
	t->span = 0;
	t->active = 0;
	const int32_t *x = t->x;
	for (size_t b = 0; b < t->blocks; x += t->sizes[b++]) {
		int32_t min, max;
		assert(t->sizes[b] >= 1);
		block_range(x, t->sizes[b], &min, &max);
		assert(min >= -EXACT_TAIL_X_MAX && max <= EXACT_TAIL_X_MAX);
		uint32_t span = (uint32_t)(max - min);
		t->target -= min;
		t->reach += span;
		t->span = span > t->span ? span : t->span;
		t->active += span > 0;
	}
	assert(workspace_bytes >= exact_tail_workspace_bytes(t->active, t->span));
	uintptr_t at = ((uintptr_t)workspace + 15) & ~(uintptr_t)15, end = (uintptr_t)workspace + workspace_bytes;
	t->terms = (struct term *)at;
	at = (at + ((size_t)t->span + 2) * sizeof(struct term) + 15) & ~(uintptr_t)15;
	t->memory = (void *)at;
	t->memory_bytes = end - at;
	t->outcomes = 1;
	x = t->x;
	for (size_t b = 0; b < t->blocks && t->outcomes != 0; x += t->sizes[b++]) {
		int32_t min, max;
		uint32_t reduced;
		block_range(x, t->sizes[b], &min, &max);
		if (min == max)
			continue;
		block_terms(x, t->sizes[b], min, t->terms, &reduced);
		t->outcomes = t->outcomes > ((uint128)1 << 126) / reduced ? 0 : t->outcomes * reduced;
	}
}

/* One block's step: states [lo..hi] become [low_next..hi+span]. `from` must be zero for `span` states on either
 * side (and CHUNK more above). */
static void step_doubles(const double *from, double *to, int64_t low_next, int64_t high_next, const struct term *terms,
	size_t count) {
	for (int64_t u = low_next; u <= high_next; u += CHUNK) {
		pair sum[CHUNK / 2] = {{0}};
		for (size_t j = 0; j < count; j++) {
			const pair *f = (const pair *)(from + u - terms[j].offset);
			pair w = {terms[j].share, terms[j].share};
			sum[0] += w * f[0];
			sum[1] += w * f[1];
			sum[2] += w * f[2];
			sum[3] += w * f[3];
		}
		memcpy(to + u, sum, sizeof sum);
	}
}

static void step_wide(const uint128 *from, uint128 *to, int64_t low_next, int64_t high_next, const struct term *terms,
	size_t count) {
	for (int64_t u = low_next; u <= high_next; u++) {
		uint128 sum = 0;
		for (size_t j = 0; j < count; j++)
			sum += from[u - terms[j].offset] * terms[j].weight;
		to[u] = sum;
	}
}

/* Leaves out states at both ends that together have next to no probability; returns how much it was. */
static double trim(const double *states, int64_t *lo, int64_t *hi) {
	double dropped = 0;
	for (double end = states[*lo]; *lo < *hi && end < NEGLIGIBLE; end += states[*lo]) {
		dropped += states[*lo];
		++*lo;
	}
	for (double end = states[*hi]; *hi > *lo && end < NEGLIGIBLE; end += states[*hi]) {
		dropped += states[*hi];
		--*hi;
	}
	return dropped;
}

/* A state from which the target is certain leaves the array and is added up; one from which it is out of reach is
 * dropped. What is trimmed counts as certain, so that p is never too small. */
static double tail_doubles(struct tail *t, double *error) {
	size_t pad = (size_t)t->span, width = (size_t)t->reach + 1 + 2 * pad + 2 * CHUNK;
	double *from = (double *)t->memory + pad, *to = from + width, certain = 0, trimmed = 0;
	assert(2 * width * sizeof(double) <= t->memory_bytes);
	int64_t lo = 0, hi = 0, rest = t->reach;
	from[0] = 1;
	double roundings = (double)t->reach;
	const int32_t *x = t->x;
	for (size_t b = 0; b < t->blocks; x += t->sizes[b++]) {
		int32_t min, max;
		uint32_t size;
		block_range(x, t->sizes[b], &min, &max);
		if (min == max)
			continue;
		size_t count = block_terms(x, t->sizes[b], min, t->terms, &size);
		uint32_t span = (uint32_t)(max - min);
		rest -= span;
		memset(from + lo - pad, 0, pad * sizeof *from);
		memset(from + hi + 1, 0, (pad + CHUNK) * sizeof *from);
		int64_t low_next = t->target - rest > lo ? t->target - rest : lo, high_next = hi + span;
		step_doubles(from, to, low_next, high_next, t->terms, count);
		for (; high_next >= t->target; high_next--)
			certain += to[high_next];
		lo = low_next;
		hi = high_next;
		if (lo > hi)
			break; /* all is decided */
		trimmed += trim(to, &lo, &hi);
		double *swap = from;
		from = to;
		to = swap;
		roundings += (double)count + 2;
	}
	certain += trimmed;
	*error = 1.01 * ldexp(roundings + 2, -53) + (certain > 0 ? trimmed / certain : 0);
	return certain;
}

static uint128 tail_wide(struct tail *t) {
	size_t pad = (size_t)t->span, width = (size_t)t->reach + 1 + 2 * pad;
	uint128 *from = (uint128 *)t->memory + pad, *to = from + width, certain = 0, outcomes = t->outcomes;
	assert(2 * width * sizeof(uint128) <= t->memory_bytes);
	int64_t lo = 0, hi = 0, rest = t->reach;
	from[0] = 1;
	const int32_t *x = t->x;
	for (size_t b = 0; b < t->blocks; x += t->sizes[b++]) {
		int32_t min, max;
		uint32_t size;
		block_range(x, t->sizes[b], &min, &max);
		if (min == max)
			continue;
		size_t count = block_terms(x, t->sizes[b], min, t->terms, &size);
		uint32_t span = (uint32_t)(max - min);
		rest -= span;
		outcomes /= size; /* what the blocks after this one can still do */
		memset(from + lo - pad, 0, pad * sizeof *from);
		memset(from + hi + 1, 0, pad * sizeof *from);
		int64_t low_next = t->target - rest > lo ? t->target - rest : lo, high_next = hi + span;
		step_wide(from, to, low_next, high_next, t->terms, count);
		for (; high_next >= t->target; high_next--)
			certain += to[high_next] * outcomes;
		lo = low_next;
		hi = high_next;
		if (lo > hi)
			break;
		uint128 *swap = from;
		from = to;
		to = swap;
	}
	return certain;
}

static char *put_decimal(char *at, uint128 v) {
	char digits[40];
	size_t len = 0;
	do {
		digits[len++] = (char)('0' + (int)(v % 10));
		v /= 10;
	} while (v != 0);
	while (len > 0)
		*at++ = digits[--len];
	return at;
}

static void put_fraction(char *out, uint128 above, uint128 below) {
	uint128 a = below, b = above;
	while (b != 0) {
		uint128 rest = a % b;
		a = b;
		b = rest;
	}
	char *at = put_decimal(out, above / a);
	*at++ = '/';
	*put_decimal(at, below / a) = '\0';
}

struct slope {
	double log_bound; /* ln of the bound at k */
	double first, second; /* its derivatives */
};

/* `powers[d]` = e^{-k d}, for a member d below its block's largest. */
static struct slope chernoff_at(const struct tail *t, int64_t max_sum, int64_t s, double k, double *powers) {
	for (uint32_t d = 0; d <= t->span; d++)
		powers[d] = exp(-k * d);
	struct slope g = {k * (double)(max_sum - s), (double)(max_sum - s), 0};
	const int32_t *x = t->x;
	for (size_t b = 0; b < t->blocks; x += t->sizes[b++]) {
		int32_t min, max;
		block_range(x, t->sizes[b], &min, &max);
		if (min == max)
			continue;
		double sum = 0, mean = 0, square = 0;
		for (uint32_t i = 0; i < t->sizes[b]; i++) {
			double below = max - x[i], weight = powers[max - x[i]];
			sum += weight;
			mean += weight * below;
			square += weight * below * below;
		}
		mean /= sum;
		g.log_bound += log(sum / t->sizes[b]);
		g.first -= mean;
		g.second += square / sum - mean * mean;
	}
	return g;
}

static double chernoff(const struct tail *t, int64_t s) {
	int64_t max_sum = 0;
	const int32_t *x = t->x;
	for (size_t b = 0; b < t->blocks; x += t->sizes[b++]) {
		int32_t min, max;
		block_range(x, t->sizes[b], &min, &max);
		max_sum += max;
	}
	double *powers = t->memory, lo = 0, hi = EXACT_TAIL_K_MAX;
	if (s > max_sum)
		return 0;
	if (chernoff_at(t, max_sum, s, 0, powers).first >= 0)
		return 1;
	struct slope g = chernoff_at(t, max_sum, s, hi, powers);
	if (g.first <= 0)
		return exp(fmin(g.log_bound, 0));
	/* the logarithm is convex: Newton steps, kept inside the bracket; any k gives a valid bound, the best only the
	 * smallest */
	double k = hi / 2;
	for (int i = 0; i < 60 && hi - lo > 1e-12; i++) {
		g = chernoff_at(t, max_sum, s, k, powers);
		if (g.first > 0)
			hi = k;
		else
			lo = k;
		double next = g.second > 0 ? k - g.first / g.second : lo;
		if (fabs(next - k) <= 1e-10 * k)
			break;
		k = next > lo && next < hi ? next : (lo + hi) / 2;
	}
	return exp(fmin(g.log_bound, 0));
}

double exact_tail_chernoff(const int32_t *x, const uint32_t *sizes, size_t blocks, int64_t s, void *workspace,
	size_t workspace_bytes) {
	struct tail t = {.x = x, .sizes = sizes, .blocks = blocks};
	tail_prepare(&t, s, workspace, workspace_bytes);
	return chernoff(&t, s);
}

double exact_tail_attainable(const int32_t *x, const uint32_t *sizes, size_t blocks, double budget, void *workspace,
	size_t workspace_bytes) {
	int64_t low = 0, high = 0;
	uint32_t span = 0;
	const int32_t *at = x;
	for (size_t b = 0; b < blocks; at += sizes[b++]) {
		int32_t min, max;
		block_range(at, sizes[b], &min, &max);
		low += min;
		high += max;
		span = (uint32_t)(max - min) > span ? (uint32_t)(max - min) : span;
	}
	struct exact_tail t;
	exact_tail(x, sizes, blocks, high, &t, workspace, workspace_bytes);
	double within = t.p * (1 + t.error);
	if (within > budget)
		return 0;
	if (span > TRY_SPAN || !t.is_exact)
		return budget;
	while (high - low > 1) { /* p is 1 at low and within the budget at high */
		int64_t middle = low + (high - low) / 2;
		exact_tail(x, sizes, blocks, middle, &t, workspace, workspace_bytes);
		if (t.p * (1 + t.error) > budget) {
			low = middle;
		} else {
			high = middle;
			within = t.p * (1 + t.error);
		}
	}
	return within;
}

void exact_tail(const int32_t *x, const uint32_t *sizes, size_t blocks, int64_t s, struct exact_tail *out,
	void *workspace, size_t workspace_bytes) {
	struct tail t = {.x = x, .sizes = sizes, .blocks = blocks};
	tail_prepare(&t, s, workspace, workspace_bytes);
	*out = (struct exact_tail){.p = 1, .is_exact = true};
	if (t.target <= 0 || t.target > t.reach) {
		out->p = t.target <= 0 ? 1 : 0;
		strcpy(out->fraction, t.target <= 0 ? "1/1" : "0/1");
	} else if (t.active > EXACT_TAIL_BLOCKS_MAX) {
		out->p = chernoff(&t, s);
		out->is_exact = false;
		out->error = 1e-9;
	} else if (t.outcomes != 0) {
		uint128 above = tail_wide(&t);
		out->p = (double)above / (double)t.outcomes;
		out->error = ldexp(3, -53);
		put_fraction(out->fraction, above, t.outcomes);
	} else {
		out->p = tail_doubles(&t, &out->error);
	}
}
