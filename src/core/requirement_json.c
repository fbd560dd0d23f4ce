#include <stdio.h>
#include <string.h>

#include "core/requirement_inside.h"

struct reader {
	struct jp p;
	struct fault *f;
};

static struct slice token(const struct jp *p)
{
	return (struct slice){p->token, p->token_len};
}

static enum err refuse(struct reader *r, const char *expected)
{
	if (r->p.error != NULL)
		return fault_set(r->f, ERR_BAD_REQUEST, "", "not JSON: %s at byte %zu", r->p.error, r->p.at);
	return fault_set(r->f, ERR_INVALID, "", "expected %s", expected);
}

/* ---- one input ---- */

static bool read_shape(struct jp *p, struct requirement_input *out)
{
	enum jp_event e;
	if (jp_next(p) != JP_ARRAY) return false;
	out->has_shape = true;
	while ((e = jp_next(p)) != JP_ARRAY_END) {
		int64_t dim;
		if (e != JP_NUMBER || !jp_int(p, &dim) || dim < -1 || dim > INT32_MAX) return false;
		if (out->rank == MODEL_RANK_MAX) return false;
		out->dims[out->rank++] = dim;
	}
	return true;
}

bool requirement_read_input(struct jp *p, struct requirement_input *out)
{
	enum jp_event e;
	bool seen_shape = false, seen_type = false;
	memset(out, 0, sizeof *out);
	while ((e = jp_next(p)) == JP_KEY) {
		if (jp_is(p, "shape") && !seen_shape) {
			seen_shape = true;
			if (!read_shape(p, out)) return false;
		} else if (jp_is(p, "type") && !seen_type) {
			seen_type = true;
			if (jp_next(p) != JP_STRING || !name_is_name(token(p)) ||
			    !slice_copy(token(p), out->type, sizeof out->type))
				return false;
			if (strcmp(out->type, "any") == 0) out->type[0] = '\0';
		} else {
			return false;
		}
	}
	return e == JP_OBJECT_END && (seen_shape || seen_type);
}

/* ---- members ---- */

typedef bool take_text(struct requirement *out, struct slice text, struct fault *f);

/* A text or an array of texts; each must be taken. */
static enum err read_texts(struct reader *r, struct requirement *out, take_text *take, const char *expected)
{
	enum jp_event e = jp_next(&r->p);
	if (e == JP_STRING) return take(out, token(&r->p), r->f) ? ERR_OK : refuse(r, expected);
	if (e != JP_ARRAY) return refuse(r, expected);
	while ((e = jp_next(&r->p)) != JP_ARRAY_END)
		if (e != JP_STRING || !take(out, token(&r->p), r->f)) return refuse(r, expected);
	return ERR_OK;
}

static enum err read_texts_array(struct reader *r, struct requirement *out, take_text *take, const char *expected)
{
	enum jp_event e = jp_next(&r->p);
	if (e != JP_ARRAY) return refuse(r, expected);
	while ((e = jp_next(&r->p)) != JP_ARRAY_END)
		if (e != JP_STRING || !take(out, token(&r->p), r->f)) return refuse(r, expected);
	return ERR_OK;
}

static bool take_op(struct requirement *out, struct slice text, struct fault *f)
{
	struct slice name;
	int32_t version;
	return requirement_op_parse(text, &name, &version) && requirement_add_op(out, name, version, false, f) == ERR_OK;
}

static bool take_custom(struct requirement *out, struct slice text, struct fault *f)
{
	struct slice name;
	int32_t version;
	return requirement_op_parse(text, &name, &version) && requirement_add_op(out, name, version, true, f) == ERR_OK;
}

static bool add_term(struct requirement_term *terms, unsigned *count, struct slice text)
{
	if (*count == REQUIREMENT_TERMS || !requirement_term_parse(text, &terms[*count])) return false;
	if (version_range_is_empty(&terms[*count].range)) return false;
	for (unsigned i = 0; i < *count; i++)
		if (strcmp(terms[i].name, terms[*count].name) == 0) return false;
	++*count;
	return true;
}

static bool take_runtime(struct requirement *out, struct slice text, struct fault *f)
{
	(void)f;
	return add_term(out->runtimes, &out->runtime_count, text) && out->runtimes[out->runtime_count - 1].name[0] != '\0';
}

static bool take_firmware(struct requirement *out, struct slice text, struct fault *f)
{
	(void)f;
	return add_term(out->firmware, &out->firmware_count, text);
}

static bool take_accelerator(struct requirement *out, struct slice text, struct fault *f)
{
	(void)f;
	return requirement_add_word(&out->accelerators, text);
}

static bool take_link(struct requirement *out, struct slice text, struct fault *f)
{
	(void)f;
	return requirement_add_word(&out->links, text);
}

static bool take_class(struct requirement *out, struct slice text, struct fault *f)
{
	(void)f;
	return requirement_add_word(&out->classes, text);
}

static enum err read_ops(struct reader *r, struct requirement *out)
{
	return read_texts_array(r, out, take_op, "an array of operators, as \"CONV_2D@3\", at most 256");
}

static enum err read_custom(struct reader *r, struct requirement *out)
{
	return read_texts_array(r, out, take_custom, "an array of names of custom operators");
}

static enum err read_runtime(struct reader *r, struct requirement *out)
{
	return read_texts(r, out, take_runtime, "a runtime, as \"tflm>=2023.1\", or up to 8 different ones");
}

static enum err read_firmware(struct reader *r, struct requirement *out)
{
	return read_texts(r, out, take_firmware, "a firmware, as \"audio>=2.1\" or \">=2.1\", or up to 8 different ones");
}

static enum err read_accelerators(struct reader *r, struct requirement *out)
{
	enum err e = read_texts_array(r, out, take_accelerator, "an array of names, at most 16");
	requirement_key_words(out);
	return e;
}

static enum err read_link(struct reader *r, struct requirement *out)
{
	return read_texts(r, out, take_link, "a kind of link, or up to 16");
}

static enum err read_class(struct reader *r, struct requirement *out)
{
	return read_texts(r, out, take_class, "a device class, or up to 16");
}

static enum err read_bytes(struct reader *r, int64_t *out)
{
	if (jp_next(&r->p) != JP_NUMBER || !jp_int(&r->p, out) || *out < 0 || *out > INT64_C(1) << 40)
		return refuse(r, "bytes, an integer from 0 to 2^40");
	return ERR_OK;
}

static enum err read_slot(struct reader *r, struct requirement *out)
{
	return read_bytes(r, &out->flash_slot_bytes);
}

static enum err read_arena(struct reader *r, struct requirement *out)
{
	return read_bytes(r, &out->arena_bytes);
}

static enum err read_bool(struct reader *r, bool *out)
{
	enum jp_event e = jp_next(&r->p);
	*out = e == JP_TRUE;
	return e == JP_TRUE || e == JP_FALSE ? ERR_OK : refuse(r, "true or false");
}

static enum err read_hybrid(struct reader *r, struct requirement *out)
{
	return read_bool(r, &out->is_hybrid);
}

static enum err read_estimate(struct reader *r, struct requirement *out)
{
	return read_bool(r, &out->arena_is_estimate);
}

static enum err read_format(struct reader *r, struct requirement *out)
{
	if (jp_next(&r->p) != JP_STRING || !name_is_name(token(&r->p)) ||
	    !slice_copy(token(&r->p), out->format, sizeof out->format))
		return refuse(r, "the name of a format");
	return ERR_OK;
}

static enum err read_inputs(struct reader *r, struct requirement *out)
{
	static const char expected[] = "{\"shape\":[...],\"type\":\"...\"}, or up to 8 of them";
	enum jp_event e = jp_next(&r->p);
	if (e == JP_OBJECT) return requirement_read_input(&r->p, &out->inputs[out->input_count++]) ? ERR_OK : refuse(r, expected);
	if (e != JP_ARRAY) return refuse(r, expected);
	while ((e = jp_next(&r->p)) != JP_ARRAY_END) {
		if (e != JP_OBJECT || out->input_count == REQUIREMENT_INPUTS) return refuse(r, expected);
		if (!requirement_read_input(&r->p, &out->inputs[out->input_count++])) return refuse(r, expected);
	}
	return ERR_OK;
}

static const struct member {
	const char *name;
	enum err (*read)(struct reader *r, struct requirement *out);
} members[] = {
	{"format", read_format},       {"runtime", read_runtime},           {"ops", read_ops},
	{"custom_ops", read_custom},   {"hybrid", read_hybrid},             {"flash_slot_bytes", read_slot},
	{"arena_bytes", read_arena},   {"arena_is_estimate", read_estimate}, {"accelerators", read_accelerators},
	{"firmware", read_firmware},   {"link", read_link},                 {"device_class", read_class},
	{"input", read_inputs},
};
#define MEMBERS (sizeof members / sizeof members[0])

static enum err read_members(struct reader *r, struct requirement *out)
{
	unsigned seen = 0;
	enum jp_event event;
	while ((event = jp_next(&r->p)) == JP_KEY) {
		char pointer[32];
		size_t i = 0;
		while (i < MEMBERS && !jp_is(&r->p, members[i].name)) i++;
		if (i == MEMBERS)
			return fault_set(r->f, ERR_INVALID, "", "unknown member \"%.*s\"",
				name_is_name(token(&r->p)) ? (int)r->p.token_len : 0, r->p.token);
		snprintf(pointer, sizeof pointer, "/%s", members[i].name);
		if (seen >> i & 1) return fault_set(r->f, ERR_INVALID, pointer, "the member occurs twice");
		seen |= 1u << i;
		enum err e = members[i].read(r, out);
		if (e == ERR_INVALID) fault_prefix(r->f, pointer);
		if (e) return e;
	}
	return event == JP_OBJECT_END ? ERR_OK : refuse(r, "a member");
}

enum err requirement_parse(struct requirement *r, const char *text, size_t len, struct fault *f)
{
	struct reader reader = {.f = f};
	requirement_init(r);
	if (len > REQUIREMENT_BYTES) return fault_set(f, ERR_TOO_LARGE, "", "requirements are at most %d bytes", REQUIREMENT_BYTES);
	jp_init(&reader.p, text, len);
	if (jp_next(&reader.p) != JP_OBJECT) return refuse(&reader, "an object");
	enum err e = read_members(&reader, r);
	if (e == ERR_OK && jp_next(&reader.p) != JP_END) return refuse(&reader, "the end");
	return e;
}

/* ---- back to text ---- */

static int compare_names(const struct requirement *r, unsigned a, unsigned b)
{
	return strcmp(r->op_name[a], r->op_name[b]);
}

/* By name, so that equal requirements are equal texts for a reader too. The next after `last` (-1: the first). */
static int next_op(const struct requirement *r, int last, bool is_custom)
{
	int best = -1;
	for (unsigned i = 0; i < r->op_count; i++) {
		if (r->op_is_custom[i] != is_custom) continue;
		if (last >= 0 && compare_names(r, i, (unsigned)last) <= 0) continue;
		if (best < 0 || compare_names(r, i, (unsigned)best) < 0) best = (int)i;
	}
	return best;
}

static void print_ops(const struct requirement *r, struct buf *out, const char *key, bool is_custom)
{
	int at = next_op(r, -1, is_custom);
	if (at < 0) return;
	json_key(out, key);
	json_open_array(out);
	for (; at >= 0; at = next_op(r, at, is_custom)) {
		char text[REQUIREMENT_NAME_BYTES + 12];
		if (r->op_version[at] > 0) snprintf(text, sizeof text, "%s@%d", r->op_name[at], (int)r->op_version[at]);
		else snprintf(text, sizeof text, "%s", r->op_name[at]);
		json_put_str(out, text);
	}
	json_close_array(out);
}

static void print_terms(struct buf *out, const char *key, const struct requirement_term *terms, unsigned count)
{
	char text[REQUIREMENT_TERM_BYTES];
	if (count == 0) return;
	json_key(out, key);
	if (count > 1) json_open_array(out);
	for (unsigned i = 0; i < count; i++) {
		requirement_term_format(&terms[i], text);
		json_put_str(out, text);
	}
	if (count > 1) json_close_array(out);
}

static void print_words(struct buf *out, const char *key, const struct requirement_words *w)
{
	if (w->count == 0) return;
	json_key(out, key);
	json_open_array(out);
	for (unsigned i = 0; i < w->count; i++) json_put_str(out, w->word[i]);
	json_close_array(out);
}

static void print_inputs(const struct requirement *r, struct buf *out)
{
	if (r->input_count == 0) return;
	json_key(out, "input");
	if (r->input_count > 1) json_open_array(out);
	for (unsigned i = 0; i < r->input_count; i++) {
		const struct requirement_input *in = &r->inputs[i];
		json_open_object(out);
		if (in->has_shape) {
			json_key(out, "shape");
			json_open_array(out);
			for (unsigned d = 0; d < in->rank; d++) json_put_int(out, in->dims[d]);
			json_close_array(out);
		}
		if (in->type[0] != '\0' || !in->has_shape) json_str(out, "type", in->type[0] != '\0' ? in->type : "any");
		json_close_object(out);
	}
	if (r->input_count > 1) json_close_array(out);
}

void requirement_print(const struct requirement *r, struct buf *out)
{
	json_open_object(out);
	if (r->format[0] != '\0') json_str(out, "format", r->format);
	print_terms(out, "runtime", r->runtimes, r->runtime_count);
	print_ops(r, out, "ops", false);
	print_ops(r, out, "custom_ops", true);
	if (r->is_hybrid) json_bool(out, "hybrid", true);
	if (r->flash_slot_bytes > 0) json_int(out, "flash_slot_bytes", r->flash_slot_bytes);
	if (r->arena_bytes > 0) json_int(out, "arena_bytes", r->arena_bytes);
	if (r->arena_is_estimate) json_bool(out, "arena_is_estimate", true);
	print_words(out, "accelerators", &r->accelerators);
	print_terms(out, "firmware", r->firmware, r->firmware_count);
	print_words(out, "link", &r->links);
	print_words(out, "device_class", &r->classes);
	print_inputs(r, out);
	json_close_object(out);
}
