#include "base/json.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jpull.h"

enum {
	NUMBER_TEXT = 63,       /* cJSON copies a number into a buffer of this size, and would read a longer one as two */
	DEFAULT_STR_BYTES = 1024, /* of a FIELD_STR without bounds */
	STRS_ITEM_BYTES = 256
};

static const cJSON *node(const struct json *j)
{
	return (const cJSON *)j;
}

static const struct json *wrap(const cJSON *c)
{
	return (const struct json *)c;
}

/* ---- parsing ---- */

/* cJSON alone is lax (UTF-8, escapes, NUL, control characters), so the pull parser judges the text first. Where `key`
 * is not 0, stops at the key-th member name (from 1) and gives its offset. */
static enum err check_text(const char *text, size_t len, size_t key, size_t *key_offset, struct fault *f)
{
	struct jp p;
	jp_init(&p, text, len);
	for (;;) {
		double value;
		enum jp_event event = jp_next(&p);
		if (event == JP_ERROR) return fault_set(f, ERR_BAD_REQUEST, "", "not JSON: %s at byte %zu", p.error, p.at);
		if (event == JP_END) return ERR_OK;
		if (event == JP_NUMBER && (p.token_len > NUMBER_TEXT || !jp_double(&p, &value)))
			return fault_set(f, ERR_BAD_REQUEST, "", "number out of range at byte %zu", (size_t)(p.token - text));
		if (event == JP_KEY && key > 0 && --key == 0) {
			*key_offset = (size_t)(p.token - text) - 1;
			return ERR_OK;
		}
	}
}

static int compare_names(const void *a, const void *b)
{
	const cJSON *x = *(const cJSON *const *)a, *y = *(const cJSON *const *)b;
	return strcmp(x->string, y->string);
}

/* The members of an object in the order of their names' bytes; NULL for an empty one. free() it. */
static const cJSON **sort_members(const cJSON *object, size_t *count)
{
	size_t n = 0;
	for (const cJSON *m = object->child; m; m = m->next) n++;
	*count = n;
	if (n == 0) return NULL;
	const cJSON **sorted = malloc(n * sizeof *sorted);
	if (sorted == NULL) abort();
	n = 0;
	for (const cJSON *m = object->child; m; m = m->next) sorted[n++] = m;
	qsort(sorted, n, sizeof *sorted, compare_names);
	return sorted;
}

/* The second of two members with one name, or NULL. */
static const cJSON *find_duplicate(const cJSON *object)
{
	size_t count;
	const cJSON **sorted = sort_members(object, &count), *found = NULL;
	for (size_t i = 1; i < count && !found; i++) {
		if (strcmp(sorted[i - 1]->string, sorted[i]->string) != 0) continue;
		const cJSON *first = NULL;
		for (const cJSON *m = object->child; m && !found; m = m->next) {
			if (strcmp(m->string, sorted[i]->string) != 0) continue;
			if (first) found = m;
			first = m;
		}
	}
	free(sorted);
	return found;
}

/* "/name" with ~ and / escaped (RFC 6901), cut to what a fault can hold. */
static void pointer_member(char out[128], const char *name)
{
	size_t n = 0;
	out[n++] = '/';
	for (size_t step; *name && n < 124; name += step) {
		step = jp_utf8_len(name, strlen(name));
		assert(step > 0);
		if (*name == '~' || *name == '/') {
			out[n++] = '~';
			out[n++] = *name == '~' ? '0' : '1';
		} else {
			memcpy(out + n, name, step);
			n += step;
		}
	}
	out[n] = '\0';
}

static void pointer_index(char out[128], size_t index)
{
	snprintf(out, 128, "/%zu", index);
}

static enum err prefix_step(struct fault *f, enum err e, const cJSON *parent, const cJSON *child)
{
	char step[128];
	size_t index = 0;
	if (cJSON_IsObject(parent)) {
		pointer_member(step, child->string);
	} else {
		for (const cJSON *c = parent->child; c != child; c = c->next) index++;
		pointer_index(step, index);
	}
	fault_prefix(f, step);
	return e;
}

/* Walks in document order and counts member names, so that a duplicate's offset can be found in the text. Depth is at
 * most JP_MAX_DEPTH here. */
static const cJSON *walk_duplicates(const cJSON *container, size_t *keys, struct fault *f)
{
	const cJSON *duplicate = cJSON_IsObject(container) ? find_duplicate(container) : NULL;
	for (const cJSON *c = container->child; c; c = c->next) {
		if (c->string) ++*keys;
		if (c == duplicate) {
			fault_set(f, ERR_BAD_REQUEST, "", "duplicate member name");
			prefix_step(f, ERR_OK, container, c);
			return c;
		}
		const cJSON *inner = c->child ? walk_duplicates(c, keys, f) : NULL;
		if (inner) {
			prefix_step(f, ERR_OK, container, c);
			return inner;
		}
	}
	return NULL;
}

enum err json_parse(const char *text, size_t len, struct json **root, struct fault *f)
{
	size_t keys = 0, offset = 0;
	*root = NULL;
	enum err e = check_text(text, len, 0, NULL, f);
	if (e != ERR_OK) return e;
	cJSON *tree = cJSON_ParseWithLength(text, len);
	if (tree == NULL) return fault_set(f, ERR_INTERNAL, "", "the document could not be built");
	struct fault inner = {"", ""};
	if (walk_duplicates(tree, &keys, &inner)) {
		e = check_text(text, len, keys, &offset, NULL);
		assert(e == ERR_OK);
		cJSON_Delete(tree);
		return fault_set(f, ERR_BAD_REQUEST, inner.pointer, "%s at byte %zu", inner.detail, offset);
	}
	*root = (struct json *)tree;
	return ERR_OK;
}

void json_free(struct json *root)
{
	cJSON_Delete((cJSON *)root);
}

/* ---- walking ---- */

enum json_type json_type(const struct json *j)
{
	const cJSON *c = node(j);
	if (cJSON_IsObject(c)) return JSON_OBJECT;
	if (cJSON_IsArray(c)) return JSON_ARRAY;
	if (cJSON_IsString(c)) return JSON_STRING;
	if (cJSON_IsNumber(c)) return JSON_NUMBER;
	if (cJSON_IsBool(c)) return JSON_BOOL;
	return JSON_NULL;
}

const struct json *json_get(const struct json *object, const char *key)
{
	return object && cJSON_IsObject(node(object)) ? wrap(cJSON_GetObjectItemCaseSensitive(node(object), key)) : NULL;
}

const struct json *json_first(const struct json *container)
{
	return container ? wrap(node(container)->child) : NULL;
}

const struct json *json_next(const struct json *child)
{
	return child ? wrap(node(child)->next) : NULL;
}

size_t json_count(const struct json *container)
{
	size_t n = 0;
	for (const struct json *c = json_first(container); c; c = json_next(c)) n++;
	return n;
}

const char *json_name(const struct json *member)
{
	return member ? node(member)->string : NULL;
}

const char *json_text(const struct json *string)
{
	return string && cJSON_IsString(node(string)) ? node(string)->valuestring : NULL;
}

double json_number(const struct json *number)
{
	return number && cJSON_IsNumber(node(number)) ? node(number)->valuedouble : 0;
}

bool json_is_true(const struct json *boolean)
{
	return boolean && cJSON_IsTrue(node(boolean));
}

bool json_is_integer(const struct json *number, int64_t *value)
{
	if (number == NULL || !cJSON_IsNumber(node(number))) return false;
	double v = node(number)->valuedouble;
	if (!(fabs(v) <= 9007199254740992.0) || v != floor(v)) return false;
	*value = (int64_t)v;
	return true;
}

static void print_node(const cJSON *c, bool canonical, struct buf *out);

static void print_object(const cJSON *object, bool canonical, struct buf *out)
{
	size_t count;
	json_open_object(out);
	if (canonical) {
		const cJSON **sorted = sort_members(object, &count);
		for (size_t i = 0; i < count; i++) {
			json_key(out, sorted[i]->string);
			print_node(sorted[i], canonical, out);
		}
		free(sorted);
	} else {
		for (const cJSON *m = object->child; m; m = m->next) {
			json_key(out, m->string);
			print_node(m, canonical, out);
		}
	}
	json_close_object(out);
}

static void print_node(const cJSON *c, bool canonical, struct buf *out)
{
	switch (json_type(wrap(c))) {
	case JSON_OBJECT: print_object(c, canonical, out); return;
	case JSON_ARRAY:
		json_open_array(out);
		for (const cJSON *i = c->child; i; i = i->next) print_node(i, canonical, out);
		json_close_array(out);
		return;
	case JSON_STRING: json_put_str(out, c->valuestring); return;
	case JSON_NUMBER: json_put_num(out, c->valuedouble); return;
	case JSON_BOOL: json_put_bool(out, cJSON_IsTrue(c)); return;
	case JSON_NULL: json_put_null(out); return;
	}
}

void json_print(const struct json *j, struct buf *out)
{
	print_node(node(j), false, out);
}

void json_print_canonical(const struct json *j, struct buf *out)
{
	print_node(node(j), true, out);
}

/* ---- binding ---- */

static void *member_of(void *base, size_t offset)
{
	return (char *)base + offset;
}

static const void *const_member_of(const void *base, size_t offset)
{
	return (const char *)base + offset;
}

static bool is_unbounded(const struct field *field)
{
	return field->min == 0 && field->max == 0;
}

/* Refuses a measure outside min..max: `what` is how the sentence begins, "must have", `unit` how it ends, "bytes". */
static enum err check_bounds(const struct field *field, double v, const char *what, const char *unit, struct fault *f)
{
	if (is_unbounded(field) || (v >= field->min && v <= field->max)) return ERR_OK;
	return fault_set(f, ERR_INVALID, "", "%s %.15g to %.15g%s", what, field->min, field->max, unit);
}

static enum err bind_str(const struct field *field, const cJSON *v, void *member, struct arena *a, struct fault *f)
{
	if (!cJSON_IsString(v)) return fault_set(f, ERR_INVALID, "", "must be a string");
	struct field bounds = *field;
	if (is_unbounded(field)) bounds.max = DEFAULT_STR_BYTES;
	enum err e = check_bounds(&bounds, (double)strlen(v->valuestring), "must have", " bytes", f);
	if (e == ERR_OK) *(const char **)member = arena_strdup(a, v->valuestring);
	return e;
}

static enum err bind_int(const struct field *field, const cJSON *v, void *member, struct arena *a, struct fault *f)
{
	int64_t i;
	(void)a;
	if (!json_is_integer(wrap(v), &i)) {
		if (is_unbounded(field)) return fault_set(f, ERR_INVALID, "", "must be an integer");
		return fault_set(f, ERR_INVALID, "", "must be an integer from %.15g to %.15g", field->min, field->max);
	}
	enum err e = check_bounds(field, (double)i, "must be an integer from", "", f);
	if (e == ERR_OK) *(int64_t *)member = i;
	return e;
}

static enum err bind_num(const struct field *field, const cJSON *v, void *member, struct arena *a, struct fault *f)
{
	(void)a;
	if (!cJSON_IsNumber(v)) {
		if (is_unbounded(field)) return fault_set(f, ERR_INVALID, "", "must be a number");
		return fault_set(f, ERR_INVALID, "", "must be a number from %.15g to %.15g", field->min, field->max);
	}
	enum err e = check_bounds(field, v->valuedouble, "must be a number from", "", f);
	if (e == ERR_OK) *(double *)member = v->valuedouble;
	return e;
}

static enum err bind_bool(const struct field *field, const cJSON *v, void *member, struct arena *a, struct fault *f)
{
	(void)field;
	(void)a;
	if (!cJSON_IsBool(v)) return fault_set(f, ERR_INVALID, "", "must be true or false");
	*(bool *)member = cJSON_IsTrue(v);
	return ERR_OK;
}

/* The next of the space-separated choices and its length; NULL at the end. */
static const char *next_choice(const char **at, size_t *len)
{
	*at += strspn(*at, " ");
	const char *word = *at;
	*len = strcspn(word, " ");
	*at += *len;
	return *len > 0 ? word : NULL;
}

static enum err bind_enum(const struct field *field, const cJSON *v, void *member, struct arena *a, struct fault *f)
{
	const char *at = field->choices, *word;
	size_t len;
	while (cJSON_IsString(v) && (word = next_choice(&at, &len)) != NULL) {
		if (strlen(v->valuestring) != len || memcmp(v->valuestring, word, len) != 0) continue;
		*(const char **)member = arena_strndup(a, word, len);
		return ERR_OK;
	}
	return fault_set(f, ERR_INVALID, "", "must be one of: %s", field->choices);
}

static enum err bind_strs(const struct field *field, const cJSON *v, void *member, struct arena *a, struct fault *f)
{
	if (!cJSON_IsArray(v)) return fault_set(f, ERR_INVALID, "", "must be an array of strings");
	struct json_strs strs = {NULL, json_count(wrap(v))};
	enum err e = check_bounds(field, (double)strs.count, "must have", " items", f);
	if (e != ERR_OK) return e;
	strs.items = arena_array(a, strs.count, sizeof *strs.items);
	size_t i = 0;
	for (const cJSON *c = v->child; c; c = c->next) {
		if (!cJSON_IsString(c)) return prefix_step(f, fault_set(f, ERR_INVALID, "", "must be a string"), v, c);
		if (strlen(c->valuestring) > STRS_ITEM_BYTES)
			return prefix_step(f, fault_set(f, ERR_INVALID, "", "must have at most %d bytes", STRS_ITEM_BYTES), v, c);
		strs.items[i++] = arena_strdup(a, c->valuestring);
	}
	*(struct json_strs *)member = strs;
	return ERR_OK;
}

static enum err bind_object(const struct field *field, const cJSON *v, void *member, struct arena *a, struct fault *f)
{
	return json_bind(field->fields, wrap(v), member, a, f);
}

static enum err bind_objects(const struct field *field, const cJSON *v, void *member, struct arena *a, struct fault *f)
{
	if (!cJSON_IsArray(v)) return fault_set(f, ERR_INVALID, "", "must be an array of objects");
	struct json_objects objects = {NULL, json_count(wrap(v))};
	enum err e = check_bounds(field, (double)objects.count, "must have", " items", f);
	if (e != ERR_OK) return e;
	char *item = arena_array(a, objects.count, field->item_bytes);
	objects.items = item;
	for (const cJSON *c = v->child; c; c = c->next, item += field->item_bytes) {
		e = json_bind(field->fields, wrap(c), item, a, f);
		if (e != ERR_OK) return prefix_step(f, e, v, c);
	}
	*(struct json_objects *)member = objects;
	return ERR_OK;
}

static enum err bind_any(const struct field *field, const cJSON *v, void *member, struct arena *a, struct fault *f)
{
	struct buf text = BUF_INIT;
	json_print(wrap(v), &text);
	enum err e = check_bounds(field, (double)text.len, "as compact text must have", " bytes", f);
	if (e == ERR_OK) *(const char **)member = arena_strndup(a, text.data, text.len);
	buf_done(&text);
	return e;
}

static enum err bind_doc(const struct field *field, const cJSON *v, void *member, struct arena *a, struct fault *f)
{
	if (!cJSON_IsObject(v)) return fault_set(f, ERR_INVALID, "", "must be an object");
	return bind_any(field, v, member, a, f);
}

static enum err (*const binders[])(const struct field *, const cJSON *, void *, struct arena *, struct fault *) = {
    [FIELD_STR] = bind_str,         [FIELD_INT] = bind_int,   [FIELD_NUM] = bind_num,   [FIELD_BOOL] = bind_bool,
    [FIELD_ENUM] = bind_enum,       [FIELD_STRS] = bind_strs, [FIELD_OBJECT] = bind_object,
    [FIELD_OBJECTS] = bind_objects, [FIELD_DOC] = bind_doc,   [FIELD_ANY] = bind_any};

static const struct field *find_field(const struct field *fields, const char *name)
{
	for (; fields->name; fields++)
		if (strcmp(fields->name, name) == 0) return fields;
	return NULL;
}

static enum err bind_member(const struct field *fields, const cJSON *m, void *out, struct arena *a, struct fault *f)
{
	const struct field *field = find_field(fields, m->string);
	if (field == NULL) return fault_set(f, ERR_INVALID, "", "unknown member");
	if (field->flags & FIELD_READONLY) return fault_set(f, ERR_INVALID, "", "is read-only");
	if (cJSON_IsNull(m) && (field->flags & FIELD_NULLABLE)) return ERR_OK;
	enum err e = binders[field->type](field, m, member_of(out, field->offset), a, f);
	if (e == ERR_OK && field->present_offset) *(bool *)member_of(out, field->present_offset) = true;
	return e;
}

enum err json_bind(const struct field *fields, const struct json *object, void *out, struct arena *a, struct fault *f)
{
	char step[128];
	if (object == NULL || !cJSON_IsObject(node(object))) return fault_set(f, ERR_INVALID, "", "must be an object");
	for (const cJSON *m = node(object)->child; m; m = m->next) {
		enum err e = bind_member(fields, m, out, a, f);
		if (e != ERR_OK) return prefix_step(f, e, node(object), m);
	}
	for (; fields->name; fields++) {
		bool is_wanted = (fields->flags & FIELD_REQUIRED) && !(fields->flags & FIELD_READONLY);
		if (!is_wanted || json_get(object, fields->name)) continue;
		pointer_member(step, fields->name);
		return fault_set(f, ERR_INVALID, step, "is required");
	}
	return ERR_OK;
}

/* ---- encoding ---- */

static bool is_zero(const struct field *field, const void *member)
{
	const char *text;
	switch (field->type) {
	case FIELD_STR:
	case FIELD_ENUM:
	case FIELD_DOC:
	case FIELD_ANY: text = *(const char *const *)member; return text == NULL || *text == '\0';
	case FIELD_INT: return *(const int64_t *)member == 0;
	case FIELD_NUM: return !(*(const double *)member < 0 || *(const double *)member > 0);
	case FIELD_BOOL: return !*(const bool *)member;
	case FIELD_STRS: return ((const struct json_strs *)member)->count == 0;
	case FIELD_OBJECTS: return ((const struct json_objects *)member)->count == 0;
	case FIELD_OBJECT: break;
	}
	return false;
}

static bool is_left_out(const struct field *field, const void *member)
{
	if (field->flags & FIELD_WRITEONLY) return true;
	bool is_text = field->type == FIELD_STR || field->type == FIELD_ENUM || field->type == FIELD_DOC ||
	               field->type == FIELD_ANY;
	if (is_text && *(const char *const *)member == NULL) return true;
	return (field->flags & FIELD_OMIT_ZERO) && is_zero(field, member);
}

static void encode_value(const struct field *field, const void *member, struct buf *out)
{
	const struct json_strs *strs = member;
	const struct json_objects *objects = member;
	switch (field->type) {
	case FIELD_STR:
	case FIELD_ENUM: json_put_str(out, *(const char *const *)member); return;
	case FIELD_INT: json_put_int(out, *(const int64_t *)member); return;
	case FIELD_NUM: json_put_num(out, *(const double *)member); return;
	case FIELD_BOOL: json_put_bool(out, *(const bool *)member); return;
	case FIELD_DOC:
	case FIELD_ANY: json_put_raw(out, *(const char *const *)member); return;
	case FIELD_STRS:
		json_open_array(out);
		for (size_t i = 0; i < strs->count; i++) json_put_str(out, strs->items[i]);
		json_close_array(out);
		return;
	case FIELD_OBJECT: json_encode(field->fields, member, out); return;
	case FIELD_OBJECTS:
		json_open_array(out);
		for (size_t i = 0; i < objects->count; i++)
			json_encode(field->fields, (const char *)objects->items + i * field->item_bytes, out);
		json_close_array(out);
		return;
	}
}

/* A nested object whose members are all left out is left out too where FIELD_OMIT_ZERO says so. */
static void encode_member(const struct field *field, const void *member, struct buf *out)
{
	size_t before = out->len;
	json_key(out, field->name);
	size_t value_at = out->len;
	encode_value(field, member, out);
	bool is_empty = out->len - value_at == 2 && field->type == FIELD_OBJECT;
	if (!is_empty || !(field->flags & FIELD_OMIT_ZERO)) return;
	out->len = before;
	out->data[before] = '\0';
}

void json_encode(const struct field *fields, const void *in, struct buf *out)
{
	json_open_object(out);
	for (; fields->name; fields++) {
		const void *member = const_member_of(in, fields->offset);
		if (!is_left_out(fields, member)) encode_member(fields, member, out);
	}
	json_close_object(out);
}

/* ---- JSON Schema ---- */

/* Bounds are what a request must keep; a reply shows what is there, as 0 uses left of a token that was made with at least one. */
static void schema_bounds(const struct field *field, bool reply, const char *low, const char *high, struct buf *out)
{
	if (reply || is_unbounded(field)) return;
	if (strcmp(low, "minimum") == 0 || field->min > 0) json_num(out, low, field->min);
	json_num(out, high, field->max);
}

static void schema_type(const char *type, bool nullable, struct buf *out)
{
	json_key(out, "type");
	if (nullable) json_open_array(out);
	json_put_str(out, type);
	if (nullable) json_put_str(out, "null");
	if (nullable) json_close_array(out);
}

static void schema_choices(const struct field *field, bool nullable, struct buf *out)
{
	const char *at = field->choices, *word;
	size_t len;
	json_key(out, "enum");
	json_open_array(out);
	while ((word = next_choice(&at, &len)) != NULL) json_put_strn(out, word, len);
	if (nullable) json_put_null(out);
	json_close_array(out);
}

static void schema_object(const struct field *fields, bool reply, bool nullable, struct buf *out);

static void schema_items(const struct field *field, bool reply, struct buf *out)
{
	json_key(out, "items");
	if (field->type == FIELD_OBJECTS) {
		json_open_object(out);
		schema_object(field->fields, reply, false, out);
	} else {
		json_open_object(out);
		json_str(out, "type", "string");
		if (!reply) json_int(out, "maxLength", STRS_ITEM_BYTES);
	}
	json_close_object(out);
}

static void schema_field(const struct field *field, bool reply, struct buf *out)
{
	static const char *const types[] = {
	    [FIELD_STR] = "string",    [FIELD_INT] = "integer", [FIELD_NUM] = "number",    [FIELD_BOOL] = "boolean",
	    [FIELD_ENUM] = "string",   [FIELD_STRS] = "array",  [FIELD_OBJECT] = "object", [FIELD_OBJECTS] = "array",
	    [FIELD_DOC] = "object",    [FIELD_ANY] = NULL};
	bool nullable = (field->flags & FIELD_NULLABLE) != 0;
	json_key(out, field->name);
	json_open_object(out);
	if (field->type == FIELD_OBJECT) schema_object(field->fields, reply, nullable, out);
	else if (types[field->type]) schema_type(types[field->type], nullable, out);
	switch (field->type) {
	case FIELD_STR:
		if (is_unbounded(field) && !reply) json_int(out, "maxLength", DEFAULT_STR_BYTES);
		schema_bounds(field, reply, "minLength", "maxLength", out);
		break;
	case FIELD_INT:
	case FIELD_NUM: schema_bounds(field, reply, "minimum", "maximum", out); break;
	case FIELD_ENUM: schema_choices(field, nullable, out); break;
	case FIELD_STRS:
	case FIELD_OBJECTS:
		schema_bounds(field, reply, "minItems", "maxItems", out);
		schema_items(field, reply, out);
		break;
	default: break;
	}
	if (field->doc) json_str(out, "description", field->doc);
	if (field->flags & FIELD_READONLY) json_bool(out, "readOnly", true);
	if (field->flags & FIELD_WRITEONLY) json_bool(out, "writeOnly", true);
	json_close_object(out);
}

/* The members of a schema object that is already open. */
static void schema_object(const struct field *fields, bool reply, bool nullable, struct buf *out)
{
	const unsigned hidden = reply ? FIELD_WRITEONLY : FIELD_READONLY;
	bool any_required = false;
	schema_type("object", nullable, out);
	json_key(out, "properties");
	json_open_object(out);
	for (const struct field *field = fields; field->name; field++) {
		if (field->flags & hidden) continue;
		schema_field(field, reply, out);
		any_required |= (field->flags & FIELD_REQUIRED) != 0;
	}
	json_close_object(out);
	if (any_required && !reply) {
		json_key(out, "required");
		json_open_array(out);
		for (const struct field *field = fields; field->name; field++)
			if ((field->flags & FIELD_REQUIRED) && !(field->flags & hidden)) json_put_str(out, field->name);
		json_close_array(out);
	}
	json_bool(out, "additionalProperties", false);
}

void json_schema(const struct field *fields, bool reply, struct buf *out)
{
	json_open_object(out);
	schema_object(fields, reply, false, out);
	json_close_object(out);
}
