/* What one sample costs: hot (states in the cache), and in messages of eight series of one device, devices in random
 * order, four million series. Every device's hour changes with each twelfth message, as at a cadence of five minutes.
 * Beside each figure stands that of the same walk that learns nothing, in the same rounds: the same random numbers, and of
 * each line that the real one asks for one word is changed. CPU time of the thread; medians. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "core/novelty.h"

#define SERIES 8u
#define DEVICES 500000u
#define MESSAGES 1000000u
#define HOT_DEVICES 64u
#define ROUNDS 5
#define WARM 2000u /* samples of past */
#define HUGE_PAGE ((size_t)2 << 20)

static volatile float sink;

static uint32_t random_next(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*state >> 33);
}

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

struct form {
	const char *name;
	size_t bytes;       /* of a series */
	unsigned lines;     /* of 64 bytes that a sample touches */
	double hot_bar, cold_bar; /* ns a sample */
};
static const struct form forms[] = {
	{"full", sizeof(struct novelty_full), 2, 50, 120},
	{"compact", sizeof(struct novelty_compact), 1, 50, 120},
};

struct fleet {
	const struct form *form;
	char *states;
	uint32_t devices;
	bool is_walk; /* learn nothing */
	float sum;    /* so that nothing is optimised away */
};

static void message(struct fleet *f, uint32_t device, uint64_t *random, unsigned hour)
{
	const struct novelty_pace pace = {.n_max = 8064, .elapsed = 300, .hold = 14400};
	char *at = f->states + (size_t)device * SERIES * f->form->bytes;
	for (unsigned i = 0; i < SERIES; i++, at += f->form->bytes) {
		float x = (float)(random_next(random) >> 8) * 0x1p-23f;
		if (f->is_walk) {
			for (unsigned line = 0; line < f->form->lines; line++)
				*(volatile float *)(void *)(at + (size_t)line * 64) += x;
		} else if (f->form->lines == 2)
			f->sum += novelty_update_full((struct novelty_full *)(void *)at, x, hour, pace).score;
		else
			f->sum += novelty_update_compact((struct novelty_compact *)(void *)at, x, pace).score;
	}
}

static void prefetch(const struct fleet *f, uint32_t device)
{
	const char *at = f->states + (size_t)device * SERIES * f->form->bytes;
	if (f->form->lines == 2)
		novelty_prefetch_full((const struct novelty_full *)(const void *)at, SERIES);
	else
		novelty_prefetch_compact((const struct novelty_compact *)(const void *)at, SERIES);
}

/* ns a sample. The next message's device is known before this one is done, as in a batch. */
static double run(struct fleet *f, uint32_t messages, uint32_t *round)
{
	uint64_t random = *round + 1, order = random ^ 0x9e3779b97f4a7c15u;
	uint32_t device = random_next(&order) % f->devices;
	double start = now_ns();
	for (uint32_t m = 0; m < messages; m++) {
		uint32_t next = random_next(&order) % f->devices;
		prefetch(f, next);
		message(f, device, &random, (device + *round + m / f->devices) / 12 % NOVELTY_HOURS);
		device = next;
	}
	*round += messages / f->devices;
	return (now_ns() - start) / ((double)messages * SERIES);
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

struct figure {
	double ns, walk_ns;
};

/* Zeroed states, some of which get a past that is copied to the others: a million devices do not start in one round. */
static void fleet_init(struct fleet *f, const struct form *form, uint32_t devices, bool is_walk)
{
	size_t device_bytes = form->bytes * SERIES, bytes = device_bytes * devices;
	uint32_t round = 0;
	*f = (struct fleet){.form = form, .devices = HOT_DEVICES, .is_walk = is_walk};
	f->states = aligned_alloc(HUGE_PAGE, (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
	if (f->states == NULL)
		abort();
	madvise(f->states, bytes, MADV_HUGEPAGE);
	memset(f->states, 0, bytes);
	run(f, HOT_DEVICES * WARM, &round);
	for (uint32_t d = HOT_DEVICES; d < devices; d++)
		memcpy(f->states + d * device_bytes, f->states + d % HOT_DEVICES * device_bytes, device_bytes);
	f->devices = devices;
}

/* Medians over rounds in which the two walks take turns, each over states of its own. */
static struct figure measure(const struct form *form, uint32_t devices)
{
	double ns[2][ROUNDS];
	struct fleet f[2];
	uint32_t round[2] = {WARM, WARM};
	for (int w = 0; w < 2; w++)
		fleet_init(&f[w], form, devices, w == 1);
	for (int i = 0; i < ROUNDS; i++) {
		for (int w = 0; w < 2; w++)
			ns[w][i] = run(&f[w], MESSAGES, &round[w]);
	}
	for (int w = 0; w < 2; w++) {
		free(f[w].states);
		sink += f[w].sum;
		qsort(ns[w], ROUNDS, sizeof *ns[w], by_size);
	}
	return (struct figure){ns[0][ROUNDS / 2], ns[1][ROUNDS / 2]};
}

int main(void)
{
	bool is_within = true;
	printf("%-10s%16s%14s%12s%20s%12s\n", "form", "bytes a series", "hot, ns", "its walk", "4 M series, ns", "its walk");
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		struct figure hot = measure(&forms[i], HOT_DEVICES), cold = measure(&forms[i], DEVICES);
		printf("%-10s%16zu%14.1f%12.1f%20.1f%12.1f\n", forms[i].name, forms[i].bytes, hot.ns, hot.walk_ns, cold.ns, cold.walk_ns);
		is_within &= hot.ns <= forms[i].hot_bar && cold.ns <= forms[i].cold_bar;
	}
	printf("bars: 50 hot, 120 over 4 M series: %s\n", is_within ? "kept" : "NOT KEPT");
	return is_within && isfinite(sink) ? 0 : 1;
}
