#include <stdio.h>
#include <string.h>

#include "core/compat.h"

/* One reason as a text. `has` is only said of a device. */
struct saying {
	const struct compat_reason *reason;
	const struct requirement *r;
	const struct capabilities *c;
	char *out;
};

static void say_unknown(const struct saying *s)
{
	enum capability what = (enum capability)s->reason->index;
	bool is_malformed = s->c != NULL && (s->c->malformed >> what & 1);
	snprintf(s->out, COMPAT_TEXT_BYTES, "unknown: %s%s", capability_name(what), is_malformed ? " (reported in another form)" : "");
}

static void say_format(const struct saying *s)
{
	int n = snprintf(s->out, COMPAT_TEXT_BYTES, "format: needs a runtime for %s", s->r->format);
	if (s->c != NULL && s->c->runtime[0] != '\0')
		snprintf(s->out + n, COMPAT_TEXT_BYTES - (size_t)n, ", has %s", s->c->runtime);
}

static void say_runtime(const struct saying *s)
{
	int n = snprintf(s->out, COMPAT_TEXT_BYTES, "runtime: needs ");
	for (unsigned i = 0; i < s->r->runtime_count && n < COMPAT_TEXT_BYTES; i++) {
		char term[REQUIREMENT_TERM_BYTES];
		requirement_term_format(&s->r->runtimes[i], term);
		n += snprintf(s->out + n, COMPAT_TEXT_BYTES - (size_t)n, "%s%s", i ? " or " : "", term);
	}
	if (s->c != NULL && n < COMPAT_TEXT_BYTES)
		snprintf(s->out + n, COMPAT_TEXT_BYTES - (size_t)n, ", has %s %s", s->c->runtime, s->c->runtime_version.text);
}

static void say_hybrid(const struct saying *s)
{
	snprintf(s->out, COMPAT_TEXT_BYTES, "hybrid quantisation: not run by tflm");
}

static void say_op(const struct saying *s)
{
	char version[16] = "";
	const char *name = s->r->op_name[s->reason->index];
	if (s->reason->needs > 0) snprintf(version, sizeof version, "@%d", (int)s->reason->needs);
	if (s->reason->kind == COMPAT_REASON_OP_MISSING)
		snprintf(s->out, COMPAT_TEXT_BYTES, "op %s%s: not provided", name, version);
	else if (s->c != NULL)
		snprintf(s->out, COMPAT_TEXT_BYTES, "op %s%s: has %d", name, version, (int)s->reason->has);
	else
		snprintf(s->out, COMPAT_TEXT_BYTES, "op %s%s: has an older version", name, version);
}

static void say_custom(const struct saying *s)
{
	snprintf(s->out, COMPAT_TEXT_BYTES, "custom operator %s: no accelerator provides it", s->r->op_name[s->reason->index]);
}

static void say_accelerator(const struct saying *s)
{
	snprintf(s->out, COMPAT_TEXT_BYTES, "accelerator %s: not there", s->r->accelerators.word[s->reason->index]);
}

static void say_bytes(const struct saying *s)
{
	int n = snprintf(s->out, COMPAT_TEXT_BYTES, "%s: needs %lld", compat_reason_word((enum compat_reason_kind)s->reason->kind),
		(long long)s->reason->needs);
	if (s->c != NULL) snprintf(s->out + n, COMPAT_TEXT_BYTES - (size_t)n, ", has %lld", (long long)s->reason->has);
}

static void say_firmware(const struct saying *s)
{
	char term[REQUIREMENT_TERM_BYTES];
	const struct requirement_term *t = &s->r->firmware[s->reason->index];
	requirement_term_format(t, term);
	int n = snprintf(s->out, COMPAT_TEXT_BYTES, "firmware: needs %s", term);
	for (unsigned i = 0; s->c != NULL && i < s->c->firmware_count; i++)
		if (strcmp(s->c->firmware[i].name, t->name) == 0)
			snprintf(s->out + n, COMPAT_TEXT_BYTES - (size_t)n, ", has %s", s->c->firmware[i].version.text);
}

static void say_set(const struct saying *s, const char *what, const struct requirement_words *w, const char *has)
{
	int n = snprintf(s->out, COMPAT_TEXT_BYTES, "%s: needs ", what);
	for (unsigned i = 0; i < w->count && n < COMPAT_TEXT_BYTES; i++)
		n += snprintf(s->out + n, COMPAT_TEXT_BYTES - (size_t)n, "%s%s", i ? " or " : "", w->word[i]);
	if (has != NULL && n < COMPAT_TEXT_BYTES) snprintf(s->out + n, COMPAT_TEXT_BYTES - (size_t)n, ", has %s", has);
}

static void say_link(const struct saying *s)
{
	say_set(s, "link", &s->r->links, s->c != NULL ? s->c->link : NULL);
}

static void say_class(const struct saying *s)
{
	say_set(s, "device_class", &s->r->classes, s->c != NULL ? s->c->device_class : NULL);
}

static void say_input(const struct saying *s)
{
	char needs[REQUIREMENT_INPUT_BYTES];
	if (s->reason->needs != s->reason->has) {
		snprintf(s->out, COMPAT_TEXT_BYTES, "input: needs %lld inputs, the pipeline feeds %lld", (long long)s->reason->needs,
			(long long)s->reason->has);
		return;
	}
	requirement_input_format(&s->r->inputs[s->reason->index], needs);
	snprintf(s->out, COMPAT_TEXT_BYTES, "input: needs %.200s, the pipeline feeds another", needs);
}

void compat_reason_format(const struct compat_reason *reason, const struct requirement *r, const struct capabilities *c,
                          char out[COMPAT_TEXT_BYTES])
{
	static void (*const say[COMPAT_REASON_COUNT])(const struct saying *s) = {
		[COMPAT_REASON_UNKNOWN] = say_unknown,        [COMPAT_REASON_FORMAT] = say_format,
		[COMPAT_REASON_RUNTIME] = say_runtime,        [COMPAT_REASON_RUNTIME_VERSION] = say_runtime,
		[COMPAT_REASON_HYBRID] = say_hybrid,          [COMPAT_REASON_OP_MISSING] = say_op,
		[COMPAT_REASON_OP_VERSION] = say_op,          [COMPAT_REASON_CUSTOM_OP] = say_custom,
		[COMPAT_REASON_ACCELERATOR] = say_accelerator, [COMPAT_REASON_SLOT] = say_bytes,
		[COMPAT_REASON_ARENA] = say_bytes,            [COMPAT_REASON_FIRMWARE] = say_firmware,
		[COMPAT_REASON_LINK] = say_link,              [COMPAT_REASON_DEVICE_CLASS] = say_class,
		[COMPAT_REASON_INPUT] = say_input,
	};
	struct saying s = {reason, r, c, out};
	out[0] = '\0';
	if (reason->kind < COMPAT_REASON_COUNT) say[reason->kind](&s);
}

/* ---- counting ---- */

void compat_tally_add(struct compat_tally *t, const struct compat_result *result, int64_t devices)
{
	t->devices[result->verdict] += devices;
	for (unsigned i = 0; i < result->count; i++) {
		const struct compat_reason *reason = &result->reasons[i];
		unsigned at = 0;
		while (at < t->count && (t->rows[at].reason.kind != reason->kind || t->rows[at].reason.index != reason->index)) at++;
		if (at == COMPAT_TALLY) {
			t->other += devices;
			continue;
		}
		struct compat_tally_row *row = &t->rows[at];
		if (at == t->count) {
			*row = (struct compat_tally_row){*reason, 0};
			t->count++;
		}
		row->devices += devices;
		if (reason->has > row->reason.has) row->reason.has = reason->has;
	}
	t->other += devices * result->omitted;
}

static bool comes_first(const struct compat_tally_row *a, const struct compat_tally_row *b)
{
	if (a->devices != b->devices) return a->devices > b->devices;
	if (a->reason.kind != b->reason.kind) return a->reason.kind < b->reason.kind;
	return a->reason.index < b->reason.index;
}

void compat_tally_sort(struct compat_tally *t)
{
	for (unsigned i = 1; i < t->count; i++) {
		struct compat_tally_row row = t->rows[i];
		unsigned at = i;
		for (; at > 0 && comes_first(&row, &t->rows[at - 1]); at--) t->rows[at] = t->rows[at - 1];
		t->rows[at] = row;
	}
}

/* ---- classes ---- */

void capability_classes_init(struct capability_classes *t, struct capability_class_slot *slots, uint32_t slot_count)
{
	*t = (struct capability_classes){slots, slot_count, 0};
	for (uint32_t i = 0; i < slot_count; i++) slots[i].id = CAPABILITY_CLASS_NONE;
}

static struct capability_class_slot *find_slot(const struct capability_classes *t, const uint8_t *key)
{
	uint32_t at;
	memcpy(&at, key, sizeof at);
	for (at &= t->slot_count - 1;; at = (at + 1) & (t->slot_count - 1)) {
		struct capability_class_slot *slot = &t->slots[at];
		if (slot->id == CAPABILITY_CLASS_NONE || memcmp(slot->key, key, sizeof slot->key) == 0) return slot;
	}
}

uint32_t capability_classes_intern(struct capability_classes *t, const uint8_t key[CAPABILITY_CLASS_KEY_BYTES], bool *is_new)
{
	struct capability_class_slot *slot = find_slot(t, key);
	*is_new = false;
	if (slot->id != CAPABILITY_CLASS_NONE) return slot->id;
	if (t->count >= t->slot_count - t->slot_count / 4) return CAPABILITY_CLASS_NONE;
	*is_new = true;
	memcpy(slot->key, key, sizeof slot->key);
	slot->id = t->count++;
	return slot->id;
}

void capability_classes_move(const struct capability_classes *from, struct capability_classes *to)
{
	for (uint32_t i = 0; i < from->slot_count; i++)
		if (from->slots[i].id != CAPABILITY_CLASS_NONE) *find_slot(to, from->slots[i].key) = from->slots[i];
	to->count = from->count;
}
