/* What an opened TensorFlow Lite file says, collected. */
#include <stdio.h>
#include <string.h>

#include "core/tflite_arena.h"

/* Names of tensors may be long; what does not fit is cut, not inside of a UTF-8 sequence. */
static void copy_cut(struct slice s, char *out, size_t out_size)
{
	size_t len = s.len < out_size ? s.len : out_size - 1;
	if (len < s.len)
		while (len > 0 && ((unsigned char)s.data[len] & 0xc0) == 0x80) len--;
	if (len > 0) memcpy(out, s.data, len);
	out[len] = '\0';
}

static void fill_io(struct tflite *t, struct flatbuf_vector list, struct model_io *io, unsigned *count)
{
	for (uint32_t i = 0; i < list.count; i++, io++) {
		struct tflite_tensor x;
		tflite_tensor(t, 0, (uint32_t)flatbuf_item_i32(&t->fb, list, i), &x);
		memset(io, 0, sizeof *io);
		copy_cut(x.name, io->name, sizeof io->name);
		io->type = x.type;
		io->rank = x.rank;
		io->has_shape = true;
		for (unsigned d = 0; d < x.rank; d++) {
			io->dims[d] = x.dims[d];
			io->signature[d] = x.signature[d] < 0 ? MODEL_DIM_OPEN : x.signature[d];
		}
		io->quantisation = x.quantisation;
		++*count;
	}
}

/* The row of an operator, found or new; NULL: the table is full. */
static struct model_op *op_row(struct model_facts *facts, const struct tflite_operator *op)
{
	char name[MODEL_NAME_BYTES];
	tflite_operator_name(op, name, sizeof name);
	bool custom = op->builtin == TFLITE_CUSTOM;
	for (unsigned i = 0; i < facts->op_count; i++) {
		struct model_op *row = &facts->ops[i];
		if (row->version == op->version && row->custom == custom && strcmp(row->name, name) == 0) return row;
	}
	if (facts->op_count == MODEL_OPS_MAX) return NULL;
	struct model_op *row = &facts->ops[facts->op_count++];
	memset(row, 0, sizeof *row);
	memcpy(row->name, name, sizeof row->name);
	row->version = op->version;
	row->custom = custom;
	row->has_macs = tflite_has_macs(op->builtin);
	if (custom) facts->custom_count++;
	return row;
}

static void count_operator(struct tflite *t, unsigned graph, uint32_t index, struct model_facts *facts)
{
	struct tflite_operator op;
	uint64_t macs;
	place_enter(&t->fb.place, "operators", index);
	tflite_operator(t, graph, index, &op);
	struct model_op *row = op_row(facts, &op);
	if (row == NULL) {
		place_fail(&t->fb.place, ERR_TOO_LARGE, NULL, op.options.at, "more than %d different operators", MODEL_OPS_MAX);
	} else {
		row->count++;
		facts->op_uses++;
		if (!tflite_macs(t, graph, &op, &macs) || __builtin_add_overflow(row->macs, macs, &row->macs) ||
		    __builtin_add_overflow(facts->macs, macs, &facts->macs)) {
			row->has_macs = false;
			facts->has_macs = false;
		}
		if (!facts->hybrid && tflite_is_hybrid(t, graph, &op)) {
			facts->hybrid = true;
			place_print(&t->fb.place, NULL, facts->hybrid_at, sizeof facts->hybrid_at);
		}
	}
	place_leave(&t->fb.place);
}

static void count_operators(struct tflite *t, struct model_facts *facts)
{
	facts->has_macs = true;
	for (unsigned graph = 0; graph < t->graph_count; graph++) {
		place_enter(&t->fb.place, "subgraphs", graph);
		for (uint32_t i = 0; i < t->graphs[graph].operators.count && flatbuf_is_good(&t->fb); i++)
			count_operator(t, graph, i, facts);
		place_leave(&t->fb.place);
	}
	if (!facts->has_macs) facts->macs = 0;
	for (unsigned i = 0; i < facts->op_count; i++)
		if (!facts->ops[i].has_macs) facts->ops[i].macs = 0;
}

void tflite_facts(struct tflite *t, struct model_facts *facts)
{
	static const struct flatbuf_field description = {3, "description"}, signatures = {7, "signature_defs"};
	const struct tflite_subgraph *main_graph = &t->graphs[0];
	facts->schema_version = 3;
	facts->subgraph_count = t->graph_count;
	facts->signature_count = flatbuf_vector(&t->fb, t->root, signatures, 4).count;
	copy_cut(flatbuf_text(&t->fb, t->root, description), facts->producer, sizeof facts->producer);
	if (main_graph->inputs.count > MODEL_IO_MAX || main_graph->outputs.count > MODEL_IO_MAX) {
		place_fail(&t->fb.place, ERR_TOO_LARGE, "subgraphs[0].inputs", main_graph->inputs.at, "more than %d inputs or outputs",
		             MODEL_IO_MAX);
		return;
	}
	fill_io(t, main_graph->inputs, facts->inputs, &facts->input_count);
	fill_io(t, main_graph->outputs, facts->outputs, &facts->output_count);
	count_operators(t, facts);
	facts->dynamic = t->is_dynamic;
	facts->constant_bytes = tflite_constant_bytes(t);
}
