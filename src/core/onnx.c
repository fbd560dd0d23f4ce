#include "core/onnx.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "core/names.h"
#include "core/place.h"

/* ---- the wire format ---- */

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* A message: what of it is still to be read. */
struct message {
	size_t at, end;
};

struct field {
	uint32_t number;
	enum wire wire;
	size_t at;             /* of its tag */
	uint64_t value;        /* varint and fixed */
	struct message inside; /* WIRE_BYTES */
};

struct onnx {
	const uint8_t *data;
	struct place place;
	struct model_facts *facts;
	struct model_opset opsets[MODEL_OPSETS_MAX]; /* those of the function that is being read; else the model's */
	unsigned opset_count;
};

static bool is_good(const struct onnx *o)
{
	return o->place.error == ERR_OK;
}

static bool read_varint(struct onnx *o, struct message *m, uint64_t *value)
{
	*value = 0;
	for (unsigned shift = 0; shift < 70 && m->at < m->end; shift += 7) {
		uint8_t byte = o->data[m->at++];
		if (shift == 63 && byte > 1) break;
		*value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) return true;
	}
	place_fail(&o->place, ERR_INVALID, NULL, m->at, "a number that does not end");
	return false;
}

static bool read_fixed(struct onnx *o, struct message *m, unsigned width, uint64_t *value)
{
	if (m->end - m->at < width) {
		place_fail(&o->place, ERR_INVALID, NULL, m->at, "%u bytes are wanted, the message ends at %zu", width, m->end);
		return false;
	}
	*value = 0;
	for (unsigned i = width; i-- > 0;) *value = *value << 8 | o->data[m->at + i];
	m->at += width;
	return true;
}

/* The next field; false at the end of the message and after a failure. */
static bool next(struct onnx *o, struct message *m, struct field *f)
{
	uint64_t tag, len;
	memset(f, 0, sizeof *f);
	if (!is_good(o) || m->at == m->end) return false;
	f->at = m->at;
	if (!read_varint(o, m, &tag)) return false;
	f->number = (uint32_t)(tag >> 3);
	f->wire = (enum wire)(tag & 7);
	if (tag >> 3 == 0 || tag >> 3 >= 1u << 29) {
		place_fail(&o->place, ERR_INVALID, NULL, f->at, "field number %llu", (unsigned long long)(tag >> 3));
		return false;
	}
	switch (f->wire) {
	case WIRE_VARINT: return read_varint(o, m, &f->value);
	case WIRE_64: return read_fixed(o, m, 8, &f->value);
	case WIRE_32: return read_fixed(o, m, 4, &f->value);
	case WIRE_BYTES:
		if (!read_varint(o, m, &len)) return false;
		if (len > m->end - m->at) {
			place_fail(&o->place, ERR_INVALID, NULL, f->at, "field %u of %llu bytes, its message ends at %zu", f->number,
			           (unsigned long long)len, m->end);
			return false;
		}
		f->inside = (struct message){m->at, m->at + (size_t)len};
		m->at += (size_t)len;
		return true;
	default:
		place_fail(&o->place, ERR_INVALID, NULL, f->at, "wire type %u", (unsigned)f->wire);
		return false;
	}
}

/* The field has the wire type that its number asks for. */
static bool is(struct onnx *o, const struct field *f, enum wire wire, const char *name)
{
	if (f->wire == wire) return true;
	place_fail(&o->place, ERR_INVALID, name, f->at, "wire type %u, %u is meant", (unsigned)f->wire, (unsigned)wire);
	return false;
}

static struct slice text(const struct onnx *o, const struct field *f)
{
	return (struct slice){(const char *)o->data + f->inside.at, f->inside.end - f->inside.at};
}

/* A name that rows are told apart by: it must fit. */
static void copy_name(struct onnx *o, const struct field *f, const char *name, char out[MODEL_NAME_BYTES])
{
	if (!is(o, f, WIRE_BYTES, name)) return;
	struct slice s = text(o, f);
	if (s.len >= MODEL_NAME_BYTES)
		place_fail(&o->place, ERR_TOO_LARGE, name, f->at, "a name of %zu bytes", s.len);
	else if (s.len > 0 && memchr(s.data, 0, s.len) != NULL)
		place_fail(&o->place, ERR_INVALID, name, f->at, "a name with a NUL inside");
	else
		(void)slice_copy(s, out, MODEL_NAME_BYTES);
}

/* A name that is only shown: it may be cut, not inside of a UTF-8 sequence. */
static void copy_cut(struct onnx *o, const struct field *f, const char *name, char *out, size_t out_size)
{
	if (!is(o, f, WIRE_BYTES, name)) return;
	struct slice s = text(o, f);
	size_t len = s.len < out_size ? s.len : out_size - 1;
	if (len < s.len)
		while (len > 0 && ((unsigned char)s.data[len] & 0xc0) == 0x80) len--;
	if (len > 0) memcpy(out, s.data, len);
	out[len] = '\0';
}

/* ---- tensors ---- */

/* TensorProto.DataType by number. */
static const enum model_type types[] = {
	MODEL_TYPE_UNKNOWN, MODEL_TYPE_FLOAT32, MODEL_TYPE_UINT8, MODEL_TYPE_INT8, MODEL_TYPE_UINT16, MODEL_TYPE_INT16,
	MODEL_TYPE_INT32, MODEL_TYPE_INT64, MODEL_TYPE_STRING, MODEL_TYPE_BOOL, MODEL_TYPE_FLOAT16, MODEL_TYPE_FLOAT64,
	MODEL_TYPE_UINT32, MODEL_TYPE_UINT64, MODEL_TYPE_COMPLEX64, MODEL_TYPE_COMPLEX128, MODEL_TYPE_BFLOAT16,
	MODEL_TYPE_FLOAT8, MODEL_TYPE_FLOAT8, MODEL_TYPE_FLOAT8, MODEL_TYPE_FLOAT8, MODEL_TYPE_UINT4, MODEL_TYPE_INT4,
	MODEL_TYPE_FLOAT4, MODEL_TYPE_FLOAT8, MODEL_TYPE_UINT2, MODEL_TYPE_INT2,
};

static enum model_type type_of(uint64_t number)
{
	return number < sizeof types / sizeof types[0] ? types[number] : MODEL_TYPE_UNKNOWN;
}

struct tensor {
	enum model_type type;
	unsigned rank;
	uint64_t elements;
	uint64_t raw_bytes, typed_bytes, packed_values; /* packed_values: in the wide fields, of narrower elements */
	uint64_t external_bytes;
	bool has_raw, is_external;
	size_t raw_at;
};

/* Numbers of a repeated varint field, packed or one by one. */
static uint64_t count_varints(struct onnx *o, const struct field *f)
{
	uint64_t count = 0;
	if (f->wire != WIRE_BYTES) return 1;
	for (size_t i = f->inside.at; i < f->inside.end; i++) count += o->data[i] < 0x80;
	if (f->inside.end > f->inside.at && o->data[f->inside.end - 1] >= 0x80)
		place_fail(&o->place, ERR_INVALID, NULL, f->at, "a number that does not end");
	return count;
}

static void multiply(struct onnx *o, struct tensor *t, uint64_t dim, size_t at)
{
	t->rank++;
	if (dim > INT64_MAX)
		place_fail(&o->place, ERR_INVALID, "dims", at, "a dimension of %lld", (long long)dim);
	else if (__builtin_mul_overflow(t->elements, dim, &t->elements) || t->elements > UINT64_C(1) << 50)
		place_fail(&o->place, ERR_INVALID, "dims", at, "more than 2^50 elements");
}

static void read_dims(struct onnx *o, struct tensor *t, const struct field *f)
{
	uint64_t dim;
	struct message packed = f->inside;
	if (f->wire != WIRE_BYTES) {
		if (is(o, f, WIRE_VARINT, "dims")) multiply(o, t, f->value, f->at);
		return;
	}
	while (packed.at < packed.end && is_good(o))
		if (read_varint(o, &packed, &dim)) multiply(o, t, dim, f->at);
}

/* StringStringEntryProto of an initializer that lies in another file: its length, when it says so. */
static void read_external(struct onnx *o, struct tensor *t, struct message m)
{
	struct field f;
	struct slice key = {NULL, 0}, value = {NULL, 0};
	while (next(o, &m, &f)) {
		if (f.number == 1 && is(o, &f, WIRE_BYTES, "key")) key = text(o, &f);
		if (f.number == 2 && is(o, &f, WIRE_BYTES, "value")) value = text(o, &f);
	}
	if (!slice_equals(key, "length")) return;
	uint64_t length = 0;
	for (size_t i = 0; i < value.len && i < 18; i++)
		if (value.data[i] >= '0' && value.data[i] <= '9') length = length * 10 + (uint64_t)(value.data[i] - '0');
	t->external_bytes = length;
}

static void read_tensor(struct onnx *o, struct message m, struct tensor *t)
{
	struct field f;
	memset(t, 0, sizeof *t);
	t->elements = 1;
	while (next(o, &m, &f)) {
		uint64_t bytes = f.wire == WIRE_BYTES ? f.inside.end - f.inside.at : 0;
		switch (f.number) {
		case 1: read_dims(o, t, &f); break;
		case 2:
			if (is(o, &f, WIRE_VARINT, "data_type")) t->type = type_of(f.value);
			break;
		case 4: t->typed_bytes += f.wire == WIRE_BYTES ? bytes : 4; break;  /* float_data */
		case 5: t->packed_values += count_varints(o, &f); break;            /* int32_data: also narrower ones */
		case 6: t->typed_bytes += bytes; break;                             /* string_data */
		case 7: t->typed_bytes += 8 * count_varints(o, &f); break;          /* int64_data */
		case 9:
			if (!is(o, &f, WIRE_BYTES, "raw_data")) break;
			t->has_raw = true;
			t->raw_bytes = bytes;
			t->raw_at = f.at;
			break;
		case 10: t->typed_bytes += f.wire == WIRE_BYTES ? bytes : 8; break; /* double_data */
		case 11: t->packed_values += count_varints(o, &f); break;           /* uint64_data: also uint32 */
		case 13:
			if (is(o, &f, WIRE_BYTES, "external_data")) read_external(o, t, f.inside);
			break;
		case 14:
			if (is(o, &f, WIRE_VARINT, "data_location")) t->is_external = f.value == 1;
			break;
		default: break;
		}
	}
	unsigned bits = model_type_bits(t->type);
	t->typed_bytes += t->packed_values * (bits > 8 ? bits / 8 : 1);
	uint64_t wanted = (t->elements * bits + 7) / 8;
	if (t->has_raw && !t->is_external && bits != 0 && t->raw_bytes != wanted)
		place_fail(&o->place, ERR_INVALID, "raw_data", t->raw_at, "%llu bytes, the shape asks for %llu",
		           (unsigned long long)t->raw_bytes, (unsigned long long)wanted);
}

static void add(uint64_t *sum, uint64_t bytes)
{
	if (__builtin_add_overflow(*sum, bytes, sum)) *sum = UINT64_MAX; /* only lengths that are said, not read, add up so */
}

static void read_initializer(struct onnx *o, struct message m)
{
	struct tensor t;
	read_tensor(o, m, &t);
	if (t.is_external) {
		o->facts->external_count++;
		add(&o->facts->external_bytes, t.external_bytes);
	} else {
		add(&o->facts->constant_bytes, t.has_raw ? t.raw_bytes : t.typed_bytes);
	}
}

/* SparseTensorProto: values and indices are tensors. */
static void read_sparse(struct onnx *o, struct message m)
{
	struct field f;
	while (next(o, &m, &f))
		if ((f.number == 1 || f.number == 2) && is(o, &f, WIRE_BYTES, "values")) read_initializer(o, f.inside);
}

/* ---- inputs and outputs ---- */

static void read_dimension(struct onnx *o, struct message m, struct model_io *io)
{
	struct field f;
	if (io->rank == MODEL_RANK_MAX) {
		place_fail(&o->place, ERR_TOO_LARGE, "dim", m.at, "more than %d dimensions", MODEL_RANK_MAX);
		return;
	}
	unsigned d = io->rank++;
	io->dims[d] = MODEL_DIM_OPEN;
	while (next(o, &m, &f)) {
		if (f.number == 1 && is(o, &f, WIRE_VARINT, "dim_value")) {
			int64_t value = (int64_t)f.value;
			io->dims[d] = value >= 0 ? value : MODEL_DIM_OPEN;
			io->symbols[d][0] = '\0'; /* one of the two: the last counts */
		}
		if (f.number == 2) {
			io->dims[d] = MODEL_DIM_OPEN;
			copy_cut(o, &f, "dim_param", io->symbols[d], sizeof io->symbols[d]);
		}
	}
	io->signature[d] = io->dims[d];
	if (io->dims[d] == MODEL_DIM_OPEN) o->facts->dynamic = true;
}

static void read_tensor_type(struct onnx *o, struct message m, struct model_io *io)
{
	struct field f, dim;
	while (next(o, &m, &f)) {
		if (f.number == 1 && is(o, &f, WIRE_VARINT, "elem_type")) io->type = type_of(f.value);
		if (f.number != 2 || !is(o, &f, WIRE_BYTES, "shape")) continue;
		io->has_shape = true;
		while (next(o, &f.inside, &dim))
			if (dim.number == 1 && is(o, &dim, WIRE_BYTES, "dim")) read_dimension(o, dim.inside, io);
	}
}

static void read_io(struct onnx *o, struct message m, struct model_io *io)
{
	struct field f, type;
	memset(io, 0, sizeof *io);
	while (next(o, &m, &f)) {
		if (f.number == 1) copy_cut(o, &f, "name", io->name, sizeof io->name);
		if (f.number != 2 || !is(o, &f, WIRE_BYTES, "type")) continue;
		/* tensor_type and sparse_tensor_type look alike; sequences, maps and others have no shape of their own */
		while (next(o, &f.inside, &type))
			if ((type.number == 1 || type.number == 8) && is(o, &type, WIRE_BYTES, "tensor_type"))
				read_tensor_type(o, type.inside, io);
	}
	if (!io->has_shape) o->facts->dynamic = true;
}

static void add_io(struct onnx *o, const struct field *f, const char *name, struct model_io *list, unsigned *count)
{
	if (!is(o, f, WIRE_BYTES, name)) return;
	if (*count == MODEL_IO_MAX) {
		place_fail(&o->place, ERR_TOO_LARGE, name, f->at, "more than %d", MODEL_IO_MAX);
		return;
	}
	place_enter(&o->place, name, *count);
	read_io(o, f->inside, &list[(*count)++]);
	place_leave(&o->place);
}

/* ---- nodes ---- */

static bool is_own_domain(const char *domain)
{
	return domain[0] == '\0' || strcmp(domain, "ai.onnx") == 0;
}

static bool is_standard(const char *domain)
{
	return is_own_domain(domain) || strcmp(domain, "ai.onnx.ml") == 0 || strcmp(domain, "ai.onnx.training") == 0 ||
	       strcmp(domain, "ai.onnx.preview.training") == 0;
}

/* Version of the operators of a domain; 0 when none is imported. */
static int64_t version_of(const struct onnx *o, const char *domain)
{
	for (unsigned i = 0; i < o->opset_count; i++)
		if (strcmp(o->opsets[i].domain, domain) == 0) return o->opsets[i].version;
	return 0;
}

static void count_node(struct onnx *o, const char *name, const char *domain, size_t at)
{
	struct model_facts *facts = o->facts;
	const char *shown = is_own_domain(domain) ? "" : domain;
	int64_t version = version_of(o, shown);
	facts->op_uses++;
	for (unsigned i = 0; i < facts->op_count; i++) {
		struct model_op *row = &facts->ops[i];
		if (row->version == version && strcmp(row->name, name) == 0 && strcmp(row->domain, shown) == 0) {
			row->count++;
			return;
		}
	}
	if (facts->op_count == MODEL_OPS_MAX) {
		place_fail(&o->place, ERR_TOO_LARGE, "op_type", at, "more than %d different operators", MODEL_OPS_MAX);
		return;
	}
	struct model_op *row = &facts->ops[facts->op_count++];
	memset(row, 0, sizeof *row);
	snprintf(row->name, sizeof row->name, "%s", name);
	snprintf(row->domain, sizeof row->domain, "%s", shown);
	row->version = version;
	row->count = 1;
	row->custom = !is_standard(domain);
}

static void read_graph(struct onnx *o, struct message m, unsigned depth);

static void read_subgraph(struct onnx *o, const struct field *f, const char *name, unsigned depth)
{
	if (!is(o, f, WIRE_BYTES, name)) return;
	if (depth == ONNX_GRAPH_DEPTH_MAX) {
		place_fail(&o->place, ERR_TOO_LARGE, name, f->at, "graphs nested deeper than %d", ONNX_GRAPH_DEPTH_MAX);
		return;
	}
	place_enter(&o->place, name, -1);
	read_graph(o, f->inside, depth + 1);
	place_leave(&o->place);
}

static void read_attribute(struct onnx *o, struct message m, unsigned depth)
{
	struct field f;
	struct tensor t;
	while (next(o, &m, &f)) {
		if (f.number == 5 && is(o, &f, WIRE_BYTES, "t")) read_tensor(o, f.inside, &t);
		if (f.number == 10 && is(o, &f, WIRE_BYTES, "tensors")) read_tensor(o, f.inside, &t);
		if (f.number == 6) read_subgraph(o, &f, "g", depth);
		if (f.number == 11) read_subgraph(o, &f, "graphs", depth);
	}
}

static void read_node(struct onnx *o, struct message m, unsigned depth)
{
	char name[MODEL_NAME_BYTES] = "", domain[MODEL_NAME_BYTES] = "";
	struct field f;
	size_t at = m.at;
	struct message again = m;
	while (next(o, &m, &f)) {
		if (f.number == 4) copy_name(o, &f, "op_type", name);
		if (f.number == 7) copy_name(o, &f, "domain", domain);
	}
	if (!is_good(o)) return;
	if (name[0] == '\0') place_fail(&o->place, ERR_INVALID, "op_type", at, "a node without an operator");
	count_node(o, name, domain, at);
	for (int64_t n = 0; next(o, &again, &f);) {
		if (f.number != 5 || !is(o, &f, WIRE_BYTES, "attribute")) continue;
		place_enter(&o->place, "attribute", n++);
		read_attribute(o, f.inside, depth);
		place_leave(&o->place);
	}
}

static void read_graph(struct onnx *o, struct message m, unsigned depth)
{
	struct field f;
	int64_t nodes = 0, initializers = 0;
	struct model_facts *facts = o->facts;
	facts->subgraph_count++;
	while (next(o, &m, &f)) {
		switch (f.number) {
		case 1:
			if (!is(o, &f, WIRE_BYTES, "node")) break;
			place_enter(&o->place, "node", nodes++);
			read_node(o, f.inside, depth);
			place_leave(&o->place);
			break;
		case 5:
			if (!is(o, &f, WIRE_BYTES, "initializer")) break;
			place_enter(&o->place, "initializer", initializers++);
			read_initializer(o, f.inside);
			place_leave(&o->place);
			break;
		case 11:
			if (depth == 0) add_io(o, &f, "input", facts->inputs, &facts->input_count);
			break;
		case 12:
			if (depth == 0) add_io(o, &f, "output", facts->outputs, &facts->output_count);
			break;
		case 15:
			if (is(o, &f, WIRE_BYTES, "sparse_initializer")) read_sparse(o, f.inside);
			break;
		default: break;
		}
	}
}

/* ---- the model ---- */

static void read_opset(struct onnx *o, const struct field *f)
{
	struct message m = f->inside;
	struct field part;
	struct model_opset set = {"", 0};
	if (!is(o, f, WIRE_BYTES, "opset_import")) return;
	if (o->opset_count == MODEL_OPSETS_MAX) {
		place_fail(&o->place, ERR_TOO_LARGE, "opset_import", f->at, "more than %d", MODEL_OPSETS_MAX);
		return;
	}
	place_enter(&o->place, "opset_import", o->opset_count);
	while (next(o, &m, &part)) {
		if (part.number == 1) copy_name(o, &part, "domain", set.domain);
		if (part.number == 2 && is(o, &part, WIRE_VARINT, "version")) set.version = (int64_t)part.value;
	}
	if (is_own_domain(set.domain)) set.domain[0] = '\0';
	o->opsets[o->opset_count++] = set;
	place_leave(&o->place);
}

/* FunctionProto: operators made of operators, with opsets of its own. A call of one is no custom operator. */
static void read_function(struct onnx *o, struct message m)
{
	char name[MODEL_NAME_BYTES] = "", domain[MODEL_NAME_BYTES] = "";
	struct field f;
	struct message again = m;
	int64_t nodes = 0;
	o->opset_count = 0;
	while (next(o, &m, &f)) {
		if (f.number == 1) copy_name(o, &f, "name", name);
		if (f.number == 9) read_opset(o, &f);
		if (f.number == 10) copy_name(o, &f, "domain", domain);
	}
	while (next(o, &again, &f)) {
		if (f.number != 7 || !is(o, &f, WIRE_BYTES, "node")) continue;
		place_enter(&o->place, "node", nodes++);
		read_node(o, f.inside, 0);
		place_leave(&o->place);
	}
	for (unsigned i = 0; i < o->facts->op_count; i++) {
		struct model_op *row = &o->facts->ops[i];
		if (strcmp(row->name, name) == 0 && strcmp(row->domain, domain) == 0) row->custom = false;
	}
}

static void read_functions(struct onnx *o, struct message m)
{
	struct field f;
	int64_t count = 0;
	while (next(o, &m, &f)) {
		if (f.number != 25 || !is(o, &f, WIRE_BYTES, "functions")) continue;
		if (count == ONNX_FUNCTIONS_MAX) {
			place_fail(&o->place, ERR_TOO_LARGE, "functions", f.at, "more than %d", ONNX_FUNCTIONS_MAX);
			return;
		}
		place_enter(&o->place, "functions", count++);
		read_function(o, f.inside);
		place_leave(&o->place);
	}
}

/* The outermost fields but the graph, which needs the opsets that come behind it. */
static void read_head(struct onnx *o, struct message m, struct field *graph)
{
	struct field f;
	while (next(o, &m, &f)) {
		if (f.number == 1 && is(o, &f, WIRE_VARINT, "ir_version")) o->facts->schema_version = (int64_t)f.value;
		if (f.number == 2) copy_cut(o, &f, "producer_name", o->facts->producer, sizeof o->facts->producer);
		if (f.number == 8) read_opset(o, &f);
		if (f.number != 7 || !is(o, &f, WIRE_BYTES, "graph")) continue;
		if (graph->number != 0) place_fail(&o->place, ERR_INVALID, "graph", f.at, "a second graph");
		*graph = f;
	}
	if (is_good(o) && o->facts->schema_version <= 0)
		place_fail(&o->place, ERR_INVALID, "ir_version", 0, "%lld", (long long)o->facts->schema_version);
	if (is_good(o) && graph->number == 0) place_fail(&o->place, ERR_INVALID, "graph", 0, "a model without a graph");
}

enum err onnx_read(const uint8_t *data, size_t size, struct model_facts *facts, struct fault *f)
{
	struct onnx o = {.data = data, .facts = facts};
	struct message whole = {0, size};
	struct field graph = {0};
	snprintf(facts->arena_unknown, sizeof facts->arena_unknown, "of ONNX the structure is read, not what it takes to run");
	read_head(&o, whole, &graph);
	if (is_good(&o)) {
		memcpy(facts->opsets, o.opsets, sizeof facts->opsets);
		facts->opset_count = o.opset_count;
		place_enter(&o.place, "graph", -1);
		read_graph(&o, graph.inside, 0);
		place_leave(&o.place);
	}
	if (is_good(&o)) read_functions(&o, whole);
	for (unsigned i = 0; i < facts->op_count; i++) facts->custom_count += facts->ops[i].custom;
	return is_good(&o) ? ERR_OK : fault_set(f, o.place.error, "", "%s", o.place.why);
}

/* Wire types of the outermost fields by number; 0xff: there is none. */
static bool is_outer(const struct field *f)
{
	switch (f->number) {
	case 1:
	case 5: return f->wire == WIRE_VARINT;
	case 2:
	case 3:
	case 4:
	case 6:
	case 7:
	case 8:
	case 14:
	case 20:
	case 25:
	case 26: return f->wire == WIRE_BYTES;
	default: return false;
	}
}

bool onnx_is(const uint8_t *data, size_t size)
{
	struct onnx o = {.data = data};
	struct message m = {0, size};
	struct field f;
	bool has_version = false, has_graph = false, has_opset = false;
	while (next(&o, &m, &f)) {
		if (!is_outer(&f)) return false;
		if (f.number == 1) has_version = f.value > 0 && f.value < 1000;
		if (f.number == 7) has_graph = true;
		if (f.number == 8) has_opset = true;
	}
	if (is_good(&o)) return has_version && has_graph;
	/* cut, or with a length that lies: the field that it breaks at shows what was meant */
	return has_version && (has_graph || has_opset || (f.number == 7 && f.wire == WIRE_BYTES));
}
