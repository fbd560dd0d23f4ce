/* ONNX and ExecuTorch files, byte by byte; equality with protoc is in tests/e2e/test_model_inspect.py. */
#include "core/onnx.h"
#include "model_case.h"

/* A message under construction; messages inside are built first. */
struct message {
	uint8_t data[1 << 16];
	size_t len;
};

static void varint(struct message *m, uint64_t value)
{
	for (; value >= 0x80; value >>= 7) m->data[m->len++] = (uint8_t)(value | 0x80);
	m->data[m->len++] = (uint8_t)value;
}

static void number(struct message *m, unsigned field, uint64_t value)
{
	varint(m, field << 3);
	varint(m, value);
}

static void bytes(struct message *m, unsigned field, const void *data, size_t len)
{
	varint(m, field << 3 | 2);
	varint(m, len);
	assert_true(m->len + len <= sizeof m->data);
	memcpy(m->data + m->len, data, len);
	m->len += len;
}

static void text(struct message *m, unsigned field, const char *s)
{
	bytes(m, field, s, strlen(s));
}

static void inside(struct message *m, unsigned field, struct message *part)
{
	bytes(m, field, part->data, part->len);
	part->len = 0;
}

static struct message graph, part, model;

/* A model of the graph; both are then empty. */
static enum err read_model(void)
{
	struct message opset = {.len = 0};
	model.len = 0;
	number(&model, 1, 8);
	inside(&model, 7, &graph);
	number(&opset, 2, 13);
	inside(&model, 8, &opset);
	return read_bytes(model.data, model.len);
}

static void expect_refused(enum err wanted, const char *why)
{
	enum err error = read_model();
	if (error != wanted || strstr(fault.detail, why) == NULL)
		fail_msg("%s: \"%s\" for \"%s\"", err_name(error), fault.detail, why);
}

static void node(struct message *to, const char *op)
{
	struct message n = {.len = 0};
	text(&n, 4, op);
	inside(to, 1, &n);
}

static enum err read_corpus(const char *name)
{
	char path[128];
	size_t size;
	snprintf(path, sizeof path, "tests/fuzz/corpus/%s", name);
	uint8_t *data = load_file(path, &size);
	assert_non_null(data);
	enum err error = read_bytes(data, size);
	free(data);
	return error;
}

static void test_structure(void **state)
{
	(void)state;
	assert_int_equal(read_corpus("onnx/small.onnx"), ERR_OK);
	assert_int_equal(facts->format, MODEL_FORMAT_ONNX);
	assert_int_equal(facts->schema_version, 8);
	assert_true(facts->opset_count == 2 && facts->opsets[0].version == 13);
	assert_string_equal(facts->opsets[1].domain, "my.ops");
	assert_int_equal(facts->op_count, 2);
	assert_true(facts->ops[0].count == 2 && facts->ops[0].version == 13 && !facts->ops[0].custom);
	assert_true(facts->ops[1].version == 2 && facts->ops[1].custom && facts->custom_count == 1);
	assert_int_equal(facts->constant_bytes, 16 + 3 * 8 + 4);
	assert_true(facts->external_count == 1 && facts->external_bytes == 36);
	const struct model_io *x = &facts->inputs[0];
	assert_true(x->rank == 3 && x->dims[0] == MODEL_DIM_OPEN && x->dims[1] == 3 && x->dims[2] == MODEL_DIM_OPEN);
	assert_string_equal(x->symbols[0], "batch");
	assert_true(facts->outputs[0].has_shape && facts->outputs[0].rank == 0 && facts->dynamic);
	assert_true(!facts->has_arena && !facts->has_macs);
}

static void test_nested(void **state)
{
	(void)state;
	assert_int_equal(read_corpus("onnx/nested.onnx"), ERR_OK);
	assert_true(facts->subgraph_count == 6 && facts->op_uses == 7 && facts->op_count == 5);
	assert_int_equal(facts->constant_bytes, 4);
	assert_false(facts->outputs[0].has_shape);
	assert_int_equal(read_corpus("onnx/functions.onnx"), ERR_OK);
	assert_string_equal(facts->ops[0].name, "Half");
	assert_false(facts->ops[0].custom); /* the file itself says what it is */
	assert_int_equal(facts->ops[1].version, 15);
	assert_int_equal(facts->constant_bytes, 2 * 4 + 2 * 8);
}

static void test_tensors(void **state)
{
	(void)state;
	static const struct {
		unsigned type, field;
		const char *data;
		size_t len;
		unsigned count;
	} cases[] = {
		{1, 4, "\0\0\0\0\0\0\0\0", 8, 8},   {10, 5, "\x80\x01\x05", 3, 4}, {6, 5, "\x01\x02", 2, 8},
		{8, 6, "hello", 5, 5},              {11, 10, "12345678", 8, 8},    {12, 11, "\x01\x02\x03", 3, 12},
		{13, 11, "\x01", 1, 8},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		number(&part, 2, cases[i].type);
		bytes(&part, cases[i].field, cases[i].data, cases[i].len);
		inside(&graph, 5, &part);
		assert_int_equal(read_model(), ERR_OK);
		assert_int_equal(facts->constant_bytes, cases[i].count);
	}
	/* one by one instead of packed; dims packed */
	number(&part, 2, 7), number(&part, 7, 5), number(&part, 7, 6), bytes(&part, 1, "\x02", 1);
	inside(&graph, 5, &part);
	assert_int_equal(read_model(), ERR_OK);
	assert_int_equal(facts->constant_bytes, 16);
}

static void test_lies(void **state)
{
	(void)state;
	number(&part, 1, 5), number(&part, 2, 1), bytes(&part, 9, "12345678", 8);
	inside(&graph, 5, &part);
	expect_refused(ERR_INVALID, "graph.initializer[0].raw_data at byte");
	assert_non_null(strstr(fault.detail, "8 bytes, the shape asks for 20"));
	for (int i = 0; i < 3; i++) number(&part, 1, UINT64_C(1) << 62);
	inside(&graph, 5, &part);
	expect_refused(ERR_INVALID, "more than 2^50 elements");
	for (int i = 0; i < 2; i++) number(&part, 1, UINT64_C(1) << 40); /* their product is 0 in 64 bits */
	inside(&graph, 5, &part);
	expect_refused(ERR_INVALID, "more than 2^50 elements");
	number(&part, 1, UINT64_MAX);
	inside(&graph, 5, &part);
	expect_refused(ERR_INVALID, "a dimension of -1");
	bytes(&part, 7, "\x80", 1);
	inside(&graph, 5, &part);
	expect_refused(ERR_INVALID, "a number that does not end");
	bytes(&part, 1, "\x80", 1);
	inside(&graph, 5, &part);
	expect_refused(ERR_INVALID, "a number that does not end");
	text(&part, 1, "x");
	inside(&graph, 1, &part);
	expect_refused(ERR_INVALID, "graph.node[0].op_type at byte");
	bytes(&part, 4, "a\0b", 3);
	inside(&graph, 1, &part);
	expect_refused(ERR_INVALID, "a name with a NUL inside");
	number(&part, 4, 1);
	inside(&graph, 1, &part);
	expect_refused(ERR_INVALID, "wire type 0, 2 is meant");
	varint(&graph, 1 << 3 | 3);
	expect_refused(ERR_INVALID, "wire type 3");
	varint(&graph, 0);
	expect_refused(ERR_INVALID, "field number 0");
	varint(&graph, 1 << 3 | 1);
	expect_refused(ERR_INVALID, "8 bytes are wanted");
	varint(&graph, 1 << 3 | 2), varint(&graph, UINT64_C(1) << 40);
	expect_refused(ERR_INVALID, "field 1 of 1099511627776 bytes");
}

static void test_limits(void **state)
{
	(void)state;
	char name[200];
	memset(name, 'n', sizeof name);
	name[MODEL_NAME_BYTES] = '\0';
	node(&graph, name);
	expect_refused(ERR_TOO_LARGE, "a name of 96 bytes");
	for (int i = 0; i <= MODEL_OPS_MAX; i++) {
		snprintf(name, sizeof name, "Op%d", i);
		node(&graph, name);
	}
	expect_refused(ERR_TOO_LARGE, "graph.node[256].op_type at byte");
	for (int i = 0; i <= MODEL_IO_MAX; i++) bytes(&graph, 11, "", 0);
	expect_refused(ERR_TOO_LARGE, "more than 128");
	struct message dims = {.len = 0}, tensor = {.len = 0}, type = {.len = 0}, io = {.len = 0};
	for (int i = 0; i <= MODEL_RANK_MAX; i++) bytes(&dims, 1, "", 0);
	inside(&tensor, 2, &dims), inside(&type, 1, &tensor), inside(&io, 2, &type), inside(&graph, 12, &io);
	expect_refused(ERR_TOO_LARGE, "graph.output[0].dim at byte");
	model.len = 0;
	number(&model, 1, 8), bytes(&model, 7, "", 0);
	for (int i = 0; i <= MODEL_OPSETS_MAX; i++) bytes(&model, 8, "", 0);
	assert_int_equal(read_bytes(model.data, model.len), ERR_TOO_LARGE);
	model.len = 0;
	number(&model, 1, 8), bytes(&model, 7, "", 0);
	for (int i = 0; i <= ONNX_FUNCTIONS_MAX; i++) bytes(&model, 25, "", 0);
	assert_int_equal(read_bytes(model.data, model.len), ERR_TOO_LARGE);
}

static void test_depth(void **state)
{
	(void)state;
	for (int depth = ONNX_GRAPH_DEPTH_MAX; depth <= ONNX_GRAPH_DEPTH_MAX + 1; depth++) {
		node(&graph, "Relu");
		for (int i = 0; i < depth; i++) {
			struct message attribute = {.len = 0}, n = {.len = 0};
			inside(&attribute, 6, &graph);
			text(&n, 4, "If"), inside(&n, 5, &attribute);
			inside(&graph, 1, &n);
		}
		enum err error = read_model();
		assert_int_equal(error, depth == ONNX_GRAPH_DEPTH_MAX ? ERR_OK : ERR_TOO_LARGE);
	}
	assert_non_null(strstr(fault.detail, "graphs nested deeper than 16"));
}

static void test_outermost(void **state)
{
	(void)state;
	model.len = 0;
	number(&model, 1, 8), bytes(&model, 7, "", 0), bytes(&model, 7, "", 0);
	assert_int_equal(read_bytes(model.data, model.len), ERR_INVALID);
	assert_non_null(strstr(fault.detail, "a second graph"));
	/* recognised although it is cut in the graph; not without a version, with a field of no model, or an empty file */
	node(&graph, "Relu");
	assert_int_equal(read_model(), ERR_OK);
	assert_int_equal(read_bytes(model.data, 8), ERR_INVALID);
	assert_int_equal(facts->format, MODEL_FORMAT_ONNX);
	assert_int_equal(model_detect(model.data + 2, model.len - 2), MODEL_FORMAT_OPAQUE);
	number(&model, 9, 1);
	assert_int_equal(model_detect(model.data, model.len), MODEL_FORMAT_OPAQUE);
	assert_int_equal(model_detect(model.data, 0), MODEL_FORMAT_OPAQUE);
	model.len = 0; /* a TensorFlow SavedModel begins much like this */
	number(&model, 1, 1), bytes(&model, 2, "meta graph", 10);
	assert_int_equal(read_bytes(model.data, model.len), ERR_OK);
	assert_int_equal(facts->format, MODEL_FORMAT_OPAQUE);
	/* asked for by name, both are refused */
	assert_int_equal(onnx_read(model.data, model.len, facts, &fault), ERR_INVALID);
	assert_non_null(strstr(fault.detail, "a model without a graph"));
	model.len = 0;
	bytes(&model, 7, "", 0);
	memset(facts, 0, offsetof(struct model_facts, inputs));
	assert_int_equal(onnx_read(model.data, model.len, facts, &fault), ERR_INVALID);
	assert_non_null(strstr(fault.detail, "ir_version"));
}

static void test_names_are_cut(void **state)
{
	(void)state;
	struct message io = {.len = 0};
	char name[200] = "";
	for (int i = 0; i < 60; i++) strcat(name, "\xc3\xa4");
	text(&io, 1, name);
	inside(&graph, 11, &io);
	assert_int_equal(read_model(), ERR_OK);
	assert_int_equal(strlen(facts->inputs[0].name), 94); /* 47 letters of two bytes: 95 would cut one */
	assert_true(facts->dynamic && facts->inputs[0].type == MODEL_TYPE_UNKNOWN);
}

static void test_big(void **state)
{
	(void)state;
	size_t nodes = 100000, len = 0, room = nodes * 9 + 64;
	uint8_t *big = malloc(room);
	assert_non_null(big);
	static const uint8_t one[] = {0x0a, 6, 0x22, 4, 'R', 'e', 'l', 'u'};
	struct message head = {.len = 0};
	number(&head, 1, 8), varint(&head, 7 << 3 | 2), varint(&head, nodes * sizeof one);
	memcpy(big, head.data, len = head.len);
	for (size_t i = 0; i < nodes; i++, len += sizeof one) memcpy(big + len, one, sizeof one);
	double begin = now_ms();
	assert_int_equal(read_bytes(big, len), ERR_OK);
	assert_true(now_ms() - begin < 500);
	assert_int_equal(facts->ops[0].count, nodes);
	assert_int_equal(facts->ops[0].version, 0); /* no opset is imported */
	free(big);
}

static void test_executorch(void **state)
{
	(void)state;
	assert_int_equal(read_corpus("executorch/plain.pte"), ERR_OK);
	assert_int_equal(facts->format, MODEL_FORMAT_EXECUTORCH);
	assert_string_equal(facts->identifier, "ET12");
	assert_int_equal(facts->schema_version, 7);
	assert_int_equal(read_corpus("executorch/header.pte"), ERR_OK);
	size_t size;
	uint8_t *data = load_file("tests/fuzz/corpus/executorch/header.pte", &size);
	assert_non_null(data);
	data[16] = 200; /* a program longer than the file */
	assert_int_equal(read_bytes(data, size), ERR_INVALID);
	assert_non_null(strstr(fault.detail, "extended_header at byte 16"));
	data[12] = 4;
	assert_int_equal(read_bytes(data, size), ERR_INVALID);
	assert_non_null(strstr(fault.detail, "a header of 4 bytes"));
	data[0] = 0xff;
	assert_int_equal(read_bytes(data, size), ERR_INVALID);
	assert_int_equal(read_bytes(data, 7), ERR_OK);
	assert_int_equal(facts->format, MODEL_FORMAT_OPAQUE);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_structure), cmocka_unit_test(test_nested),   cmocka_unit_test(test_tensors),
		cmocka_unit_test(test_lies),      cmocka_unit_test(test_limits),   cmocka_unit_test(test_depth),
		cmocka_unit_test(test_outermost), cmocka_unit_test(test_names_are_cut), cmocka_unit_test(test_big),
		cmocka_unit_test(test_executorch),
	};
	return cmocka_run_group_tests(tests, open_room, close_room);
}
