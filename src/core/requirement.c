#include "core/requirement.h"

#include <stdio.h>
#include <string.h>

#include "core/requirement_inside.h"

uint64_t requirement_key(struct slice name)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < name.len; i++) h = (h ^ (uint8_t)name.data[i]) * UINT64_C(0x100000001b3);
	h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
	h ^= h >> 33;
	return h != 0 ? h : 1;
}

void requirement_init(struct requirement *r)
{
	memset(r, 0, sizeof *r);
}

bool requirement_is_empty(const struct requirement *r)
{
	return r->format[0] == '\0' && !r->is_hybrid && r->flash_slot_bytes == 0 && r->arena_bytes == 0 && r->op_count == 0 &&
		r->runtime_count == 0 && r->firmware_count == 0 && r->accelerators.count == 0 && r->links.count == 0 &&
		r->classes.count == 0 && r->input_count == 0;
}

/* ---- parts ---- */

bool requirement_term_parse(struct slice text, struct requirement_term *out)
{
	size_t n = 0;
	memset(out, 0, sizeof *out);
	while (n < text.len && strchr("<>= ", text.data[n]) == NULL) n++;
	struct slice name = {text.data, n}, range = {text.data + n, text.len - n};
	if (n > 0 && (!name_is_name(name) || !slice_copy(name, out->name, sizeof out->name))) return false;
	return version_range_parse(range, &out->range) && (n > 0 || !version_range_is_any(&out->range));
}

void requirement_term_format(const struct requirement_term *t, char out[REQUIREMENT_TERM_BYTES])
{
	char range[VERSION_RANGE_BYTES];
	version_range_format(&t->range, range);
	snprintf(out, REQUIREMENT_TERM_BYTES, "%s%s", t->name, range);
}

bool requirement_input_fits(const struct requirement_input *a, const struct requirement_input *b)
{
	if (a->type[0] != '\0' && b->type[0] != '\0' && strcmp(a->type, b->type) != 0) return false;
	if (!a->has_shape || !b->has_shape) return true;
	if (a->rank != b->rank) return false;
	for (unsigned i = 0; i < a->rank; i++)
		if (a->dims[i] > 0 && b->dims[i] > 0 && a->dims[i] != b->dims[i]) return false;
	return true;
}

void requirement_input_format(const struct requirement_input *in, char out[REQUIREMENT_INPUT_BYTES])
{
	int n = snprintf(out, REQUIREMENT_INPUT_BYTES, "%s [", in->type[0] != '\0' ? in->type : "any");
	for (unsigned i = 0; in->has_shape && i < in->rank; i++)
		n += snprintf(out + n, REQUIREMENT_INPUT_BYTES - (size_t)n, "%s%lld", i ? "," : "", (long long)in->dims[i]);
	snprintf(out + n, REQUIREMENT_INPUT_BYTES - (size_t)n, "%s]", in->has_shape ? "" : "any");
}

bool requirement_op_name_is_valid(struct slice name)
{
	for (size_t i = 0; i < name.len; i++)
		if (name.data[i] <= ' ' || name.data[i] > '~' || strchr("\"\\@", name.data[i]) != NULL) return false;
	return name.len > 0 && name.len < REQUIREMENT_NAME_BYTES;
}

bool requirement_op_parse(struct slice text, struct slice *name, int32_t *version)
{
	const char *at = text.len > 0 ? memchr(text.data, '@', text.len) : NULL;
	*version = 0;
	*name = (struct slice){text.data, at != NULL ? (size_t)(at - text.data) : text.len};
	if (!requirement_op_name_is_valid(*name)) return false;
	if (at == NULL) return true;
	const char *end = text.data + text.len;
	if (++at == end || end - at > 6) return false;
	for (; at < end; at++) {
		if (*at < '0' || *at > '9') return false;
		*version = *version * 10 + (*at - '0');
	}
	return true;
}

bool requirement_has_word(const struct requirement_words *w, const char *word)
{
	for (unsigned i = 0; i < w->count; i++)
		if (strcmp(w->word[i], word) == 0) return true;
	return false;
}

bool requirement_add_word(struct requirement_words *w, struct slice word)
{
	char text[NAME_BYTES];
	if (!name_is_name(word) || !slice_copy(word, text, sizeof text)) return false;
	if (requirement_has_word(w, text)) return true;
	if (w->count == REQUIREMENT_WORDS) return false;
	memcpy(w->word[w->count++], text, sizeof text);
	return true;
}

void requirement_key_words(struct requirement *r)
{
	for (unsigned i = 0; i < r->accelerators.count; i++)
		r->accelerator_key[i] = requirement_key((struct slice){r->accelerators.word[i], strlen(r->accelerators.word[i])});
}

int requirement_find_op(const struct requirement *r, uint64_t key)
{
	for (unsigned i = 0; i < r->op_count; i++)
		if (r->op_key[i] == key) return (int)i;
	return -1;
}

/* Opens place `at` in the arrays of operators. */
static void make_room(struct requirement *r, unsigned at)
{
	size_t behind = r->op_count - at;
	memmove(&r->op_key[at + 1], &r->op_key[at], behind * sizeof r->op_key[0]);
	memmove(&r->op_version[at + 1], &r->op_version[at], behind * sizeof r->op_version[0]);
	memmove(&r->op_is_custom[at + 1], &r->op_is_custom[at], behind * sizeof r->op_is_custom[0]);
	memmove(&r->op_name[at + 1], &r->op_name[at], behind * sizeof r->op_name[0]);
	r->op_count++;
}

enum err requirement_add_op(struct requirement *r, struct slice name, int32_t version, bool is_custom, struct fault *f)
{
	uint64_t key = requirement_key(name);
	int found = requirement_find_op(r, key);
	if (found >= 0) {
		if (version > r->op_version[found]) r->op_version[found] = version;
		r->op_is_custom[found] |= is_custom;
		return ERR_OK;
	}
	if (!requirement_op_name_is_valid(name))
		return fault_set(f, ERR_INVALID, "", "an operator has a name that nobody could ask for");
	if (r->op_count == REQUIREMENT_OPS)
		return fault_set(f, ERR_TOO_LARGE, "", "at most %d different operators", REQUIREMENT_OPS);
	unsigned at = 0;
	while (at < r->op_count && r->op_key[at] < key) at++;
	make_room(r, at);
	r->op_key[at] = key;
	r->op_version[at] = version;
	r->op_is_custom[at] = is_custom;
	return slice_copy(name, r->op_name[at], sizeof r->op_name[at]) ? ERR_OK : ERR_INVALID;
}

/* ---- from the bytes ---- */

static enum err derive_op(struct requirement *r, const char *name, int64_t version, bool is_custom, struct fault *f)
{
	int32_t least = version < 0 ? 0 : version > INT32_MAX ? INT32_MAX : (int32_t)version;
	return requirement_add_op(r, (struct slice){name, strlen(name)}, least, is_custom, f);
}

static enum err derive_ops(struct requirement *r, const struct model_facts *facts, struct fault *f)
{
	if (facts->format == MODEL_FORMAT_ONNX) {
		for (unsigned i = 0; i < facts->opset_count; i++) {
			const struct model_opset *o = &facts->opsets[i];
			enum err e = derive_op(r, o->domain[0] != '\0' ? o->domain : "ai.onnx", o->version, false, f);
			if (e) return e;
		}
		return ERR_OK;
	}
	for (unsigned i = 0; i < facts->op_count; i++) {
		const struct model_op *o = &facts->ops[i];
		/* the version of a custom operator is its maker's own affair, and no device tells it */
		enum err e = derive_op(r, o->name, o->custom ? 0 : o->version, o->custom, f);
		if (e) return e;
	}
	return ERR_OK;
}

static enum err derive_inputs(struct requirement *r, const struct model_facts *facts, struct fault *f)
{
	if (facts->input_count > REQUIREMENT_INPUTS)
		return fault_set(f, ERR_TOO_LARGE, "", "the model has %u inputs; at most %d are compared", facts->input_count,
			REQUIREMENT_INPUTS);
	for (unsigned i = 0; i < facts->input_count; i++) {
		const struct model_io *in = &facts->inputs[i];
		struct requirement_input *out = &r->inputs[r->input_count++];
		snprintf(out->type, sizeof out->type, "%s",
			in->type == MODEL_TYPE_UNKNOWN ? "" : model_type_name(in->type));
		out->has_shape = in->has_shape;
		out->rank = in->has_shape ? in->rank : 0;
		for (unsigned d = 0; d < out->rank; d++) out->dims[d] = in->dims[d] > 0 ? in->dims[d] : MODEL_DIM_OPEN;
	}
	return ERR_OK;
}

enum err requirement_from_model(struct requirement *r, const struct model_facts *facts, struct fault *f)
{
	requirement_init(r);
	if (facts->format != MODEL_FORMAT_OPAQUE)
		snprintf(r->format, sizeof r->format, "%s", model_format_name(facts->format));
	r->is_hybrid = facts->hybrid;
	r->flash_slot_bytes = facts->file_bytes > INT64_MAX ? INT64_MAX : (int64_t)facts->file_bytes;
	if (facts->has_arena) {
		r->arena_bytes = facts->arena_bytes > INT64_MAX ? INT64_MAX : (int64_t)facts->arena_bytes;
		r->arena_is_estimate = true;
	}
	enum err e = derive_ops(r, facts, f);
	return e ? e : derive_inputs(r, facts, f);
}
