#include "core/randtest.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "core/order.h"

#define BUCKETS 64
#define MAD_TO_SD 1.4826

/* Views into the workspace. */
struct work {
	double *d;       /* distance of a member to its block's centre; NAN without data */
	double *scratch; /* as many */
	int32_t *x;      /* two a member when paired */
	uint32_t *sizes; /* members of each block */
	uint8_t *bucket; /* of each block */
	void *tail;
	size_t tail_bytes;
	size_t blocks;
};

static size_t aligned(size_t bytes) {
	return (bytes + 15) & ~(size_t)15;
}

size_t randtest_workspace_bytes(size_t member_count) {
	return 2 * aligned(member_count * sizeof(double)) + aligned(2 * member_count * sizeof(int32_t)) +
		aligned(member_count * sizeof(uint32_t)) + aligned(member_count) +
		exact_tail_workspace_bytes(member_count, 2 * RANDTEST_X_MAX) + 16;
}

static void *take(uintptr_t *at, size_t bytes) {
	void *taken = (void *)*at;
	*at += aligned(bytes);
	return taken;
}

static void work_init(struct work *w, size_t member_count, void *workspace, size_t workspace_bytes) {
	assert(workspace_bytes >= randtest_workspace_bytes(member_count));
	uintptr_t at = ((uintptr_t)workspace + 15) & ~(uintptr_t)15;
	w->d = take(&at, member_count * sizeof(double));
	w->scratch = take(&at, member_count * sizeof(double));
	w->x = take(&at, 2 * member_count * sizeof(int32_t));
	w->sizes = take(&at, member_count * sizeof(uint32_t));
	w->bucket = take(&at, member_count);
	w->tail = (void *)at;
	w->tail_bytes = (uintptr_t)workspace + workspace_bytes - at;
}

static uint8_t log2_floor(int64_t v) {
	return v < 1 ? 0 : (uint8_t)(63 - __builtin_clzll((unsigned long long)v));
}

/* Centres each block on its median (paired: on zero, which a sign flip does not move) and finds its bucket. */
static void centre(const struct randtest_member *m, size_t n, const struct randtest_options *o, struct work *w) {
	w->blocks = 0;
	for (size_t from = 0, to; from < n; from = to) {
		size_t known = 0;
		int64_t reports = 0;
		for (to = from; to < n && m[to].block == m[from].block && !(o->paired && to > from); to++) {
			reports += m[to].reports;
			w->d[to] = NAN;
			if (!m[to].has_data)
				continue;
			double y = m[to].score - (m[to].is_canary || o->paired ? o->shift : 0);
			w->d[to] = o->negate ? -y : y;
			w->scratch[known++] = w->d[to];
		}
		double middle = o->paired || o->counts || known == 0 ? 0 : order_median(w->scratch, known);
		for (size_t i = from; i < to; i++)
			w->d[i] -= middle;
		w->sizes[w->blocks] = (uint32_t)(to - from);
		w->bucket[w->blocks++] = log2_floor(reports / (int64_t)(to - from));
	}
}

/* Robust spread of the members of one bucket (or of all, bucket < 0); *df is their within-block degrees of freedom. */
static double spread(const struct work *w, int bucket, bool paired, size_t *df) {
	size_t known = 0, blocks = 0, at = 0;
	double square = 0;
	for (size_t b = 0; b < w->blocks; at += w->sizes[b++]) {
		size_t before = known;
		for (size_t i = at; i < at + w->sizes[b]; i++)
			if ((bucket < 0 || w->bucket[b] == bucket) && !isnan(w->d[i]))
				w->scratch[known++] = fabs(w->d[i]);
		blocks += known > before && !paired;
	}
	*df = known - blocks;
	for (size_t i = 0; i < known; i++)
		square += w->scratch[i] * w->scratch[i];
	double robust = known > 0 ? MAD_TO_SD * order_median(w->scratch, known) : 0;
	return robust > 0 || *df == 0 ? robust : sqrt(square / (double)*df);
}

struct scales {
	double all, smallest;
	double of[BUCKETS];
};

static void find_scales(const struct work *w, const struct randtest_options *o, struct scales *s) {
	size_t df;
	bool used[BUCKETS] = {false};
	s->all = o->fixed_scale > 0 ? o->fixed_scale : spread(w, -1, o->paired, &df);
	s->smallest = INFINITY;
	for (size_t b = 0; b < w->blocks; b++)
		used[w->bucket[b]] = true;
	for (int i = 0; i < BUCKETS; i++) {
		if (!used[i])
			continue;
		s->of[i] = s->all;
		if (!(o->fixed_scale > 0)) {
			double own = spread(w, i, o->paired, &df);
			if (df >= RANDTEST_BUCKET_DF)
				s->of[i] = own;
		}
		if (s->of[i] > 0 && s->of[i] < s->smallest)
			s->smallest = s->of[i];
	}
}

static int32_t standardise(double d, double scale, double smallest) {
	if (isnan(d) || !(scale > 0))
		return 0;
	double z = fmax(-RANDTEST_CLAMP, fmin(RANDTEST_CLAMP, d / scale));
	return (int32_t)lrint(z * (smallest / scale) * RANDTEST_X_UNIT);
}

static void to_integers(const struct work *w, const struct randtest_options *o, struct randtest_result *out) {
	if (o->counts) {
		size_t at = 0;
		for (size_t b = 0; b < w->blocks; at += w->sizes[b++])
			for (size_t i = at; i < at + w->sizes[b]; i++)
				w->x[i] = isnan(w->d[i]) ? 0 : (int32_t)lrint(w->d[i]);
		return;
	}
	struct scales s;
	find_scales(w, o, &s);
	out->scale = s.all;
	size_t at = 0;
	for (size_t b = 0; b < w->blocks; at += w->sizes[b++])
		for (size_t i = at; i < at + w->sizes[b]; i++)
			w->x[i] = standardise(w->d[i], s.of[w->bucket[b]], s.smallest);
}

/* A block of one and its mirror image: the two signs it could have had. */
static void mirror(struct work *w) {
	for (size_t b = w->blocks; b-- > 0;) {
		int32_t x = w->x[b];
		w->x[2 * b] = x;
		w->x[2 * b + 1] = -x;
		w->sizes[b] = 2;
	}
}

static void count_informative(const struct randtest_member *m, const struct work *w, bool paired,
	struct randtest_result *out) {
	size_t at = 0;
	for (size_t b = 0; b < w->blocks; at += w->sizes[b++]) {
		bool canary = false, control = false;
		for (size_t i = at; i < at + w->sizes[b]; i++) {
			canary |= m[i].has_data && (m[i].is_canary || paired);
			control |= m[i].has_data && (!m[i].is_canary || paired);
		}
		out->informative += canary && control;
	}
}

void randtest_run(const struct randtest_member *members, size_t member_count, const struct randtest_options *o,
	struct randtest_result *out, int32_t *x, void *workspace, size_t workspace_bytes) {
	struct work w;
	*out = (struct randtest_result){0};
	work_init(&w, member_count, workspace, workspace_bytes);
	centre(members, member_count, o, &w);
	count_informative(members, &w, o->paired, out);
	to_integers(&w, o, out);
	for (size_t i = 0; i < member_count; i++)
		if (members[i].is_canary || o->paired)
			out->score += w.x[i];
	if (x != NULL)
		memcpy(x, w.x, member_count * sizeof *x);
	if (o->paired)
		mirror(&w);
	out->blocks = (uint32_t)w.blocks;
	exact_tail(w.x, w.sizes, w.blocks, out->score, &out->tail, w.tail, w.tail_bytes);
	if (o->budget > 0)
		out->attainable = exact_tail_attainable(w.x, w.sizes, w.blocks, o->budget, w.tail, w.tail_bytes);
}
