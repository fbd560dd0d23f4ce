#include "service/symbols.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

struct symbols {
	struct symbol **list; /* by id - 1 */
	size_t count, room;
	uint32_t *places; /* id, 0 = free; size is a power of two */
	size_t size;
	int64_t metrics, versions, models;
	int64_t saved;
};

static void *must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

struct symbols *symbols_new(void)
{
	struct symbols *s = must(calloc(1, sizeof *s));
	s->size = 256;
	s->places = must(calloc(s->size, sizeof *s->places));
	return s;
}

void symbols_free(struct symbols *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->count; i++)
		free(s->list[i]);
	free(s->list);
	free(s->places);
	free(s);
}

static uint64_t hash_of(bool is_metric, struct slice model, struct slice text)
{
	uint64_t h = str_hash(text.data, text.len);
	return is_metric ? h : ~h * 31 + str_hash(model.data, model.len);
}

static struct slice slice_of(const char *text)
{
	return (struct slice){text, strlen(text)};
}

/* The place where the name is, or where it would go. */
static uint32_t *place_of(const struct symbols *s, uint32_t *places, size_t size, bool is_metric, struct slice model, struct slice text)
{
	for (size_t i = (size_t)hash_of(is_metric, model, text) & (size - 1);; i = (i + 1) & (size - 1)) {
		const struct symbol *have = places[i] != 0 ? s->list[places[i] - 1] : NULL;
		if (have == NULL || (have->is_metric == is_metric && slice_equals(text, have->text) && slice_equals(model, have->model)))
			return &places[i];
	}
}

static void grow(struct symbols *s)
{
	size_t size = s->size * 2;
	uint32_t *places = must(calloc(size, sizeof *places));
	for (size_t i = 0; i < s->count; i++) {
		const struct symbol *y = s->list[i];
		*place_of(s, places, size, y->is_metric, slice_of(y->model), slice_of(y->text)) = (uint32_t)i + 1;
	}
	free(s->places);
	s->places = places;
	s->size = size;
}

static int64_t model_number(struct symbols *s, struct slice model)
{
	for (size_t i = 0; i < s->count; i++) {
		if (!s->list[i]->is_metric && slice_equals(model, s->list[i]->model))
			return s->list[i]->model_number;
	}
	return ++s->models;
}

static struct symbol *add(struct symbols *s, bool is_metric, struct slice model, struct slice text)
{
	if ((s->count + 1) * 2 > s->size)
		grow(s);
	if (s->count == s->room) {
		s->room = s->room ? s->room * 2 : 64;
		s->list = must(realloc(s->list, s->room * sizeof *s->list));
	}
	struct symbol *y = must(calloc(1, sizeof *y + model.len + text.len + 2));
	char *texts = (char *)(y + 1);
	if (model.len > 0)
		memcpy(texts, model.data, model.len);
	memcpy(texts + model.len + 1, text.data, text.len);
	*y = (struct symbol){(int64_t)s->count + 1, is_metric, texts, texts + model.len + 1, is_metric ? 0 : model_number(s, model), 0, -1};
	*place_of(s, s->places, s->size, is_metric, model, text) = (uint32_t)y->id;
	s->list[s->count++] = y;
	*(is_metric ? &s->metrics : &s->versions) += 1;
	return y;
}

void symbols_load(struct symbols *s, const struct stored_symbol *row)
{
	assert(row->id == (int64_t)s->count + 1); /* they are written in order and never deleted */
	add(s, strcmp(row->kind, "metric") == 0, slice_of(row->model), slice_of(row->text));
	s->saved = row->id;
}

const struct symbol *symbols_metric(struct symbols *s, struct slice name, int64_t max)
{
	uint32_t id = *place_of(s, s->places, s->size, true, (struct slice){"", 0}, name);
	if (id != 0)
		return s->list[id - 1];
	return s->metrics < max ? add(s, true, (struct slice){"", 0}, name) : NULL;
}

const struct symbol *symbols_version(struct symbols *s, struct slice model, struct slice version, int64_t max)
{
	uint32_t id = *place_of(s, s->places, s->size, false, model, version);
	if (id != 0)
		return s->list[id - 1];
	return s->versions < max ? add(s, false, model, version) : NULL;
}

const struct symbol *symbols_find_metric(const struct symbols *s, const char *name)
{
	uint32_t id = *place_of(s, s->places, s->size, true, (struct slice){"", 0}, slice_of(name));
	return id != 0 ? s->list[id - 1] : NULL;
}

const struct symbol *symbols_get(const struct symbols *s, int64_t id)
{
	return id >= 1 && id <= (int64_t)s->count ? s->list[id - 1] : NULL;
}

void symbols_note(struct symbols *s, int64_t metric, int64_t last_ms, int type)
{
	assert(metric >= 1 && metric <= (int64_t)s->count);
	s->list[metric - 1]->last_ms = last_ms;
	s->list[metric - 1]->type = type;
}

size_t symbols_count(const struct symbols *s)
{
	return s->count;
}

int64_t symbols_count_of(const struct symbols *s, bool is_metric)
{
	return is_metric ? s->metrics : s->versions;
}

int64_t symbols_saved_upto(const struct symbols *s)
{
	return s->saved;
}

void symbols_saved(struct symbols *s, int64_t upto)
{
	assert(upto <= (int64_t)s->count);
	s->saved = upto;
}
