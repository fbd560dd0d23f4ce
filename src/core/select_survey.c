#include <math.h>
#include <string.h>

#include "core/select.h"

/* ---- the memo ---- */

static uint32_t hash_key(const struct select_key *k)
{
	uint64_t h = (uint64_t)k->capability_class << 32 | k->figures;
	h ^= ((uint64_t)k->context << 24 | (uint64_t)k->installed << 16 | (uint64_t)k->wanted << 8 | k->is_dwelling)
		* UINT64_C(0x9e3779b97f4a7c15);
	h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return (uint32_t)(h ^ h >> 32);
}

static bool is_same(const struct select_key *a, const struct select_key *b)
{
	return a->capability_class == b->capability_class && a->figures == b->figures && a->context == b->context &&
		a->installed == b->installed && a->wanted == b->wanted && a->is_dwelling == b->is_dwelling;
}

void select_memo_init(struct select_memo *m, struct select_slot *slots, uint32_t slot_count)
{
	*m = (struct select_memo){slots, slot_count, 0};
	memset(slots, 0, slot_count * sizeof *slots);
}

struct select_slot *select_memo_find(struct select_memo *m, const struct select_key *key, bool *is_new)
{
	uint32_t at = hash_key(key) & (m->slot_count - 1);
	*is_new = false;
	for (; m->slots[at].devices > 0; at = (at + 1) & (m->slot_count - 1)) {
		if (!is_same(&m->slots[at].key, key)) continue;
		m->slots[at].devices++;
		return &m->slots[at];
	}
	if (m->used >= m->slot_count - m->slot_count / 4) return NULL;
	m->used++;
	*is_new = true;
	m->slots[at] = (struct select_slot){.key = *key, .chosen = SELECT_NONE, .best = SELECT_NONE, .devices = 1};
	return &m->slots[at];
}

void select_memo_fill(struct select_slot *slot, const struct select_answer *a)
{
	slot->chosen = a->chosen;
	slot->best = a->best;
	slot->why = a->why;
	slot->is_poor = a->is_poor;
	slot->eligible = a->eligible;
	slot->dominated = a->dominated;
}

/* ---- the survey ---- */

void select_survey_init(struct select_survey *s, unsigned variant_count)
{
	memset(s, 0, sizeof *s);
	s->variant_count = variant_count < SELECT_VARIANTS ? variant_count : SELECT_VARIANTS;
}

static struct select_survey_class *find_class(struct select_survey *s, uint32_t id)
{
	for (unsigned i = 0; i < s->class_count; i++)
		if (s->classes[i].id == id) return &s->classes[i];
	if (s->class_count == SELECT_CLASSES) {
		s->more = true;
		return NULL;
	}
	s->classes[s->class_count].id = id;
	return &s->classes[s->class_count++];
}

static void add_variant(struct select_survey_variant *v, const struct select_answer *a, unsigned i, int64_t devices)
{
	if (a->chosen == i) v->chosen_devices += devices;
	if (!(a->eligible >> i & 1)) return;
	v->eligible_devices += devices;
	v->groups++;
	if (!(a->dominated >> i & 1)) return;
	v->dominated_devices += devices;
	v->dominated_groups++;
	/* the answer of one that is kept names nobody */
	if (a->variants[i].other != SELECT_NONE) v->dominated_by |= (uint16_t)(1u << a->variants[i].other);
}

void select_survey_add(struct select_survey *s, uint32_t class_id, const struct select_answer *a, int64_t devices)
{
	struct select_survey_class *class = find_class(s, class_id);
	for (unsigned i = 0; i < s->variant_count; i++) {
		add_variant(&s->variants[i], a, i, devices);
		if (class != NULL) class->fates[i][a->variants[i].fate] += devices;
	}
	if (class == NULL) return;
	class->devices += devices;
	if (a->chosen == SELECT_NONE) return;
	class->served_devices += devices;
	if (a->is_poor) class->poor_devices += devices;
}

bool select_survey_retires(const struct select_survey *s, unsigned variant)
{
	const struct select_survey_variant *v = &s->variants[variant];
	return v->groups > 0 && v->dominated_groups == v->groups && v->chosen_devices == 0;
}

/* Why a variant does not serve most of a class; *kinds: for how many different reasons. */
static unsigned main_fate(const struct select_survey_class *c, unsigned variant, unsigned *kinds)
{
	unsigned worst = SELECT_FATE_CHOSEN;
	*kinds = 0;
	for (unsigned f = SELECT_FATE_INCOMPATIBLE; f < SELECT_FATES; f++) {
		if (c->fates[variant][f] == 0) continue;
		++*kinds;
		if (worst == SELECT_FATE_CHOSEN || c->fates[variant][f] > c->fates[variant][worst]) worst = f;
	}
	return worst;
}

/* Fewest devices that it fails, then fewest kinds of reasons, then the first. */
struct select_gap select_survey_gap(const struct select_survey *s, unsigned class_index)
{
	const struct select_survey_class *c = &s->classes[class_index];
	struct select_gap gap = {.unserved_devices = c->devices - c->served_devices, .poor_devices = c->poor_devices,
		.nearest = SELECT_NONE};
	int64_t best_failed = INT64_MAX;
	unsigned best_kinds = 0;
	gap.is_gap = gap.unserved_devices > 0 || gap.poor_devices > 0;
	for (unsigned i = 0; i < s->variant_count; i++) {
		unsigned kinds, fate = main_fate(c, i, &kinds);
		int64_t failed = 0;
		for (unsigned f = SELECT_FATE_INCOMPATIBLE; f < SELECT_FATES; f++) failed += c->fates[i][f];
		if (failed > best_failed || (failed == best_failed && kinds >= best_kinds)) continue;
		best_failed = failed, best_kinds = kinds;
		gap.nearest = (uint8_t)i;
		gap.fate = (uint8_t)fate;
	}
	return gap;
}

/* ---- transfers ---- */

const char *select_when_name(enum select_when w)
{
	static const char *const names[] = {"now", "wait_window", "wait_budget", "wait_link", "wait_battery", "too_long"};
	return w <= SELECT_TOO_LONG ? names[w] : "";
}

enum select_when select_transfer_when(const struct select_transfer *t, int64_t now_ms, int64_t *until_ms)
{
	bool is_small = t->size_bytes <= t->small_bytes;
	bool has_window = t->window_from_ms != 0 || t->window_until_ms != 0;
	*until_ms = 0;
	if (t->is_metered && !isnan(t->budget_left_bytes) && t->size_bytes > t->budget_left_bytes) {
		*until_ms = t->budget_renews_ms;
		return SELECT_WAIT_BUDGET;
	}
	if (is_small) return SELECT_NOW;
	if (t->is_battery_low) return SELECT_WAIT_BATTERY;
	if (t->is_link_bad) return SELECT_WAIT_LINK;
	double takes_ms = t->rate_bytes_per_s > 0 ? t->size_bytes / t->rate_bytes_per_s * 1000 : 0;
	if (t->longest_ms > 0 && takes_ms > t->longest_ms) return SELECT_TOO_LONG;
	if (has_window && (now_ms < t->window_from_ms || now_ms >= t->window_until_ms)) {
		*until_ms = now_ms < t->window_from_ms ? t->window_from_ms : 0;
		return SELECT_WAIT_WINDOW;
	}
	return SELECT_NOW;
}
