/* What selecting costs: a million devices, six variants. CPU time of the thread, medians of five. The bar is 2 s.
 *
 * Classes: 2,000 capability classes of 40 hardware classes, eight contexts, one in three devices with a variant installed.
 * Shared: figures of the hardware class, answers from the memo. Own: every device has figures of its own for what it runs, so
 * nothing is shared but the verdict of its capability class. One match: requirements against capabilities, without a class.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/select.h"

#define DEVICES 1000000u
#define CLASSES 2000u
#define HARDWARE 40u
#define VARIANTS 6u
#define OPS 40
#define SLOTS (1u << 20)
#define ROUNDS 5
#define BAR_MS 2000.0

struct device {
	uint32_t class;
	uint8_t context, installed;
	bool is_dwelling;
};

struct world {
	struct device *devices;
	struct capabilities *classes;
	struct requirement *variants;
	struct profile_figures (*figures)[VARIANTS]; /* by hardware */
	enum compat (*verdicts)[VARIANTS];           /* by class */
	struct select_slot *slots;
	struct select_objective objective;
	uint32_t memo_used;
	uint64_t sum; /* so that nothing is optimised away */
};

static uint64_t seed = 42;

static uint32_t draw(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % n;
}

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void must(enum err e)
{
	if (e == ERR_OK) return;
	fprintf(stderr, "bench_select: a document was refused\n");
	exit(1);
}

static void make_documents(struct world *w)
{
	char text[4096];
	for (unsigned v = 0; v < VARIANTS; v++) {
		int n = sprintf(text, "{\"format\":\"tflite\",\"runtime\":\"tflm>=2023.1\",\"firmware\":\"audio>=2.%u\",\"arena_bytes\":%u,"
			"\"flash_slot_bytes\":%u,\"ops\":[", v % 3, 20000 + 9000 * v, 50000 + 30000 * v);
		for (unsigned i = 0; i < 13; i++) n += sprintf(text + n, "%s\"OPERATOR_%u@%u\"", i ? "," : "", i * 3, 1 + (v + i) % 3);
		sprintf(text + n, "]}");
		must(requirement_parse(&w->variants[v], text, strlen(text), NULL));
	}
	for (unsigned c = 0; c < CLASSES; c++) {
		int n = sprintf(text, "{\"runtime\":\"tflm\",\"runtime_version\":\"2023.%u\",\"firmware\":{\"audio\":\"2.%u\"},"
			"\"slot_bytes\":%u,\"arena_bytes\":%u,\"ops\":[", 1 + draw(4), draw(5), 60000 + draw(300000), 16384 + draw(80000));
		for (unsigned i = 0; i < OPS; i++) n += sprintf(text + n, "%s\"OPERATOR_%u@%u\"", i ? "," : "", i, 3 + draw(3));
		sprintf(text + n, "]}");
		must(capabilities_parse(&w->classes[c], text, strlen(text), NULL));
	}
}

static void make_figures(struct world *w)
{
	static const enum profile_figure_kind kinds[] = {PROFILE_QUALITY, PROFILE_LATENCY_P50, PROFILE_LATENCY_P95, PROFILE_ENERGY};
	for (unsigned h = 0; h < HARDWARE; h++) {
		for (unsigned v = 0; v < VARIANTS; v++) {
			profile_figures_init(&w->figures[h][v]);
			for (unsigned k = 0; k < 4; k++)
				w->figures[h][v].of[kinds[k]] = (struct profile_figure){
					k == 0 ? 0.8 + draw(20) / 100.0 : 1 + draw(1000), PROFILE_CLASS, PROFILE_CELL_ANY, 100, 1000, 0};
		}
	}
}

static void make_world(struct world *w)
{
	w->devices = calloc(DEVICES, sizeof *w->devices);
	w->classes = calloc(CLASSES, sizeof *w->classes);
	w->variants = calloc(VARIANTS, sizeof *w->variants);
	w->figures = calloc(HARDWARE, sizeof *w->figures);
	w->verdicts = calloc(CLASSES, sizeof *w->verdicts);
	w->slots = calloc(SLOTS, sizeof *w->slots);
	if (!w->devices || !w->classes || !w->variants || !w->figures || !w->verdicts || !w->slots) abort();
	select_objective_init(&w->objective);
	w->objective.quality_min = 0.85;
	make_documents(w);
	make_figures(w);
	for (unsigned i = 0; i < DEVICES; i++)
		w->devices[i] = (struct device){draw(CLASSES), (uint8_t)draw(8), draw(3) ? SELECT_NONE : (uint8_t)draw(VARIANTS), draw(2)};
}

static void match_classes(struct world *w)
{
	for (unsigned c = 0; c < CLASSES; c++)
		for (unsigned v = 0; v < VARIANTS; v++) w->verdicts[c][v] = compat_match(&w->variants[v], &w->classes[c], NULL, NULL);
}

static void choose_one(struct world *w, const struct device *d, const struct profile_figures *figures, struct select_answer *a)
{
	static const char *const ids[VARIANTS] = {"a", "b", "c", "d", "e", "f"};
	struct select_candidate candidates[VARIANTS];
	struct select_question q = {&w->objective, candidates, VARIANTS, d->context, d->installed,
		d->is_dwelling ? 0 : INT64_MAX, SELECT_NONE};
	for (unsigned v = 0; v < VARIANTS; v++)
		candidates[v] = (struct select_candidate){ids[v], 50000 + 30000 * v, w->verdicts[d->class][v], &figures[v]};
	select_choose(&q, a);
}

static void run_shared(struct world *w)
{
	struct select_memo memo;
	struct select_answer a;
	match_classes(w);
	select_memo_init(&memo, w->slots, SLOTS);
	for (unsigned i = 0; i < DEVICES; i++) {
		const struct device *d = &w->devices[i];
		struct select_key key = {d->class, d->class % HARDWARE, d->context, d->installed, SELECT_NONE, d->is_dwelling};
		bool is_new;
		struct select_slot *slot = select_memo_find(&memo, &key, &is_new);
		if (slot == NULL || is_new) choose_one(w, d, w->figures[d->class % HARDWARE], &a);
		if (is_new) select_memo_fill(slot, &a);
		w->sum += slot != NULL ? slot->chosen : a.chosen;
	}
	w->memo_used = memo.used;
}

/* The installed variant's figures are the device's own. */
static void run_own(struct world *w)
{
	struct select_answer a;
	match_classes(w);
	for (unsigned i = 0; i < DEVICES; i++) {
		const struct device *d = &w->devices[i];
		struct profile_figures picked[VARIANTS], own;
		unsigned mine = d->installed == SELECT_NONE ? i % VARIANTS : d->installed;
		const struct profile_figures *class = w->figures[d->class % HARDWARE];
		own = class[mine];
		own.of[PROFILE_LATENCY_P95].value *= 1 + (i % 17) / 100.0;
		for (unsigned v = 0; v < VARIANTS; v++)
			profile_pick(&(struct profile_known){.device = v == mine ? &own : NULL, .any = &class[v]}, &picked[v]);
		choose_one(w, d, picked, &a);
		w->sum += a.chosen;
	}
}

static void run_match(struct world *w)
{
	for (unsigned i = 0; i < DEVICES; i++)
		w->sum += compat_match(&w->variants[i % VARIANTS], &w->classes[w->devices[i].class], NULL, NULL);
}

static double median(struct world *w, void (*run)(struct world *w))
{
	double times[ROUNDS];
	for (int r = 0; r < ROUNDS; r++) {
		double start = now_ms(), took;
		int at = r;
		run(w);
		took = now_ms() - start;
		for (; at > 0 && times[at - 1] > took; at--) times[at] = times[at - 1];
		times[at] = took;
	}
	return times[ROUNDS / 2];
}

int main(void)
{
	static struct world w;
	make_world(&w);
	double shared = median(&w, run_shared), own = median(&w, run_own), match = median(&w, run_match);
	printf("select: %u devices, %u variants, %u capability classes\n", DEVICES, VARIANTS, CLASSES);
	printf("  figures by class, memo of %u answers  %7.0f ms  (%.0f ns a device)\n", w.memo_used, shared, shared * 1e6 / DEVICES);
	printf("  every device with figures of its own     %7.0f ms  (%.0f ns a device)\n", own, own * 1e6 / DEVICES);
	printf("  one match, 13 of %d operators, cold     %7.0f ns\n", OPS, match * 1e6 / DEVICES);
	bool is_fine = shared < BAR_MS && own < BAR_MS;
	printf("  bar %.0f ms: %s (checksum %llu)\n", BAR_MS, is_fine ? "passed" : "failed", (unsigned long long)w.sum);
	free(w.devices), free(w.classes), free(w.variants), free(w.figures), free(w.verdicts), free(w.slots);
	return is_fine ? 0 : 1;
}
