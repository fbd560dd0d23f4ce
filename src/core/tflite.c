#include "core/tflite.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { SCHEMA_VERSION = 3, FIRST_WIDE_CODE = 127, EFFECTIVE_OUTSIDE = 2 };

/* Fields by their numbers in the schema. */
static const struct flatbuf_field MODEL_VERSION = {0, "version"}, MODEL_CODES = {1, "operator_codes"},
	MODEL_SUBGRAPHS = {2, "subgraphs"}, MODEL_DESCRIPTION = {3, "description"}, MODEL_BUFFERS = {4, "buffers"},
	MODEL_METADATA = {6, "metadata"}, MODEL_SIGNATURES = {7, "signature_defs"};
static const struct flatbuf_field CODE_OLD = {0, "deprecated_builtin_code"}, CODE_CUSTOM = {1, "custom_code"},
	CODE_VERSION = {2, "version"}, CODE_BUILTIN = {3, "builtin_code"};
static const struct flatbuf_field GRAPH_TENSORS = {0, "tensors"}, GRAPH_INPUTS = {1, "inputs"},
	GRAPH_OUTPUTS = {2, "outputs"}, GRAPH_OPERATORS = {3, "operators"}, GRAPH_NAME = {4, "name"};
static const struct flatbuf_field TENSOR_SHAPE = {0, "shape"}, TENSOR_TYPE = {1, "type"}, TENSOR_BUFFER = {2, "buffer"},
	TENSOR_NAME = {3, "name"}, TENSOR_QUANTISATION = {4, "quantization"}, TENSOR_VARIABLE = {5, "is_variable"},
	TENSOR_SPARSITY = {6, "sparsity"}, TENSOR_SIGNATURE = {7, "shape_signature"},
	TENSOR_EXTERNAL = {10, "external_buffer"};
static const struct flatbuf_field QUANT_SCALE = {2, "scale"}, QUANT_ZERO = {3, "zero_point"},
	QUANT_AXIS = {6, "quantized_dimension"};
static const struct flatbuf_field OP_CODE = {0, "opcode_index"}, OP_INPUTS = {1, "inputs"}, OP_OUTPUTS = {2, "outputs"},
	OP_OPTIONS_TYPE = {3, "builtin_options_type"}, OP_OPTIONS = {4, "builtin_options"},
	OP_CUSTOM_OPTIONS = {5, "custom_options"}, OP_INTERMEDIATES = {8, "intermediates"},
	OP_LARGE_OFFSET = {9, "large_custom_options_offset"}, OP_LARGE_SIZE = {10, "large_custom_options_size"},
	OP_OPTIONS_2 = {12, "builtin_options_2"};
static const struct flatbuf_field BUFFER_DATA = {0, "data"}, BUFFER_OFFSET = {1, "offset"}, BUFFER_SIZE = {2, "size"};
static const struct flatbuf_field META_NAME = {0, "name"}, META_BUFFER = {1, "buffer"};
static const struct flatbuf_field SIGNATURE_INPUTS = {0, "inputs"}, SIGNATURE_OUTPUTS = {1, "outputs"},
	SIGNATURE_KEY = {2, "signature_key"}, SIGNATURE_GRAPH = {4, "subgraph_index"};
static const struct flatbuf_field MAP_NAME = {0, "name"}, MAP_TENSOR = {1, "tensor_index"};

/* TensorType of the schema, by number. */
static const enum model_type types[] = {
	MODEL_TYPE_FLOAT32, MODEL_TYPE_FLOAT16, MODEL_TYPE_INT32, MODEL_TYPE_UINT8, MODEL_TYPE_INT64, MODEL_TYPE_STRING,
	MODEL_TYPE_BOOL, MODEL_TYPE_INT16, MODEL_TYPE_COMPLEX64, MODEL_TYPE_INT8, MODEL_TYPE_FLOAT64,
	MODEL_TYPE_COMPLEX128, MODEL_TYPE_UINT64, MODEL_TYPE_RESOURCE, MODEL_TYPE_VARIANT, MODEL_TYPE_UINT32,
	MODEL_TYPE_UINT16, MODEL_TYPE_INT4, MODEL_TYPE_BFLOAT16, MODEL_TYPE_INT2, MODEL_TYPE_UINT4, MODEL_TYPE_FLOAT8,
	MODEL_TYPE_FLOAT8,
};
enum { TYPES = sizeof types / sizeof types[0] };

/* Operators that run other subgraphs: their number, the type of their options, how many indices these begin with. */
static const struct call {
	int32_t builtin;
	uint8_t options_type;
	unsigned count;
	const char *fields[2];
} calls[] = {
	{31, 16, 1, {"subgraph", NULL}},
	{118, 92, 2, {"then_subgraph_index", "else_subgraph_index"}},
	{119, 93, 2, {"cond_subgraph_index", "body_subgraph_index"}},
	{129, 103, 1, {"init_subgraph_index", NULL}},
};

static bool is_good(const struct tflite *t)
{
	return flatbuf_is_good(&t->fb);
}

/* A vector with a limit on its length. */
static struct flatbuf_vector limited(struct tflite *t, struct flatbuf_table table, struct flatbuf_field field,
                                     unsigned width, uint32_t max)
{
	struct flatbuf_vector v = flatbuf_vector(&t->fb, table, field, width), none = {0};
	if (v.count <= max) return v;
	place_fail(&t->fb.place, ERR_TOO_LARGE, field.name, v.at, "%u entries, the limit is %u", v.count, max);
	return none;
}

static void read_shape(struct tflite *t, struct flatbuf_table table, struct tflite_tensor *out)
{
	struct flatbuf_vector shape = limited(t, table, TENSOR_SHAPE, 4, MODEL_RANK_MAX);
	struct flatbuf_vector open = limited(t, table, TENSOR_SIGNATURE, 4, MODEL_RANK_MAX);
	out->rank = shape.count;
	out->elements = 1;
	for (uint32_t i = 0; i < shape.count; i++) {
		int32_t n = flatbuf_item_i32(&t->fb, shape, i);
		out->dims[i] = out->signature[i] = n;
		if (open.count == shape.count) out->signature[i] = flatbuf_item_i32(&t->fb, open, i);
		if (out->signature[i] < 0) out->has_open_signature = true;
		if (n < -1)
			place_fail(&t->fb.place, ERR_INVALID, TENSOR_SHAPE.name, shape.at + 4 * (size_t)i, "a dimension of %d", n);
		if (n < 0) out->is_open = true;
		/* below 2^40 before, so below 2^71 is never reached: the factor is below 2^31, the product is checked at once */
		out->elements = n < 0 ? 0 : out->elements * (uint64_t)n;
		if (out->elements > TFLITE_TENSOR_BYTES_MAX >> 3) break;
	}
	unsigned bits = model_type_bits(out->type);
	if (out->elements > (TFLITE_TENSOR_BYTES_MAX >> 3) || out->elements * bits / 8 > TFLITE_TENSOR_BYTES_MAX)
		place_fail(&t->fb.place, ERR_INVALID, TENSOR_SHAPE.name, shape.at, "a tensor of more than 2^37 elements or 2^40 bytes");
}

static void read_quantisation(struct tflite *t, struct flatbuf_table table, struct tflite_tensor *out)
{
	struct flatbuf_table q = flatbuf_child(&t->fb, table, TENSOR_QUANTISATION);
	if (q.at == 0) return;
	struct flatbuf_vector scale = limited(t, q, QUANT_SCALE, 4, TFLITE_SCALES_MAX);
	struct flatbuf_vector zero = limited(t, q, QUANT_ZERO, 8, TFLITE_SCALES_MAX);
	out->quantisation.axis = (int)flatbuf_int(&t->fb, q, QUANT_AXIS, 4, 0);
	if (zero.count > 1 && zero.count != scale.count)
		place_fail(&t->fb.place, ERR_INVALID, "quantization.zero_point", zero.at, "%u zero points for %u scales", zero.count,
		             scale.count);
	if (scale.count == 0) return;
	out->quantisation.count = scale.count;
	out->quantisation.scale = (double)flatbuf_item_f32(&t->fb, scale, 0);
	if (zero.count > 0) out->quantisation.zero = flatbuf_item_i64(&t->fb, zero, 0);
}

/* Bytes of a buffer that lies behind the FlatBuffer (files above 2 GiB); 0: it does not. */
static uint64_t outside_bytes(struct tflite *t, struct flatbuf_table buffer)
{
	uint64_t offset = flatbuf_uint(&t->fb, buffer, BUFFER_OFFSET, 8, 0);
	uint64_t size = flatbuf_uint(&t->fb, buffer, BUFFER_SIZE, 8, 0);
	if (offset < EFFECTIVE_OUTSIDE || size == 0) return 0;
	if (offset > t->fb.size || size > t->fb.size - offset)
		place_fail(&t->fb.place, ERR_INVALID, BUFFER_OFFSET.name, buffer.at, "%llu bytes at %llu of a file of %zu",
		             (unsigned long long)size, (unsigned long long)offset, t->fb.size);
	return size;
}

static void read_data(struct tflite *t, struct flatbuf_table table, struct tflite_tensor *out)
{
	out->buffer = (uint32_t)flatbuf_uint(&t->fb, table, TENSOR_BUFFER, 4, 0);
	if (out->buffer >= t->buffers.count) {
		if (out->buffer != 0)
			place_fail(&t->fb.place, ERR_INVALID, TENSOR_BUFFER.name, table.at, "buffer %u of %u", out->buffer, t->buffers.count);
		return;
	}
	struct flatbuf_table buffer = flatbuf_item(&t->fb, t->buffers, out->buffer);
	out->data_bytes = flatbuf_vector(&t->fb, buffer, BUFFER_DATA, 1).count;
	out->outside_bytes = outside_bytes(t, buffer);
	out->has_data = out->data_bytes > 0;
	out->is_outside = !out->has_data && out->outside_bytes > 0;
	if (flatbuf_uint(&t->fb, table, TENSOR_EXTERNAL, 4, 0) != 0) out->is_outside = true;
}

/* `is_whole`: with name, quantisation and sparsity. */
static void read_tensor(struct tflite *t, struct flatbuf_table table, bool is_whole, struct tflite_tensor *out)
{
	memset(out, 0, sizeof *out);
	uint64_t type = flatbuf_uint(&t->fb, table, TENSOR_TYPE, 1, 0);
	if (type >= TYPES)
		place_fail(&t->fb.place, ERR_INVALID, TENSOR_TYPE.name, table.at, "element type %u is not one of the schema",
		             (unsigned)type);
	out->type = type < TYPES ? types[type] : MODEL_TYPE_UNKNOWN;
	out->is_variable = flatbuf_uint(&t->fb, table, TENSOR_VARIABLE, 1, 0) != 0;
	read_shape(t, table, out);
	read_data(t, table, out);
	if (!is_whole) return;
	out->is_sparse = flatbuf_child(&t->fb, table, TENSOR_SPARSITY).at != 0;
	out->name = flatbuf_text(&t->fb, table, TENSOR_NAME);
	read_quantisation(t, table, out);
}

/* A constant holds as many bytes as its shape asks for: fewer would be read past their end on a device. */
static void check_constant(struct tflite *t, struct flatbuf_table table, const struct tflite_tensor *x)
{
	uint64_t bits = model_type_bits(x->type), held = x->has_data ? x->data_bytes : x->outside_bytes;
	if (held == 0 || bits == 0 || x->is_sparse || x->is_open || t->is_compressed || x->type == MODEL_TYPE_FLOAT4) return;
	uint64_t wanted = (x->elements * bits + 7) / 8;
	if (held < wanted)
		place_fail(&t->fb.place, ERR_INVALID, TENSOR_BUFFER.name, table.at, "buffer %u has %llu bytes, the shape asks for %llu",
		             x->buffer, (unsigned long long)held, (unsigned long long)wanted);
}

void tflite_tensor(struct tflite *t, unsigned graph, uint32_t index, struct tflite_tensor *out)
{
	assert(graph < t->graph_count);
	read_tensor(t, flatbuf_item(&t->fb, t->graphs[graph].tensors, index), true, out);
}

void tflite_tensor_shape(struct tflite *t, unsigned graph, uint32_t index, struct tflite_tensor *out)
{
	assert(graph < t->graph_count);
	read_tensor(t, flatbuf_item(&t->fb, t->graphs[graph].tensors, index), false, out);
}

bool tflite_tensor_of(struct tflite *t, unsigned graph, struct flatbuf_vector list, uint32_t n, struct tflite_tensor *out)
{
	int32_t index = n < list.count ? flatbuf_item_i32(&t->fb, list, n) : -1;
	if (index < 0) return false;
	tflite_tensor_shape(t, graph, (uint32_t)index, out);
	return true;
}

static void read_operator(struct tflite *t, struct flatbuf_table table, struct tflite_operator *out)
{
	memset(out, 0, sizeof *out);
	uint64_t index = flatbuf_uint(&t->fb, table, OP_CODE, 4, 0);
	if (index >= t->codes.count) {
		place_fail(&t->fb.place, ERR_INVALID, OP_CODE.name, table.at, "operator code %llu of %u", (unsigned long long)index,
		             t->codes.count);
		return;
	}
	struct flatbuf_table code = flatbuf_item(&t->fb, t->codes, (uint32_t)index);
	int32_t old = (int32_t)flatbuf_int(&t->fb, code, CODE_OLD, 1, 0);
	int32_t wide = (int32_t)flatbuf_int(&t->fb, code, CODE_BUILTIN, 4, 0);
	out->builtin = wide > old ? wide : old; /* writers before 2020 fill only the narrow one */
	out->is_new_code = wide == out->builtin;
	out->version = flatbuf_int(&t->fb, code, CODE_VERSION, 4, 1);
	if (out->builtin == TFLITE_CUSTOM) out->custom = flatbuf_text(&t->fb, code, CODE_CUSTOM);
	out->inputs = limited(t, table, OP_INPUTS, 4, TFLITE_LIST_MAX);
	out->outputs = limited(t, table, OP_OUTPUTS, 4, TFLITE_LIST_MAX);
	out->intermediates = limited(t, table, OP_INTERMEDIATES, 4, TFLITE_LIST_MAX);
	out->options_type = (uint8_t)flatbuf_uint(&t->fb, table, OP_OPTIONS_TYPE, 1, 0);
	out->options = flatbuf_child(&t->fb, table, OP_OPTIONS);
}

void tflite_operator(struct tflite *t, unsigned graph, uint32_t index, struct tflite_operator *out)
{
	assert(graph < t->graph_count);
	read_operator(t, flatbuf_item(&t->fb, t->graphs[graph].operators, index), out);
}

unsigned tflite_calls(struct tflite *t, const struct tflite_operator *op, uint32_t callee[2])
{
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		const struct call *c = &calls[i];
		if (c->builtin != op->builtin) continue;
		if (op->options_type != c->options_type || op->options.at == 0) {
			place_fail(&t->fb.place, ERR_INVALID, OP_OPTIONS.name, op->options.at, "an operator that calls subgraphs names none");
			return 0;
		}
		for (unsigned n = 0; n < c->count; n++) {
			struct flatbuf_field field = {(uint16_t)n, c->fields[n]};
			int64_t graph = flatbuf_int(&t->fb, op->options, field, 4, 0);
			if (graph < 0 || graph >= t->graph_count)
				place_fail(&t->fb.place, ERR_INVALID, field.name, op->options.at, "subgraph %lld of %u", (long long)graph,
				             t->graph_count);
			callee[n] = (uint32_t)graph;
		}
		return is_good(t) ? c->count : 0;
	}
	return 0;
}

/* Indices of tensors of a subgraph. `may_be_empty`: -1 stands for a tensor that is left out. */
static void check_indices(struct tflite *t, const struct tflite_subgraph *g, struct flatbuf_vector list, const char *name,
                          bool may_be_empty)
{
	for (uint32_t i = 0; i < list.count && is_good(t); i++) {
		int32_t index = flatbuf_item_i32(&t->fb, list, i);
		if (index < (may_be_empty ? -1 : 0) || (index >= 0 && (uint32_t)index >= g->tensors.count))
			place_fail(&t->fb.place, ERR_INVALID, name, list.at + 4 * (size_t)i, "tensor %d of %u", index, g->tensors.count);
	}
}

static void check_operator(struct tflite *t, const struct tflite_subgraph *g, uint32_t index)
{
	struct tflite_operator op;
	uint32_t callee[2];
	place_enter(&t->fb.place, GRAPH_OPERATORS.name, index);
	struct flatbuf_table table = flatbuf_item(&t->fb, g->operators, index);
	read_operator(t, table, &op);
	(void)tflite_calls(t, &op, callee);
	(void)flatbuf_child(&t->fb, table, OP_OPTIONS_2);
	(void)flatbuf_vector(&t->fb, table, OP_CUSTOM_OPTIONS, 1);
	uint64_t offset = flatbuf_uint(&t->fb, table, OP_LARGE_OFFSET, 8, 0);
	uint64_t size = flatbuf_uint(&t->fb, table, OP_LARGE_SIZE, 8, 0);
	if (offset >= EFFECTIVE_OUTSIDE && (offset > t->fb.size || size > t->fb.size - offset))
		place_fail(&t->fb.place, ERR_INVALID, OP_LARGE_OFFSET.name, table.at, "custom options lead out of the file");
	check_indices(t, g, op.inputs, OP_INPUTS.name, true);
	check_indices(t, g, op.outputs, OP_OUTPUTS.name, true);
	check_indices(t, g, op.intermediates, OP_INTERMEDIATES.name, true);
	place_leave(&t->fb.place);
}

static void check_tensor(struct tflite *t, const struct tflite_subgraph *g, uint32_t index)
{
	struct tflite_tensor x;
	place_enter(&t->fb.place, GRAPH_TENSORS.name, index);
	struct flatbuf_table table = flatbuf_item(&t->fb, g->tensors, index);
	read_tensor(t, table, true, &x);
	check_constant(t, table, &x);
	if (is_good(t) && x.buffer < t->buffers.count && (x.has_data || x.is_outside))
		t->used_buffers[x.buffer / 64] |= UINT64_C(1) << x.buffer % 64;
	if (x.is_open || x.has_open_signature) t->is_dynamic = true;
	place_leave(&t->fb.place);
}

static void open_subgraph(struct tflite *t, uint32_t index)
{
	struct tflite_subgraph *g = &t->graphs[index];
	place_enter(&t->fb.place, MODEL_SUBGRAPHS.name, index);
	struct flatbuf_table table = flatbuf_item(&t->fb, t->subgraphs, index);
	g->tensors = limited(t, table, GRAPH_TENSORS, 4, TFLITE_TENSORS_MAX - t->tensor_count);
	g->operators = limited(t, table, GRAPH_OPERATORS, 4, TFLITE_OPERATORS_MAX - t->operator_count);
	g->inputs = limited(t, table, GRAPH_INPUTS, 4, TFLITE_LIST_MAX);
	g->outputs = limited(t, table, GRAPH_OUTPUTS, 4, TFLITE_LIST_MAX);
	g->first_tensor = t->tensor_count;
	t->tensor_count += g->tensors.count;
	t->operator_count += g->operators.count;
	(void)flatbuf_text(&t->fb, table, GRAPH_NAME);
	check_indices(t, g, g->inputs, GRAPH_INPUTS.name, false);
	check_indices(t, g, g->outputs, GRAPH_OUTPUTS.name, false);
	place_leave(&t->fb.place);
}

static void check_subgraph(struct tflite *t, uint32_t index)
{
	const struct tflite_subgraph *g = &t->graphs[index];
	place_enter(&t->fb.place, MODEL_SUBGRAPHS.name, index);
	for (uint32_t i = 0; i < g->tensors.count && is_good(t); i++) check_tensor(t, g, i);
	for (uint32_t i = 0; i < g->operators.count && is_good(t); i++) check_operator(t, g, i);
	place_leave(&t->fb.place);
}

static void check_codes(struct tflite *t)
{
	for (uint32_t i = 0; i < t->codes.count && is_good(t); i++) {
		place_enter(&t->fb.place, MODEL_CODES.name, i);
		struct flatbuf_table code = flatbuf_item(&t->fb, t->codes, i);
		struct slice custom = flatbuf_text(&t->fb, code, CODE_CUSTOM);
		int64_t old = flatbuf_int(&t->fb, code, CODE_OLD, 1, 0), wide = flatbuf_int(&t->fb, code, CODE_BUILTIN, 4, 0);
		if (old < 0 || wide < 0)
			place_fail(&t->fb.place, ERR_INVALID, CODE_BUILTIN.name, code.at, "operator number %lld",
			             (long long)(wide < 0 ? wide : old));
		if ((wide > old ? wide : old) == TFLITE_CUSTOM && custom.len == 0)
			place_fail(&t->fb.place, ERR_INVALID, CODE_CUSTOM.name, code.at, "a custom operator without a name");
		if (custom.len >= MODEL_NAME_BYTES)
			place_fail(&t->fb.place, ERR_TOO_LARGE, CODE_CUSTOM.name, code.at, "a name of %zu bytes", custom.len);
		if (custom.len > 0 && memchr(custom.data, 0, custom.len) != NULL)
			place_fail(&t->fb.place, ERR_INVALID, CODE_CUSTOM.name, code.at, "a name with a NUL inside");
		place_leave(&t->fb.place);
	}
}

static void check_buffers(struct tflite *t)
{
	for (uint32_t i = 0; i < t->buffers.count && is_good(t); i++) {
		place_enter(&t->fb.place, MODEL_BUFFERS.name, i);
		struct flatbuf_table buffer = flatbuf_item(&t->fb, t->buffers, i);
		(void)flatbuf_vector(&t->fb, buffer, BUFFER_DATA, 1);
		(void)outside_bytes(t, buffer);
		place_leave(&t->fb.place);
	}
	for (uint32_t i = 0; i < t->metadata.count && is_good(t); i++) {
		place_enter(&t->fb.place, MODEL_METADATA.name, i);
		struct flatbuf_table m = flatbuf_item(&t->fb, t->metadata, i);
		uint64_t buffer = flatbuf_uint(&t->fb, m, META_BUFFER, 4, 0);
		if (slice_equals(flatbuf_text(&t->fb, m, META_NAME), "COMPRESSION_METADATA")) t->is_compressed = true;
		if (buffer >= t->buffers.count)
			place_fail(&t->fb.place, ERR_INVALID, META_BUFFER.name, m.at, "buffer %llu of %u", (unsigned long long)buffer,
			             t->buffers.count);
		place_leave(&t->fb.place);
	}
}

static void check_signature_names(struct tflite *t, struct flatbuf_table s, struct flatbuf_field field, uint32_t tensors)
{
	struct flatbuf_vector map = limited(t, s, field, 4, TFLITE_LIST_MAX);
	for (uint32_t i = 0; i < map.count && is_good(t); i++) {
		place_enter(&t->fb.place, field.name, i);
		struct flatbuf_table entry = flatbuf_item(&t->fb, map, i);
		(void)flatbuf_text(&t->fb, entry, MAP_NAME);
		uint64_t tensor = flatbuf_uint(&t->fb, entry, MAP_TENSOR, 4, 0);
		if (tensor >= tensors)
			place_fail(&t->fb.place, ERR_INVALID, MAP_TENSOR.name, entry.at, "tensor %llu of %u", (unsigned long long)tensor,
			             tensors);
		place_leave(&t->fb.place);
	}
}

static void check_signatures(struct tflite *t)
{
	struct flatbuf_vector signatures = limited(t, t->root, MODEL_SIGNATURES, 4, TFLITE_SUBGRAPHS_MAX);
	for (uint32_t i = 0; i < signatures.count && is_good(t); i++) {
		place_enter(&t->fb.place, MODEL_SIGNATURES.name, i);
		struct flatbuf_table s = flatbuf_item(&t->fb, signatures, i);
		(void)flatbuf_text(&t->fb, s, SIGNATURE_KEY);
		uint64_t graph = flatbuf_uint(&t->fb, s, SIGNATURE_GRAPH, 4, 0);
		if (graph >= t->graph_count) {
			place_fail(&t->fb.place, ERR_INVALID, SIGNATURE_GRAPH.name, s.at, "subgraph %llu of %u", (unsigned long long)graph,
			             t->graph_count);
		} else {
			check_signature_names(t, s, SIGNATURE_INPUTS, t->graphs[graph].tensors.count);
			check_signature_names(t, s, SIGNATURE_OUTPUTS, t->graphs[graph].tensors.count);
		}
		place_leave(&t->fb.place);
	}
}

static void open_root(struct tflite *t)
{
	t->root = flatbuf_root(&t->fb);
	uint64_t version = flatbuf_uint(&t->fb, t->root, MODEL_VERSION, 4, 0);
	if (version != SCHEMA_VERSION)
		place_fail(&t->fb.place, ERR_INVALID, MODEL_VERSION.name, t->root.at, "schema version %llu, only 3 is known",
		             (unsigned long long)version);
	t->codes = limited(t, t->root, MODEL_CODES, 4, TFLITE_CODES_MAX);
	t->subgraphs = limited(t, t->root, MODEL_SUBGRAPHS, 4, TFLITE_SUBGRAPHS_MAX);
	t->buffers = limited(t, t->root, MODEL_BUFFERS, 4, TFLITE_BUFFERS_MAX);
	t->metadata = limited(t, t->root, MODEL_METADATA, 4, TFLITE_LIST_MAX);
	(void)flatbuf_text(&t->fb, t->root, MODEL_DESCRIPTION);
	if (is_good(t) && t->subgraphs.count == 0)
		place_fail(&t->fb.place, ERR_INVALID, MODEL_SUBGRAPHS.name, t->root.at, "a model without a subgraph");
	if (is_good(t)) t->graph_count = t->subgraphs.count;
}

/* Depth first: a subgraph that is met again on the way to itself would never end. */
enum call_state { CALL_NEW, CALL_OPEN, CALL_DONE };
static void check_calls(struct tflite *t, uint32_t graph, enum call_state *states, unsigned depth)
{
	struct tflite_operator op;
	uint32_t callee[2];
	states[graph] = CALL_OPEN;
	for (uint32_t i = 0; i < t->graphs[graph].operators.count && is_good(t); i++) {
		tflite_operator(t, graph, i, &op);
		unsigned count = tflite_calls(t, &op, callee);
		for (unsigned n = 0; n < count && is_good(t); n++) {
			if (states[callee[n]] == CALL_OPEN)
				place_fail(&t->fb.place, ERR_INVALID, MODEL_SUBGRAPHS.name, op.options.at, "subgraph %u calls itself", callee[n]);
			else if (depth == TFLITE_CALLS_MAX)
				place_fail(&t->fb.place, ERR_TOO_LARGE, MODEL_SUBGRAPHS.name, op.options.at, "calls deeper than %u", depth);
			else if (states[callee[n]] == CALL_NEW)
				check_calls(t, callee[n], states, depth + 1);
		}
	}
	states[graph] = CALL_DONE;
}

enum err tflite_open(struct tflite *t, const uint8_t *data, size_t size, uint64_t *keys)
{
	memset(t, 0, sizeof *t);
	flatbuf_init(&t->fb, data, size);
	if (size < 8 || memcmp(data + 4, "TFL3", 4) != 0)
		place_fail(&t->fb.place, ERR_INVALID, "identifier", 4, "not TFL3");
	t->fb.spans = keys;
	t->fb.span_cap = TFLITE_TABLES_MAX;
	open_root(t);
	check_codes(t);
	check_buffers(t);
	for (uint32_t i = 0; i < t->graph_count && is_good(t); i++) open_subgraph(t, i);
	for (uint32_t i = 0; i < t->graph_count && is_good(t); i++) check_subgraph(t, i);
	if (is_good(t)) check_signatures(t);
	flatbuf_check_overlap(&t->fb);
	t->fb.spans = NULL;
	enum call_state states[TFLITE_SUBGRAPHS_MAX] = {CALL_NEW};
	for (uint32_t i = 0; i < t->graph_count && is_good(t); i++)
		if (states[i] == CALL_NEW) check_calls(t, i, states, 0);
	return t->fb.place.error;
}

bool tflite_metadata(struct tflite *t, const char *name, struct flatbuf_vector *bytes)
{
	for (uint32_t i = 0; i < t->metadata.count; i++) {
		struct flatbuf_table m = flatbuf_item(&t->fb, t->metadata, i);
		if (!slice_equals(flatbuf_text(&t->fb, m, META_NAME), name)) continue;
		uint32_t buffer = (uint32_t)flatbuf_uint(&t->fb, m, META_BUFFER, 4, 0);
		*bytes = flatbuf_vector(&t->fb, flatbuf_item(&t->fb, t->buffers, buffer), BUFFER_DATA, 1);
		return true;
	}
	return false;
}

uint64_t tflite_constant_bytes(struct tflite *t)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < t->buffers.count; i++) {
		if ((t->used_buffers[i / 64] >> i % 64 & 1) == 0) continue;
		struct flatbuf_table buffer = flatbuf_item(&t->fb, t->buffers, i);
		uint64_t bytes = flatbuf_vector(&t->fb, buffer, BUFFER_DATA, 1).count;
		/* each is within the file, and there are few enough of them: no overflow */
		sum += bytes > 0 ? bytes : outside_bytes(t, buffer);
	}
	return sum;
}
