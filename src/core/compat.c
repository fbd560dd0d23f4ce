#include "core/compat.h"

#include <stdio.h>
#include <string.h>

const char *compat_name(enum compat v)
{
	static const char *const names[] = {"no", "unknown", "yes"};
	return v <= COMPAT_YES ? names[v] : "";
}

const char *compat_reason_word(enum compat_reason_kind kind)
{
	static const char *const words[COMPAT_REASON_COUNT] = {
#define X(name, word) word,
		COMPAT_REASON_TABLE(X)
#undef X
	};
	return kind < COMPAT_REASON_COUNT ? words[kind] : "";
}

struct match {
	const struct requirement *r;
	const struct capabilities *c;
	const struct compat_asked *asked;
	struct compat_result *why; /* may be NULL */
	enum compat verdict;
	unsigned unknown;          /* bits by enum capability: each is named once */
};

/* Returns whether the match may end: nobody asked why, and it is a no. */
static bool say_no(struct match *m, enum compat_reason_kind kind, unsigned index, int64_t needs, int64_t has)
{
	m->verdict = COMPAT_NO;
	if (m->why == NULL) return true;
	if (m->why->count == COMPAT_REASONS) {
		m->why->omitted++;
		return false;
	}
	m->why->reasons[m->why->count++] = (struct compat_reason){(uint16_t)kind, (uint16_t)index, needs, has};
	return false;
}

static bool knows(struct match *m, enum capability what)
{
	if (m->c->known >> what & 1) return true;
	m->unknown |= 1u << what;
	return false;
}

/* Which formats a runtime of this name reads. */
static const struct {
	const char *runtime, *format;
} readers[] = {
	{"tflm", "tflite"}, {"tflite", "tflite"}, {"litert", "tflite"}, {"onnxruntime", "onnx"}, {"executorch", "executorch"},
};

static bool match_format(struct match *m)
{
	bool is_listed = false, runs = false;
	if (m->r->format[0] == '\0') return false;
	if (m->c->known >> CAPABILITY_FORMATS & 1) {
		for (unsigned i = 0; i < m->c->formats.count; i++) runs |= strcmp(m->c->formats.word[i], m->r->format) == 0;
		return !runs && say_no(m, COMPAT_REASON_FORMAT, 0, 0, 0);
	}
	if (!knows(m, CAPABILITY_RUNTIME)) return false;
	for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
		if (strcmp(m->c->runtime, readers[i].runtime) != 0) continue;
		is_listed = true;
		runs |= strcmp(readers[i].format, m->r->format) == 0;
	}
	if (!is_listed) (void)knows(m, CAPABILITY_FORMATS);
	return is_listed && !runs && say_no(m, COMPAT_REASON_FORMAT, 0, 0, 0);
}

static bool match_runtime(struct match *m)
{
	unsigned i = 0;
	if (m->r->runtime_count == 0 || !knows(m, CAPABILITY_RUNTIME)) return false;
	while (i < m->r->runtime_count && strcmp(m->r->runtimes[i].name, m->c->runtime) != 0) i++;
	if (i == m->r->runtime_count) return say_no(m, COMPAT_REASON_RUNTIME, 0, 0, 0);
	const struct version_range *range = &m->r->runtimes[i].range;
	if (version_range_is_any(range) || !knows(m, CAPABILITY_RUNTIME_VERSION)) return false;
	return !version_range_has(range, &m->c->runtime_version) && say_no(m, COMPAT_REASON_RUNTIME_VERSION, i, 0, 0);
}

static bool is_micro(const struct capabilities *c)
{
	return strcmp(c->runtime, "tflm") == 0;
}

static bool match_hybrid(struct match *m)
{
	return m->r->is_hybrid && knows(m, CAPABILITY_RUNTIME) && is_micro(m->c) && say_no(m, COMPAT_REASON_HYBRID, 0, 0, 0);
}

static bool provides(const struct capabilities *c, uint64_t key)
{
	for (unsigned i = 0; i < c->provides_count; i++)
		if (c->provides[i] == key) return true;
	return false;
}

/* Operator `i`, found at place `at` of the device's or not at all (-1). */
static bool match_op(struct match *m, unsigned i, int at)
{
	if (m->r->op_is_custom[i]) {
		if (at >= 0 || ((m->c->known >> CAPABILITY_ACCELERATORS & 1) && provides(m->c, m->r->op_key[i]))) return false;
		bool has_all = knows(m, CAPABILITY_ACCELERATORS);
		/* what the runtime brings is in `ops`; a device that tells neither may bring it */
		if (!knows(m, CAPABILITY_OPS) || !has_all) return false;
		return say_no(m, COMPAT_REASON_CUSTOM_OP, i, 0, 0);
	}
	if (!knows(m, CAPABILITY_OPS)) return false;
	int32_t needs = m->r->op_version[i];
	if (at < 0) return say_no(m, COMPAT_REASON_OP_MISSING, i, needs, 0);
	int32_t has = m->c->op_version[at];
	return has < needs && say_no(m, COMPAT_REASON_OP_VERSION, i, needs, has);
}

/* Both are sorted by key: one walk. */
static bool match_ops(struct match *m)
{
	unsigned at = 0, count = m->c->known >> CAPABILITY_OPS & 1 ? m->c->op_count : 0;
	for (unsigned i = 0; i < m->r->op_count; i++) {
		while (at < count && m->c->op_key[at] < m->r->op_key[i]) at++;
		bool is_there = at < count && m->c->op_key[at] == m->r->op_key[i];
		if (match_op(m, i, is_there ? (int)at : -1)) return true;
	}
	return false;
}

static bool match_accelerators(struct match *m)
{
	if (m->r->accelerators.count == 0 || !knows(m, CAPABILITY_ACCELERATORS)) return false;
	for (unsigned i = 0; i < m->r->accelerators.count; i++)
		if (!provides(m->c, m->r->accelerator_key[i]) && say_no(m, COMPAT_REASON_ACCELERATOR, i, 0, 0)) return true;
	return false;
}

static bool match_slot(struct match *m)
{
	int64_t needs = m->r->flash_slot_bytes;
	return needs > 0 && knows(m, CAPABILITY_SLOT_BYTES) && m->c->slot_bytes < needs &&
		say_no(m, COMPAT_REASON_SLOT, 0, needs, m->c->slot_bytes);
}

static bool match_arena(struct match *m)
{
	int64_t needs = m->r->arena_bytes;
	if (m->r->arena_is_estimate) {
		if (m->asked != NULL && m->asked->arena_used_bytes > 0) needs = m->asked->arena_used_bytes;
		else if (needs > 0 && knows(m, CAPABILITY_RUNTIME) && !is_micro(m->c)) return false;
	}
	return needs > 0 && knows(m, CAPABILITY_ARENA_BYTES) && m->c->arena_bytes < needs &&
		say_no(m, COMPAT_REASON_ARENA, 0, needs, m->c->arena_bytes);
}

static const struct capability_part *find_part(const struct capabilities *c, const char *name)
{
	for (unsigned i = 0; i < c->firmware_count; i++)
		if (strcmp(c->firmware[i].name, name) == 0) return &c->firmware[i];
	return NULL;
}

static bool match_firmware(struct match *m)
{
	if (m->r->firmware_count == 0 || !knows(m, CAPABILITY_FIRMWARE)) return false;
	for (unsigned i = 0; i < m->r->firmware_count; i++) {
		const struct capability_part *part = find_part(m->c, m->r->firmware[i].name);
		if (part == NULL) {
			m->unknown |= 1u << CAPABILITY_FIRMWARE;
			continue;
		}
		if (!version_range_has(&m->r->firmware[i].range, &part->version) && say_no(m, COMPAT_REASON_FIRMWARE, i, 0, 0))
			return true;
	}
	return false;
}

static bool is_among(const struct requirement_words *w, const char *word)
{
	for (unsigned i = 0; i < w->count; i++)
		if (strcmp(w->word[i], word) == 0) return true;
	return false;
}

static bool match_link(struct match *m)
{
	return m->r->links.count > 0 && knows(m, CAPABILITY_LINK) && !is_among(&m->r->links, m->c->link) &&
		say_no(m, COMPAT_REASON_LINK, 0, 0, 0);
}

static bool match_class(struct match *m)
{
	return m->r->classes.count > 0 && knows(m, CAPABILITY_DEVICE_CLASS) &&
		!is_among(&m->r->classes, m->c->device_class) && say_no(m, COMPAT_REASON_DEVICE_CLASS, 0, 0, 0);
}

/* What the pipeline of this model feeds; of any model where the question names none and there is only one answer. */
static const struct capability_input *find_input(const struct capabilities *c, const char *model)
{
	const struct capability_input *any = NULL;
	for (unsigned i = 0; i < c->input_count; i++) {
		if (c->inputs[i].model[0] == '\0') any = &c->inputs[i];
		else if (model != NULL && strcmp(c->inputs[i].model, model) == 0) return &c->inputs[i];
	}
	return any != NULL || model != NULL || c->input_count != 1 ? any : &c->inputs[0];
}

static bool match_input(struct match *m)
{
	if (m->r->input_count == 0 || !knows(m, CAPABILITY_INPUT)) return false;
	const struct capability_input *in = find_input(m->c, m->asked != NULL ? m->asked->model : NULL);
	if (in == NULL) {
		m->unknown |= 1u << CAPABILITY_INPUT;
		return false;
	}
	if (in->count != m->r->input_count) return say_no(m, COMPAT_REASON_INPUT, 0, m->r->input_count, in->count);
	for (unsigned i = 0; i < in->count; i++)
		if (!requirement_input_fits(&m->r->inputs[i], &in->inputs[i]) &&
		    say_no(m, COMPAT_REASON_INPUT, i, m->r->input_count, in->count))
			return true;
	return false;
}

/* Unknown facts after what is certain. */
static void name_unknown(struct match *m)
{
	if (m->unknown == 0) return;
	if (m->verdict == COMPAT_YES) m->verdict = COMPAT_UNKNOWN;
	for (unsigned i = 0; m->why != NULL && i < CAPABILITY_COUNT; i++) {
		if (!(m->unknown >> i & 1)) continue;
		if (m->why->count == COMPAT_REASONS) m->why->omitted++;
		else m->why->reasons[m->why->count++] = (struct compat_reason){COMPAT_REASON_UNKNOWN, (uint16_t)i, 0, 0};
	}
}

enum compat compat_match(const struct requirement *r, const struct capabilities *c, const struct compat_asked *asked,
                         struct compat_result *why)
{
	static bool (*const rules[])(struct match *m) = {
		match_slot, match_arena, match_format, match_runtime, match_hybrid, match_link, match_class, match_accelerators,
		match_input, match_firmware, match_ops,
	};
	struct match m = {r, c, asked, why, COMPAT_YES, 0};
	if (why != NULL) *why = (struct compat_result){.verdict = COMPAT_YES};
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
		if (rules[i](&m)) return COMPAT_NO;
	name_unknown(&m);
	if (why != NULL) why->verdict = m.verdict;
	return m.verdict;
}
