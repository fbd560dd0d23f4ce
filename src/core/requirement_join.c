#include "core/requirement.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/requirement_inside.h"

static void note(struct requirement_conflicts *c, const char *member, bool is_contradiction, const char *fmt, ...)
	AVIARY_PRINTF(4, 5);

static void note(struct requirement_conflicts *c, const char *member, bool is_contradiction, const char *fmt, ...)
{
	c->has_contradiction |= is_contradiction;
	if (c->count == REQUIREMENT_CONFLICTS) {
		c->more = true;
		return;
	}
	struct requirement_conflict *row = &c->rows[c->count++];
	row->member = member;
	row->is_contradiction = is_contradiction;
	va_list args;
	va_start(args, fmt);
	vsnprintf(row->text, sizeof row->text, fmt, args);
	va_end(args);
}

static int64_t join_bytes(int64_t derived, int64_t declared, const char *member, struct requirement_conflicts *c)
{
	if (declared == 0 || declared == derived) return derived;
	if (declared > derived) return declared;
	note(c, member, false, "declared %lld, the file needs %lld: %lld is asked", (long long)declared, (long long)derived,
		(long long)derived);
	return derived;
}

static enum err join_ops(struct requirement *into, const struct requirement *b, struct requirement_conflicts *c,
                         struct fault *f)
{
	for (unsigned i = 0; i < b->op_count; i++) {
		int at = requirement_find_op(into, b->op_key[i]);
		if (at >= 0 && b->op_version[i] > 0 && b->op_version[i] < into->op_version[at])
			note(c, "ops", false, "%s: declared @%d, the file needs @%d", b->op_name[i], (int)b->op_version[i],
				(int)into->op_version[at]);
		struct slice name = {b->op_name[i], strlen(b->op_name[i])};
		enum err e = requirement_add_op(into, name, b->op_version[i], b->op_is_custom[i], f);
		if (e) return e;
	}
	return ERR_OK;
}

/* One of each is enough: what is in both. */
static void join_runtimes(struct requirement *into, const struct requirement *b, struct requirement_conflicts *c)
{
	struct requirement_term both[REQUIREMENT_TERMS];
	unsigned count = 0;
	if (b->runtime_count == 0) return;
	if (into->runtime_count == 0) {
		memcpy(into->runtimes, b->runtimes, sizeof into->runtimes);
		into->runtime_count = b->runtime_count;
		return;
	}
	for (unsigned i = 0; i < into->runtime_count; i++) {
		for (unsigned k = 0; k < b->runtime_count && count < REQUIREMENT_TERMS; k++) {
			if (strcmp(into->runtimes[i].name, b->runtimes[k].name) != 0) continue;
			both[count] = into->runtimes[i];
			both[count].range = version_range_join(&both[count].range, &b->runtimes[k].range);
			count += !version_range_is_empty(&both[count].range);
		}
	}
	if (count == 0) {
		note(c, "runtime", true, "no runtime is in both");
		return;
	}
	memcpy(into->runtimes, both, sizeof both);
	into->runtime_count = count;
}

/* All of both. */
static enum err join_firmware(struct requirement *into, const struct requirement *b, struct requirement_conflicts *c,
                              struct fault *f)
{
	for (unsigned i = 0; i < b->firmware_count; i++) {
		const struct requirement_term *t = &b->firmware[i];
		unsigned at = 0;
		while (at < into->firmware_count && strcmp(into->firmware[at].name, t->name) != 0) at++;
		if (at == REQUIREMENT_TERMS) return fault_set(f, ERR_TOO_LARGE, "/firmware", "at most %d parts", REQUIREMENT_TERMS);
		if (at == into->firmware_count) {
			into->firmware[into->firmware_count++] = *t;
			continue;
		}
		into->firmware[at].range = version_range_join(&into->firmware[at].range, &t->range);
		if (version_range_is_empty(&into->firmware[at].range))
			note(c, "firmware", true, "no version of %s is in both", t->name[0] != '\0' ? t->name : "the main firmware");
	}
	return ERR_OK;
}

/* Membership in both sets. */
static void join_sets(struct requirement_words *into, const struct requirement_words *b, const char *member,
                      struct requirement_conflicts *c)
{
	struct requirement_words both = {0};
	if (b->count == 0) return;
	if (into->count == 0) {
		*into = *b;
		return;
	}
	for (unsigned i = 0; i < into->count; i++)
		if (requirement_has_word(b, into->word[i])) memcpy(both.word[both.count++], into->word[i], NAME_BYTES);
	if (both.count == 0) note(c, member, true, "nothing is in both");
	else *into = both;
}

static enum err join_accelerators(struct requirement *into, const struct requirement *b, struct fault *f)
{
	for (unsigned i = 0; i < b->accelerators.count; i++) {
		struct slice word = {b->accelerators.word[i], strlen(b->accelerators.word[i])};
		if (!requirement_add_word(&into->accelerators, word))
			return fault_set(f, ERR_TOO_LARGE, "/accelerators", "at most %d", REQUIREMENT_WORDS);
	}
	requirement_key_words(into);
	return ERR_OK;
}

/* Where one leaves a dimension or the type open, the other's holds. */
static void narrow(struct requirement_input *into, const struct requirement_input *b)
{
	if (into->type[0] == '\0') memcpy(into->type, b->type, sizeof into->type);
	if (!b->has_shape) return;
	if (!into->has_shape) {
		into->has_shape = true;
		into->rank = b->rank;
		memcpy(into->dims, b->dims, sizeof into->dims);
	}
	for (unsigned d = 0; d < into->rank; d++)
		if (into->dims[d] < 1) into->dims[d] = b->dims[d];
}

static void join_inputs(struct requirement *into, const struct requirement *b, struct requirement_conflicts *c)
{
	if (b->input_count == 0) return;
	if (into->input_count == 0) {
		memcpy(into->inputs, b->inputs, sizeof into->inputs);
		into->input_count = b->input_count;
		return;
	}
	if (into->input_count != b->input_count) {
		note(c, "input", true, "declared %u, the file has %u", b->input_count, into->input_count);
		return;
	}
	for (unsigned i = 0; i < b->input_count; i++) {
		char has[REQUIREMENT_INPUT_BYTES], says[REQUIREMENT_INPUT_BYTES];
		if (requirement_input_fits(&into->inputs[i], &b->inputs[i])) {
			narrow(&into->inputs[i], &b->inputs[i]);
			continue;
		}
		requirement_input_format(&into->inputs[i], has);
		requirement_input_format(&b->inputs[i], says);
		note(c, "input", true, "declared %s, the file has %s", says, has);
	}
}

enum err requirement_join(struct requirement *into, const struct requirement *declared,
                          struct requirement_conflicts *conflicts, struct fault *f)
{
	memset(conflicts, 0, sizeof *conflicts);
	if (into->format[0] == '\0') memcpy(into->format, declared->format, sizeof into->format);
	else if (declared->format[0] != '\0' && strcmp(into->format, declared->format) != 0)
		note(conflicts, "format", true, "declared %s, the file is %s", declared->format, into->format);
	into->is_hybrid |= declared->is_hybrid;
	into->flash_slot_bytes = join_bytes(into->flash_slot_bytes, declared->flash_slot_bytes, "flash_slot_bytes", conflicts);
	if (declared->arena_bytes > into->arena_bytes) into->arena_is_estimate = declared->arena_is_estimate;
	into->arena_bytes = join_bytes(into->arena_bytes, declared->arena_bytes, "arena_bytes", conflicts);
	join_runtimes(into, declared, conflicts);
	join_sets(&into->links, &declared->links, "link", conflicts);
	join_sets(&into->classes, &declared->classes, "device_class", conflicts);
	join_inputs(into, declared, conflicts);
	enum err e = join_ops(into, declared, conflicts, f);
	if (e == ERR_OK) e = join_firmware(into, declared, conflicts, f);
	return e ? e : join_accelerators(into, declared, f);
}
