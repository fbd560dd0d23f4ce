#include <string.h>

#include "core/compat.h"
#include "core/requirement_inside.h"

static const struct {
	const char *name, *doc;
} rows[CAPABILITY_COUNT] = {
#define X(name, member, doc) {member, doc},
	CAPABILITY_TABLE(X)
#undef X
};

const char *capability_name(enum capability c)
{
	return c < CAPABILITY_COUNT ? rows[c].name : "";
}

const char *capability_doc(enum capability c)
{
	return c < CAPABILITY_COUNT ? rows[c].doc : "";
}

void capabilities_init(struct capabilities *c)
{
	memset(c, 0, sizeof *c);
}

static struct slice token(const struct jp *p)
{
	return (struct slice){p->token, p->token_len};
}

/* ---- readers of one member: the event of its value was read; false: it is not what the table says. They may leave the
 * value half read: the caller has another parser for the way on. ---- */

static bool read_name(struct jp *p, enum jp_event e, char out[NAME_BYTES])
{
	return e == JP_STRING && name_is_name(token(p)) && slice_copy(token(p), out, NAME_BYTES);
}

static bool read_runtime(struct jp *p, enum jp_event e, struct capabilities *c)
{
	return read_name(p, e, c->runtime);
}

static bool read_runtime_version(struct jp *p, enum jp_event e, struct capabilities *c)
{
	return e == JP_STRING && loose_version_parse(token(p), &c->runtime_version);
}

static bool read_formats(struct jp *p, enum jp_event e, struct capabilities *c)
{
	if (e != JP_ARRAY) return false;
	while ((e = jp_next(p)) != JP_ARRAY_END)
		if (e != JP_STRING || !requirement_add_word(&c->formats, token(p))) return false;
	return true;
}

/* Keeps the keys sorted; what comes twice counts with its highest version. */
static bool add_op(struct capabilities *c, struct slice name, int32_t version)
{
	uint64_t key = requirement_key(name);
	unsigned at = c->op_count;
	while (at > 0 && c->op_key[at - 1] > key) at--;
	if (at > 0 && c->op_key[at - 1] == key) {
		if (version > c->op_version[at - 1]) c->op_version[at - 1] = version;
		return true;
	}
	if (c->op_count == CAPABILITY_OPS_MAX) return false;
	memmove(&c->op_key[at + 1], &c->op_key[at], (c->op_count - at) * sizeof c->op_key[0]);
	memmove(&c->op_version[at + 1], &c->op_version[at], (c->op_count - at) * sizeof c->op_version[0]);
	c->op_key[at] = key;
	c->op_version[at] = version;
	c->op_count++;
	return true;
}

static bool read_ops(struct jp *p, enum jp_event e, struct capabilities *c)
{
	if (e != JP_ARRAY) return false;
	while ((e = jp_next(p)) != JP_ARRAY_END) {
		struct slice name;
		int32_t version;
		if (e != JP_STRING || !requirement_op_parse(token(p), &name, &version)) return false;
		if (!add_op(c, name, version > 0 ? version : INT32_MAX)) return false;
	}
	return true;
}

static bool add_provided(struct capabilities *c, struct slice name)
{
	if (c->provides_count == CAPABILITY_PROVIDES) return false;
	c->provides[c->provides_count++] = requirement_key(name);
	return true;
}

/* "ethos-u55-128": itself, and the family ethos-u, which is how models name it. */
static bool read_accelerators(struct jp *p, enum jp_event e, struct capabilities *c)
{
	if (e != JP_ARRAY) return false;
	while ((e = jp_next(p)) != JP_ARRAY_END) {
		struct slice name = token(p), family = {name.data, 0};
		if (e != JP_STRING || !name_is_name(name) || !add_provided(c, name)) return false;
		while (family.len < name.len && (name.data[family.len] < '0' || name.data[family.len] > '9')) family.len++;
		if (family.len > 0 && family.len < name.len && !add_provided(c, family)) return false;
	}
	return true;
}

static bool read_bytes(struct jp *p, enum jp_event e, int64_t *out)
{
	return e == JP_NUMBER && jp_int(p, out) && *out >= 0;
}

static bool read_slot(struct jp *p, enum jp_event e, struct capabilities *c)
{
	return read_bytes(p, e, &c->slot_bytes);
}

static bool read_arena(struct jp *p, enum jp_event e, struct capabilities *c)
{
	return read_bytes(p, e, &c->arena_bytes);
}

static bool add_firmware(struct capabilities *c, struct slice name, struct slice version)
{
	if (c->firmware_count == CAPABILITY_PARTS) return false;
	struct capability_part *part = &c->firmware[c->firmware_count];
	if (!slice_copy(name, part->name, sizeof part->name) || !loose_version_parse(version, &part->version)) return false;
	c->firmware_count++;
	return true;
}

static bool read_firmware(struct jp *p, enum jp_event e, struct capabilities *c)
{
	if (e == JP_STRING) return add_firmware(c, (struct slice){"", 0}, token(p));
	if (e != JP_OBJECT) return false;
	while ((e = jp_next(p)) == JP_KEY) {
		struct slice name = token(p);
		if (!name_is_name(name) || jp_next(p) != JP_STRING || !add_firmware(c, name, token(p))) return false;
	}
	return e == JP_OBJECT_END;
}

static bool read_link(struct jp *p, enum jp_event e, struct capabilities *c)
{
	return read_name(p, e, c->link);
}

static bool read_class(struct jp *p, enum jp_event e, struct capabilities *c)
{
	return read_name(p, e, c->device_class);
}

/* One signature, or an array of them: a model's inputs in their order. */
static bool read_signature(struct jp *p, enum jp_event e, struct capabilities *c, struct slice model)
{
	if (c->input_count == CAPABILITY_INPUTS) return false;
	struct capability_input *in = &c->inputs[c->input_count];
	in->count = 0;
	if (!slice_copy(model, in->model, sizeof in->model)) return false;
	if (e == JP_OBJECT) {
		if (!requirement_read_input(p, &in->inputs[in->count++])) return false;
	} else {
		if (e != JP_ARRAY) return false;
		while ((e = jp_next(p)) != JP_ARRAY_END) {
			if (e != JP_OBJECT || in->count == REQUIREMENT_INPUTS) return false;
			if (!requirement_read_input(p, &in->inputs[in->count++])) return false;
		}
	}
	c->input_count++;
	return in->count > 0;
}

/* {"shape":[...],"type":"..."}, an array of such, or {"model":either}. A model may be called "type": its value is no text. */
static bool read_input(struct jp *p, enum jp_event e, struct capabilities *c)
{
	struct jp start = *p;
	if (read_signature(p, e, c, (struct slice){"", 0})) return true;
	*p = start;
	c->input_count = 0;
	if (e != JP_OBJECT) return false;
	while ((e = jp_next(p)) == JP_KEY) {
		struct slice model = token(p);
		if (!name_is_name(model) || !read_signature(p, jp_next(p), c, model)) return false;
	}
	return e == JP_OBJECT_END && c->input_count > 0;
}

static bool (*const readers[CAPABILITY_COUNT])(struct jp *p, enum jp_event e, struct capabilities *c) = {
	[CAPABILITY_RUNTIME] = read_runtime,   [CAPABILITY_RUNTIME_VERSION] = read_runtime_version,
	[CAPABILITY_FORMATS] = read_formats,   [CAPABILITY_OPS] = read_ops,
	[CAPABILITY_ACCELERATORS] = read_accelerators, [CAPABILITY_SLOT_BYTES] = read_slot,
	[CAPABILITY_ARENA_BYTES] = read_arena, [CAPABILITY_FIRMWARE] = read_firmware,
	[CAPABILITY_LINK] = read_link,         [CAPABILITY_DEVICE_CLASS] = read_class,
	[CAPABILITY_INPUT] = read_input,
};

static void read_member(struct capabilities *c, const struct jp *at_key)
{
	for (unsigned i = 0; i < CAPABILITY_COUNT; i++) {
		struct jp p = *at_key;
		if (!jp_is(&p, rows[i].name)) continue;
		bool is_fine = readers[i](&p, jp_next(&p), c) && !((c->known | c->malformed) >> i & 1);
		if (is_fine) c->known |= 1u << i;
		else c->malformed |= 1u << i;
	}
}

enum err capabilities_parse(struct capabilities *c, const char *text, size_t len, struct fault *f)
{
	struct jp p;
	enum jp_event e;
	capabilities_init(c);
	jp_init(&p, text, len);
	if (jp_next(&p) == JP_OBJECT) {
		while ((e = jp_next(&p)) == JP_KEY) {
			read_member(c, &p);
			if (!jp_skip(&p, jp_next(&p))) break;
		}
		if (e == JP_OBJECT_END && jp_next(&p) == JP_END) {
			c->known &= ~c->malformed;
			return ERR_OK;
		}
	}
	capabilities_init(c);
	return fault_set(f, ERR_BAD_REQUEST, "", "not a JSON object: %s at byte %zu", p.error != NULL ? p.error : "another value", p.at);
}

void capabilities_set_firmware(struct capabilities *c, const char *version)
{
	bool is_known = c->known >> CAPABILITY_FIRMWARE & 1;
	for (unsigned i = 0; is_known && i < c->firmware_count; i++)
		if (c->firmware[i].name[0] == '\0') return;
	if (!is_known) c->firmware_count = 0;
	if (add_firmware(c, (struct slice){"", 0}, (struct slice){version, strlen(version)}))
		c->known |= 1u << CAPABILITY_FIRMWARE;
}

void capabilities_set_input(struct capabilities *c, const char *model, const struct requirement_input *inputs,
                            unsigned count)
{
	bool is_known = c->known >> CAPABILITY_INPUT & 1;
	if (!is_known) c->input_count = 0;
	for (unsigned i = 0; i < c->input_count; i++)
		if (c->inputs[i].model[0] == '\0' || strcmp(c->inputs[i].model, model) == 0) return;
	if (c->input_count == CAPABILITY_INPUTS || count == 0 || count > REQUIREMENT_INPUTS) return;
	struct capability_input *in = &c->inputs[c->input_count];
	if (!slice_copy((struct slice){model, strlen(model)}, in->model, sizeof in->model)) return;
	memcpy(in->inputs, inputs, count * sizeof *inputs);
	in->count = count;
	c->input_count++;
	c->known |= 1u << CAPABILITY_INPUT;
}
