/* The facts of a model file as JSON: one writer for the server and for the command line. */
#include "core/model_file.h"

static void put_known(struct buf *out, const char *key, bool is_known, uint64_t value)
{
	json_key(out, key);
	if (is_known)
		json_put_int(out, value > INT64_MAX ? INT64_MAX : (int64_t)value);
	else
		json_put_null(out);
}

static void put_text(struct buf *out, const char *key, const char *text)
{
	json_str(out, key, text[0] != '\0' ? text : NULL);
}

/* A dimension: a number, the name of an open one, or null. */
static void put_dims(struct buf *out, const char *key, const struct model_io *io, const int64_t *dims)
{
	json_key(out, key);
	json_open_array(out);
	for (unsigned i = 0; i < io->rank; i++) {
		if (dims[i] != MODEL_DIM_OPEN)
			json_put_int(out, dims[i]);
		else
			json_put_str(out, io->symbols[i][0] != '\0' ? io->symbols[i] : NULL);
	}
	json_close_array(out);
}

static bool is_resizable(const struct model_io *io)
{
	for (unsigned i = 0; i < io->rank; i++)
		if (io->signature[i] != io->dims[i]) return true;
	return false;
}

static void put_quantisation(struct buf *out, const struct model_quantisation *q)
{
	json_key(out, "quantization");
	if (q->count == 0) {
		json_put_null(out);
		return;
	}
	json_open_object(out);
	json_num(out, "scale", q->scale);
	json_int(out, "zero_point", q->zero);
	if (q->count > 1) {
		json_int(out, "scales", q->count);
		json_int(out, "axis", q->axis);
	}
	json_close_object(out);
}

static void put_ios(struct buf *out, const char *key, const struct model_io *list, unsigned count)
{
	json_key(out, key);
	json_open_array(out);
	for (unsigned i = 0; i < count; i++) {
		const struct model_io *io = &list[i];
		json_open_object(out);
		json_str(out, "name", io->name);
		json_str(out, "type", model_type_name(io->type));
		if (io->has_shape)
			put_dims(out, "shape", io, io->dims);
		else
			json_str(out, "shape", NULL);
		if (is_resizable(io)) put_dims(out, "shape_signature", io, io->signature);
		put_quantisation(out, &io->quantisation);
		json_close_object(out);
	}
	json_close_array(out);
}

static void put_operators(struct buf *out, const struct model_facts *facts)
{
	json_key(out, "operators");
	json_open_array(out);
	for (unsigned i = 0; i < facts->op_count; i++) {
		const struct model_op *op = &facts->ops[i];
		json_open_object(out);
		json_str(out, "name", op->name);
		if (facts->format == MODEL_FORMAT_ONNX) json_str(out, "domain", op->domain);
		put_known(out, "version", op->version > 0, (uint64_t)op->version);
		json_int(out, "count", op->count);
		json_bool(out, "custom", op->custom);
		put_known(out, "macs", op->has_macs, op->macs);
		json_close_object(out);
	}
	json_close_array(out);
	json_int(out, "operator_uses", (int64_t)facts->op_uses);
	json_key(out, "custom_operators");
	json_open_array(out);
	for (unsigned i = 0; i < facts->op_count; i++)
		if (facts->ops[i].custom) json_put_str(out, facts->ops[i].name);
	json_close_array(out);
}

static void put_onnx(struct buf *out, const struct model_facts *facts)
{
	json_int(out, "ir_version", facts->schema_version);
	json_key(out, "opset_imports");
	json_open_array(out);
	for (unsigned i = 0; i < facts->opset_count; i++) {
		json_open_object(out);
		json_str(out, "domain", facts->opsets[i].domain);
		json_int(out, "version", facts->opsets[i].version);
		json_close_object(out);
	}
	json_close_array(out);
	json_int(out, "external_tensors", facts->external_count);
	put_known(out, "external_bytes", true, facts->external_bytes);
}

void model_facts_json(const struct model_facts *facts, struct buf *out)
{
	bool is_read = facts->format == MODEL_FORMAT_TFLITE || facts->format == MODEL_FORMAT_ONNX;
	json_open_object(out);
	json_str(out, "format", model_format_name(facts->format));
	put_known(out, "file_bytes", true, facts->file_bytes);
	put_text(out, "identifier", facts->identifier);
	if (facts->format == MODEL_FORMAT_TFLITE) json_int(out, "schema_version", facts->schema_version);
	if (facts->format == MODEL_FORMAT_ONNX) put_onnx(out, facts);
	put_text(out, "producer", facts->producer);
	put_ios(out, "inputs", facts->inputs, facts->input_count);
	put_ios(out, "outputs", facts->outputs, facts->output_count);
	put_operators(out, facts);
	put_known(out, "subgraphs", is_read, facts->subgraph_count);
	put_known(out, "constant_bytes", is_read, facts->constant_bytes);
	put_known(out, "head_bytes", facts->has_arena, facts->head_bytes);
	put_known(out, "tail_bytes", facts->has_arena, facts->tail_bytes);
	put_known(out, "arena_bytes", facts->has_arena, facts->arena_bytes);
	put_text(out, "arena_unknown", facts->arena_unknown);
	put_known(out, "macs", facts->has_macs, facts->macs);
	json_bool(out, "hybrid", facts->hybrid);
	put_text(out, "hybrid_at", facts->hybrid_at);
	json_bool(out, "dynamic", facts->dynamic);
	json_close_object(out);
}
