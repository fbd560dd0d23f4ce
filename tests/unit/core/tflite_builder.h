/* Writes small TensorFlow Lite files for tests: a FlatBuffer from its root down, parents before children. */
#ifndef AVIARY_TESTS_TFLITE_BUILDER_H
#define AVIARY_TESTS_TFLITE_BUILDER_H

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct writer {
	uint8_t *data;
	size_t len, cap;
};

/* One field of a table: scalars have a value, offsets are linked later. */
struct cell {
	unsigned id, width;
	uint64_t value;
};

static inline void w_pad(struct writer *w, size_t to)
{
	while (w->len % to != 0) w->data[w->len++] = 0;
}

static inline size_t w_put(struct writer *w, unsigned width, uint64_t value)
{
	size_t at = w->len;
	assert(w->len + width <= w->cap);
	for (unsigned i = 0; i < width; i++) w->data[w->len++] = (uint8_t)(value >> 8 * i);
	return at;
}

static inline void w_set(struct writer *w, size_t at, unsigned width, uint64_t value)
{
	for (unsigned i = 0; i < width; i++) w->data[at + i] = (uint8_t)(value >> 8 * i);
}

static inline uint64_t w_get(const struct writer *w, size_t at, unsigned width)
{
	uint64_t value = 0;
	for (unsigned i = width; i-- > 0;) value = value << 8 | w->data[at + i];
	return value;
}

static inline void w_link(struct writer *w, size_t at, size_t target)
{
	w_set(w, at, 4, target - at);
}

/* Position of the table; its vtable is before it. */
static inline size_t w_table(struct writer *w, const struct cell *cells, unsigned count)
{
	unsigned last = 0, size = 4;
	uint16_t offsets[32] = {0};
	for (unsigned i = 0; i < count; i++) {
		if (cells[i].id + 1 > last) last = cells[i].id + 1;
		size = (size + cells[i].width - 1) / cells[i].width * cells[i].width;
		offsets[cells[i].id] = (uint16_t)size;
		size += cells[i].width;
	}
	w_pad(w, 2);
	size_t vtable = w_put(w, 2, 4 + 2 * last);
	w_put(w, 2, size);
	for (unsigned i = 0; i < last; i++) w_put(w, 2, offsets[i]);
	w_pad(w, 8);
	size_t table = w_put(w, 4, w->len - vtable);
	for (unsigned i = 0; i < size - 4; i++) w_put(w, 1, 0);
	for (unsigned i = 0; i < count; i++) w_set(w, table + offsets[cells[i].id], cells[i].width, cells[i].value);
	return table;
}

/* Where field `id` of a table is. */
static inline size_t w_field(const struct writer *w, size_t table, unsigned id)
{
	size_t vtable = table - (size_t)w_get(w, table, 4);
	return table + (size_t)w_get(w, vtable + 4 + 2 * id, 2);
}

/* Links field `id` to a new vector; returns the position of its first element. */
static inline size_t w_vector(struct writer *w, size_t table, unsigned id, unsigned width, uint32_t count)
{
	w_pad(w, 4);
	w_link(w, w_field(w, table, id), w->len);
	w_put(w, 4, count);
	size_t at = w->len;
	for (uint64_t i = 0; i < (uint64_t)width * count; i++) w_put(w, 1, 0);
	return at;
}

static inline void w_text(struct writer *w, size_t table, unsigned id, const char *text)
{
	size_t len = strlen(text), at = w_vector(w, table, id, 1, (uint32_t)len);
	memcpy(w->data + at, text, len);
	w_put(w, 1, 0);
}

static inline void w_ints(struct writer *w, size_t table, unsigned id, const int32_t *values, uint32_t count)
{
	size_t at = w_vector(w, table, id, 4, count);
	for (uint32_t i = 0; i < count; i++) w_set(w, at + 4 * i, 4, (uint32_t)values[i]);
}

/* ---- a model by its parts; lists end as their counts say ---- */

enum { F32 = 0, I32 = 2, U8 = 3, STRING = 5, BOOL = 6, I16 = 7, I8 = 9, RESOURCE = 13, I4 = 17 };

struct b_tensor {
	const char *name;
	int type;
	int rank;
	int32_t dims[9];
	int64_t data;      /* bytes of a constant; 0: none */
	int variable;
	int scales;        /* 0: no quantisation */
	int open;          /* 1 + number of the dimension that the signature leaves open; 0: no signature */
};
struct b_op {
	int code;          /* BuiltinOperator */
	int version;
	const char *custom;
	int inputs[25], input_count, outputs[4], output_count;
	int options_type;
	int option_width, options[5], option_count; /* scalars of that width */
	int intermediates[2], intermediate_count;
};
struct b_graph {
	const struct b_tensor *tensors;
	int tensor_count;
	const struct b_op *ops;
	int op_count;
	int inputs[4], input_count, outputs[4], output_count;
};
struct b_model {
	const struct b_graph *graphs;
	int graph_count;
	const int32_t *offline; /* words of the offline plan; NULL: none */
	int offline_count;
	int signatures;
};

static inline void b_tensor(struct writer *w, size_t slot, const struct b_tensor *t, unsigned buffer)
{
	struct cell cells[7] = {{0, 4, 0}, {1, 1, (uint64_t)t->type}, {2, 4, buffer}, {3, 4, 0}, {5, 1, (uint64_t)t->variable}};
	unsigned count = 5;
	if (t->scales > 0) cells[count++] = (struct cell){4, 4, 0};
	if (t->open > 0) cells[count++] = (struct cell){7, 4, 0};
	size_t table = w_table(w, cells, count);
	w_link(w, slot, table);
	w_ints(w, table, 0, t->dims, (uint32_t)t->rank);
	w_text(w, table, 3, t->name != NULL ? t->name : "");
	if (t->open > 0) {
		int32_t dims[9];
		memcpy(dims, t->dims, sizeof dims);
		dims[t->open - 1] = -1;
		w_ints(w, table, 7, dims, (uint32_t)t->rank);
	}
	if (t->scales == 0) return;
	struct cell quant[] = {{2, 4, 0}, {3, 4, 0}, {6, 4, 0}};
	size_t q = w_table(w, quant, 3);
	w_link(w, w_field(w, table, 4), q);
	size_t scale = w_vector(w, q, 2, 4, (uint32_t)t->scales);
	for (int i = 0; i < t->scales; i++) w_set(w, scale + 4 * (size_t)i, 4, 0x3f000000); /* 0.5 */
	size_t zero = w_vector(w, q, 3, 8, (uint32_t)t->scales);
	for (int i = 0; i < t->scales; i++) w_set(w, zero + 8 * (size_t)i, 8, t->type == I16 ? 0 : (uint64_t)(int64_t)-128);
}

static inline void b_op(struct writer *w, size_t slot, const struct b_op *op, unsigned code)
{
	struct cell cells[] = {{0, 4, code}, {1, 4, 0}, {2, 4, 0}, {8, 4, 0}, {3, 1, (uint64_t)op->options_type}, {4, 4, 0}};
	size_t table = w_table(w, cells, op->options_type != 0 ? 6 : 4);
	w_link(w, slot, table);
	w_ints(w, table, 1, op->inputs, (uint32_t)op->input_count);
	w_ints(w, table, 2, op->outputs, (uint32_t)op->output_count);
	w_ints(w, table, 8, op->intermediates, (uint32_t)op->intermediate_count);
	if (op->options_type == 0) return;
	struct cell options[5];
	for (int i = 0; i < op->option_count; i++)
		options[i] = (struct cell){(unsigned)i, (unsigned)op->option_width, (uint64_t)(int64_t)op->options[i]};
	w_link(w, w_field(w, table, 4), w_table(w, options, (unsigned)op->option_count));
}

static inline void b_graph(struct writer *w, size_t slot, const struct b_graph *g, unsigned *code, unsigned *buffer)
{
	struct cell cells[] = {{0, 4, 0}, {1, 4, 0}, {2, 4, 0}, {3, 4, 0}};
	size_t table = w_table(w, cells, 4);
	w_link(w, slot, table);
	w_ints(w, table, 1, g->inputs, (uint32_t)g->input_count);
	w_ints(w, table, 2, g->outputs, (uint32_t)g->output_count);
	size_t tensors = w_vector(w, table, 0, 4, (uint32_t)g->tensor_count);
	for (int i = 0; i < g->tensor_count; i++)
		b_tensor(w, tensors + 4 * (size_t)i, &g->tensors[i], g->tensors[i].data != 0 ? (*buffer)++ : 0);
	size_t ops = w_vector(w, table, 3, 4, (uint32_t)g->op_count);
	for (int i = 0; i < g->op_count; i++) b_op(w, ops + 4 * (size_t)i, &g->ops[i], (*code)++);
}

/* An operator code for each operator. */
static inline void b_codes(struct writer *w, size_t root, const struct b_model *m)
{
	uint32_t count = 0;
	for (int g = 0; g < m->graph_count; g++) count += (uint32_t)m->graphs[g].op_count;
	size_t at = w_vector(w, root, 1, 4, count);
	for (int g = 0; g < m->graph_count; g++) {
		for (int i = 0; i < m->graphs[g].op_count; i++, at += 4) {
			const struct b_op *op = &m->graphs[g].ops[i];
			struct cell cells[] = {{0, 1, (uint64_t)(op->code < 127 ? op->code : 127)}, {2, 4, (uint64_t)op->version},
			                       {3, 4, (uint64_t)op->code}, {1, 4, 0}};
			size_t code = w_table(w, cells, op->custom != NULL ? 4 : 3);
			w_link(w, at, code);
			if (op->custom != NULL) w_text(w, code, 1, op->custom);
		}
	}
}

static inline void b_buffer(struct writer *w, size_t slot, int64_t bytes)
{
	struct cell cells[] = {{0, 4, 0}};
	size_t table = w_table(w, cells, bytes > 0 ? 1 : 0);
	w_link(w, slot, table);
	if (bytes > 0) w_vector(w, table, 0, 1, (uint32_t)bytes);
}

static inline void b_buffers(struct writer *w, size_t root, const struct b_model *m)
{
	uint32_t count = 1 + (m->offline != NULL);
	for (int g = 0; g < m->graph_count; g++)
		for (int i = 0; i < m->graphs[g].tensor_count; i++) count += m->graphs[g].tensors[i].data != 0;
	size_t at = w_vector(w, root, 4, 4, count);
	b_buffer(w, at, 0);
	for (int g = 0; g < m->graph_count; g++) {
		for (int i = 0; i < m->graphs[g].tensor_count; i++) {
			int64_t bytes = m->graphs[g].tensors[i].data;
			if (bytes != 0) b_buffer(w, at += 4, bytes);
		}
	}
	if (m->offline == NULL) return;
	struct cell cells[] = {{0, 4, 0}};
	size_t table = w_table(w, cells, 1);
	w_link(w, at + 4, table);
	size_t words = w_vector(w, table, 0, 1, 4 * (uint32_t)m->offline_count);
	for (int i = 0; i < m->offline_count; i++) w_set(w, words + 4 * (size_t)i, 4, (uint32_t)m->offline[i]);
	struct cell meta[] = {{0, 4, 0}, {1, 4, count - 1}};
	size_t list = w_vector(w, root, 6, 4, 1), entry = w_table(w, meta, 2);
	w_link(w, list, entry);
	w_text(w, entry, 0, "OfflineMemoryAllocation");
}

static inline void b_signature(struct writer *w, size_t root)
{
	struct cell cells[] = {{0, 4, 0}, {2, 4, 0}, {4, 4, 0}}, map[] = {{0, 4, 0}, {1, 4, 0}};
	size_t list = w_vector(w, root, 7, 4, 1), s = w_table(w, cells, 3);
	w_link(w, list, s);
	w_text(w, s, 2, "serving_default");
	size_t names = w_vector(w, s, 0, 4, 1), entry = w_table(w, map, 2);
	w_link(w, names, entry);
	w_text(w, entry, 0, "x");
}

/* The file; free its data. */
static inline struct writer b_model(const struct b_model *m)
{
	struct writer w = {calloc(1, 1 << 22), 0, 1 << 22};
	struct cell cells[7] = {{0, 4, 3}, {1, 4, 0}, {2, 4, 0}, {3, 4, 0}, {4, 4, 0}};
	unsigned code = 0, buffer = 1, count = 5;
	w_put(&w, 4, 0);
	w_put(&w, 4, 0x334c4654); /* TFL3 */
	if (m->offline != NULL) cells[count++] = (struct cell){6, 4, 0};
	if (m->signatures != 0) cells[count++] = (struct cell){7, 4, 0};
	size_t root = w_table(&w, cells, count);
	w_link(&w, 0, root);
	w_text(&w, root, 3, "made by a test");
	b_codes(&w, root, m);
	size_t graphs = w_vector(&w, root, 2, 4, (uint32_t)m->graph_count);
	for (int i = 0; i < m->graph_count; i++) b_graph(&w, graphs + 4 * (size_t)i, &m->graphs[i], &code, &buffer);
	b_buffers(&w, root, m);
	if (m->signatures != 0) b_signature(&w, root);
	w_pad(&w, 16);
	return w;
}

#endif
