#include "core/tflite_arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Beyond this the runtime's own arithmetic (32-bit signed) is over. */
#define PLANNED_BYTES_MAX INT64_C(0x7fffffff)

static void unknown(struct model_facts *facts, const char *fmt, ...) AVIARY_PRINTF(2, 3);
static void unknown(struct model_facts *facts, const char *fmt, ...)
{
	va_list args;
	if (facts->arena_unknown[0] != '\0') return;
	va_start(args, fmt);
	vsnprintf(facts->arena_unknown, sizeof facts->arena_unknown, fmt, args);
	va_end(args);
}

static bool is_known(const struct model_facts *facts)
{
	return facts->arena_unknown[0] == '\0';
}

/* Bytes of a tensor as the runtime counts them: packed types are unpacked, references take 4. 0 with false: it refuses
 * the type. */
static bool runtime_bytes(const struct tflite_tensor *x, uint64_t *bytes)
{
	unsigned bits = model_type_bits(x->type);
	if (x->type == MODEL_TYPE_INT4) bits = 8;
	if (x->type == MODEL_TYPE_RESOURCE) bits = 32;
	if (bits < 8 || x->type == MODEL_TYPE_FLOAT8) return false;
	*bytes = x->elements * (bits / 8);
	return true;
}

/* ---- lifetimes ---- */

static void make(int32_t *first, int32_t scope)
{
	if (*first == -1) *first = scope;
}

static void prepare_tensors(struct tflite *t, struct tflite_arena *a, unsigned graph, struct model_facts *facts)
{
	const struct tflite_subgraph *g = &t->graphs[graph];
	for (uint32_t i = 0; i < g->tensors.count && is_known(facts); i++) {
		struct arena_life *life = &a->lives[g->first_tensor + i];
		struct tflite_tensor x;
		tflite_tensor_shape(t, graph, i, &x);
		*life = (struct arena_life){0, -1, -1, ARENA_ONLINE, false};
		if (x.is_open)
			unknown(facts, "the shape of subgraphs[%u].tensors[%u] is open", graph, i);
		else if (!runtime_bytes(&x, &life->bytes))
			unknown(facts, "subgraphs[%u].tensors[%u] is of type %s", graph, i, model_type_name(x.type));
		else if (life->bytes > (uint64_t)PLANNED_BYTES_MAX && !x.has_data)
			unknown(facts, "subgraphs[%u].tensors[%u] is above 2 GiB", graph, i);
		else if (x.is_outside)
			unknown(facts, "constants of subgraphs[%u].tensors[%u] are outside the FlatBuffer", graph, i);
		life->is_planned = !x.has_data && !x.is_variable && life->bytes != 0;
		if (x.is_variable) a->tail_bytes += life->bytes + ARENA_ALIGNMENT;
	}
}

/* Scratch of every operator, in the order in which kernels are prepared: subgraph by subgraph. */
static void prepare_scratch(struct tflite *t, struct tflite_arena *a, unsigned graph, struct model_facts *facts)
{
	struct tflite_operator op;
	struct tflite_kernel kernel;
	char name[MODEL_NAME_BYTES];
	for (uint32_t i = 0; i < t->graphs[graph].operators.count && is_known(facts); i++) {
		tflite_operator(t, graph, i, &op);
		if (!tflite_kernel(t, graph, &op, &kernel)) {
			tflite_operator_name(&op, name, sizeof name);
			unknown(facts, "subgraphs[%u].operators[%u] is %.40s", graph, i, name);
			return;
		}
		a->tail_bytes += kernel.tail_bytes;
		for (unsigned n = 0; n < kernel.scratch_count; n++) {
			if (a->scratch_count == ARENA_SCRATCH_MAX || kernel.scratch[n] > (uint64_t)PLANNED_BYTES_MAX) {
				unknown(facts, "subgraphs[%u].operators[%u] asks for too much scratch memory", graph, i);
				return;
			}
			a->scratch[a->scratch_count++] = (struct arena_scratch){kernel.scratch[n], graph, i, -1, -1};
		}
	}
}

static void check_intermediates(struct tflite *t, struct tflite_arena *a, unsigned graph, const struct tflite_operator *op,
                                struct model_facts *facts)
{
	for (uint32_t i = 0; i < op->intermediates.count; i++) {
		int32_t index = flatbuf_item_i32(&t->fb, op->intermediates, i);
		if (index >= 0 && a->lives[t->graphs[graph].first_tensor + (uint32_t)index].bytes != 0)
			unknown(facts, "subgraphs[%u] has an intermediate tensor with a size", graph);
	}
}

static void mark_list(struct tflite *t, struct tflite_arena *a, unsigned graph, struct flatbuf_vector list, bool is_made,
                      bool is_used)
{
	for (uint32_t i = 0; i < list.count; i++) {
		int32_t index = flatbuf_item_i32(&t->fb, list, i);
		if (index < 0) continue;
		struct arena_life *life = &a->lives[t->graphs[graph].first_tensor + (uint32_t)index];
		if (is_made) make(&life->first, a->scope);
		if (is_used) life->last = a->scope;
	}
}

/* The scratch of an operator lives from its begin to the end of what it calls. Requests are in the order of graph and
 * node: found by halving. */
static void mark_scratch(struct tflite_arena *a, uint32_t graph, uint32_t node, int32_t begin)
{
	unsigned low = 0, high = a->scratch_count;
	uint64_t wanted = (uint64_t)graph << 32 | node;
	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		if (((uint64_t)a->scratch[middle].graph << 32 | a->scratch[middle].node) < wanted)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < a->scratch_count && a->scratch[low].graph == graph && a->scratch[low].node == node; low++) {
		make(&a->scratch[low].first, begin);
		a->scratch[low].last = a->scope;
	}
}

/* Recursion ends: the file was refused if a subgraph can reach itself. */
static void mark_subgraph(struct tflite *t, struct tflite_arena *a, unsigned graph, struct model_facts *facts)
{
	const struct tflite_subgraph *g = &t->graphs[graph];
	mark_list(t, a, graph, g->inputs, true, true);
	for (uint32_t i = 0; i < g->operators.count && is_known(facts); i++) {
		struct tflite_operator op;
		uint32_t callee[2];
		if (++a->visits > ARENA_VISITS_MAX) {
			unknown(facts, "its subgraphs call each other too often");
			return;
		}
		tflite_operator(t, graph, i, &op);
		check_intermediates(t, a, graph, &op, facts);
		int32_t begin = ++a->scope;
		mark_list(t, a, graph, op.outputs, true, false);
		unsigned calls = op.is_new_code ? tflite_calls(t, &op, callee) : 0;
		for (unsigned n = 0; n < calls; n++) {
			a->scope++;
			mark_subgraph(t, a, callee[n], facts);
		}
		mark_list(t, a, graph, op.inputs, false, true);
		mark_list(t, a, graph, op.outputs, false, true);
		mark_scratch(a, graph, i, begin);
	}
	mark_list(t, a, graph, g->outputs, true, true);
}

/* Metadata "OfflineMemoryAllocation": version, subgraph, number of tensors, then an offset a tensor; 32-bit words. */
static void read_offline(struct tflite *t, struct tflite_arena *a, struct model_facts *facts)
{
	struct flatbuf_vector bytes;
	if (!tflite_metadata(t, "OfflineMemoryAllocation", &bytes)) return;
	struct flatbuf_vector words = {bytes.at, bytes.count / 4};
	if (words.count < 3 || (uint32_t)flatbuf_item_i32(&t->fb, words, 2) != t->tensor_count ||
	    words.count - 3 < t->tensor_count) {
		unknown(facts, "its offline plan is not for %u tensors", t->tensor_count);
		return;
	}
	for (unsigned graph = 0, n = 0; graph < t->graph_count; graph++) {
		for (uint32_t i = 0; i < t->graphs[graph].tensors.count; i++, n++) {
			struct tflite_tensor x;
			int32_t offset = flatbuf_item_i32(&t->fb, words, 3 + n);
			if (offset < ARENA_ONLINE) unknown(facts, "its offline plan has the offset %d", offset);
			a->lives[n].fixed = offset;
			tflite_tensor_shape(t, graph, i, &x);
			if (x.is_variable && offset != ARENA_ONLINE) a->lives[n].is_planned = true;
		}
	}
}

/* ---- the planner ---- */

static bool is_meeting(const struct arena_buffer *a, const struct arena_buffer *b)
{
	return a->first <= b->last && b->first <= a->last;
}

/* Lowest offset behind one of those placed that live at the same time, with room up to the next of them. */
static uint64_t find_gap(const struct arena_plan *p, int32_t head, const struct arena_buffer *wanted)
{
	uint64_t offset = 0;
	if (wanted->fixed != ARENA_ONLINE) return (uint64_t)wanted->fixed;
	for (int32_t i = head; i != -1; i = p->entries[i].next) {
		const struct arena_entry *e = &p->entries[i];
		const struct arena_buffer *placed = &p->buffers[e->buffer];
		if (!is_meeting(placed, wanted)) continue;
		if (e->offset >= offset && e->offset - offset >= wanted->bytes) break;
		if (e->offset + placed->bytes > offset) offset = e->offset + placed->bytes;
	}
	return offset;
}

/* Behind all entries of the same offset; returns the head of the list. */
static int32_t insert(struct arena_plan *p, int32_t head, int32_t entry)
{
	uint64_t offset = p->entries[entry].offset;
	int32_t before = -1, after = head;
	while (after != -1 && p->entries[after].offset <= offset) {
		before = after;
		after = p->entries[after].next;
	}
	p->entries[entry].next = after;
	if (before == -1) return entry;
	p->entries[before].next = entry;
	return head;
}

/* Offline ones in the order of their being added, then by size; of equal sizes the last added first. */
static void order(struct arena_plan *p)
{
	for (unsigned i = 0; i < p->count; i++) {
		bool is_online = p->buffers[i].fixed == ARENA_ONLINE;
		assert(p->buffers[i].bytes <= UINT32_MAX && i < 1 << 16);
		p->keys[i] = is_online ? UINT64_C(1) << 63 | (UINT32_MAX - p->buffers[i].bytes) << 16 | (0xffff - i) : i;
	}
	sort_keys(p->keys, p->count);
}

uint64_t arena_plan(struct arena_plan *p)
{
	int32_t head = -1;
	uint64_t most = 0;
	assert(p->count <= ARENA_BUFFERS_MAX);
	order(p);
	for (unsigned i = 0; i < p->count; i++) {
		uint32_t id = (uint32_t)(p->keys[i] & 0xffff);
		if (p->keys[i] >> 63) id = 0xffff - id;
		p->entries[i] = (struct arena_entry){find_gap(p, head, &p->buffers[id]), id, -1};
		uint64_t end = p->entries[i].offset + p->buffers[id].bytes;
		if (end > most) most = end;
		head = insert(p, head, (int32_t)i);
	}
	return most;
}

static void add_buffer(struct arena_plan *p, uint64_t bytes, int32_t first, int32_t last, int32_t fixed,
                       struct model_facts *facts)
{
	if (p->count == ARENA_BUFFERS_MAX) {
		unknown(facts, "more than %d tensors to plan", ARENA_BUFFERS_MAX);
		return;
	}
	uint64_t rounded = (bytes + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
	p->buffers[p->count++] = (struct arena_buffer){rounded, first, last, fixed};
}

/* ---- the tail ---- */

/* On a 64-bit build: the allocators, planner and handles that every model has; a tensor, an operator, a persistent input
 * or output with its quantisation, a handle of a scratch buffer, a subgraph. */
enum { TAIL_BASE = 640, TAIL_TENSOR = 24, TAIL_OPERATOR = 64, TAIL_IO = 112, TAIL_SCRATCH = 8, TAIL_SUBGRAPH = 32 };
/* Builds differ: other kernels keep other structures, alignment moves. */
enum { TAIL_MARGIN_PERCENT = 10 };

static uint64_t tail(const struct tflite *t, const struct tflite_arena *a)
{
	uint64_t sum = TAIL_BASE + a->tail_bytes;
	sum += (uint64_t)TAIL_TENSOR * t->tensor_count + (uint64_t)TAIL_OPERATOR * t->operator_count;
	sum += (uint64_t)TAIL_IO * (t->graphs[0].inputs.count + t->graphs[0].outputs.count);
	sum += (uint64_t)TAIL_SCRATCH * a->scratch_count + (uint64_t)TAIL_SUBGRAPH * t->graph_count;
	sum += sum * TAIL_MARGIN_PERCENT / 100;
	return (sum + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
}

void tflite_arena_facts(struct tflite *t, struct tflite_arena *a, struct model_facts *facts)
{
	a->scratch_count = a->visits = a->plan.count = 0;
	a->scope = 0;
	a->tail_bytes = 0;
	for (unsigned graph = 0; graph < t->graph_count; graph++) prepare_tensors(t, a, graph, facts);
	for (unsigned graph = 0; graph < t->graph_count; graph++) prepare_scratch(t, a, graph, facts);
	if (is_known(facts)) read_offline(t, a, facts);
	if (is_known(facts)) mark_subgraph(t, a, 0, facts);
	for (uint32_t i = 0; i < t->tensor_count && is_known(facts); i++) {
		const struct arena_life *life = &a->lives[i];
		if (life->is_planned) add_buffer(&a->plan, life->bytes, life->first, life->last, life->fixed, facts);
	}
	for (unsigned i = 0; i < a->scratch_count && is_known(facts); i++) {
		const struct arena_scratch *s = &a->scratch[i];
		add_buffer(&a->plan, s->bytes, s->first, s->last, ARENA_ONLINE, facts);
	}
	if (!is_known(facts)) return;
	facts->head_bytes = arena_plan(&a->plan);
	if (facts->head_bytes > (uint64_t)PLANNED_BYTES_MAX) {
		unknown(facts, "its tensors need more than 2 GiB at once");
		facts->head_bytes = 0;
		return;
	}
	facts->has_arena = true;
	facts->tail_bytes = tail(t, a);
	facts->arena_bytes = facts->head_bytes + facts->tail_bytes;
}
