/* TensorFlow Lite files: facts of small models made here, of the real ones in shared/data when it is there, and what is
 * refused, with its place. */
#include "model_case.h"
#include "tflite_models.h"

#define DATA "../shared/data/models/"

static struct writer build(const char *name)
{
	for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
		if (strcmp(models[i].name, name) == 0) return b_model(&models[i].model);
	fail_msg("no model %s", name);
	return (struct writer){0};
}

static void expect_read(const char *name)
{
	struct writer w = build(name);
	enum err error = read_bytes(w.data, w.len);
	if (error != ERR_OK) fail_msg("%s: %s", name, fault.detail);
	free(w.data);
}

/* Refused, and the reason contains `why`. */
static void expect_refused(struct writer *w, enum err wanted, const char *why)
{
	enum err error = read_bytes(w->data, w->len);
	if (error != wanted || strstr(fault.detail, why) == NULL)
		fail_msg("%s instead of %s: \"%s\" for \"%s\"", err_name(error), err_name(wanted), fault.detail, why);
	free(w->data);
}

static void test_small_models(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
		const struct named_model *m = &models[i];
		expect_read(m->name);
		assert_int_equal(facts->format, MODEL_FORMAT_TFLITE);
		if (m->head >= 0 && (!facts->has_arena || facts->head_bytes != (uint64_t)m->head))
			fail_msg("%s: head %llu, the interpreter has %d (%s)", m->name, (unsigned long long)facts->head_bytes, m->head,
			         facts->arena_unknown);
		assert_int_equal(facts->has_macs, m->macs >= 0);
		if (facts->has_macs) assert_int_equal(facts->macs, m->macs);
		if (facts->has_arena) assert_true(facts->arena_bytes == facts->head_bytes + facts->tail_bytes);
	}
}

static void test_facts(void **state)
{
	(void)state;
	expect_read("conv8");
	assert_string_equal(facts->identifier, "TFL3");
	assert_string_equal(facts->producer, "made by a test");
	assert_int_equal(facts->signature_count, 1);
	assert_int_equal(facts->input_count, 1);
	const struct model_io *in = &facts->inputs[0];
	assert_string_equal(in->name, "in");
	assert_int_equal(in->type, MODEL_TYPE_INT8);
	assert_int_equal(in->rank, 4);
	assert_true(in->dims[0] == 1 && in->dims[1] == 8 && in->dims[3] == 2);
	assert_true(in->signature[0] == MODEL_DIM_OPEN && in->signature[1] == 8);
	assert_true(facts->dynamic && facts->has_arena);
	assert_int_equal(in->quantisation.count, 1);
	assert_true(in->quantisation.scale > 0.49 && in->quantisation.scale < 0.51 && in->quantisation.zero == -128);
	assert_string_equal(facts->outputs[0].name, "out");
	assert_int_equal(facts->op_count, 2);
	assert_string_equal(facts->ops[0].name, "CONV_2D");
	assert_int_equal(facts->ops[0].version, 5);
	assert_int_equal(facts->ops[0].macs, 4608);
	assert_string_equal(facts->ops[1].name, "RELU");
	assert_int_equal(facts->constant_bytes, 72);
	assert_false(facts->hybrid);
	expect_read("conv4");
	assert_int_equal(facts->constant_bytes, 36);
	expect_read("mean");
	assert_false(facts->dynamic);
}

static void test_refusable(void **state)
{
	(void)state;
	expect_read("custom");
	assert_int_equal(facts->custom_count, 2);
	assert_int_equal(facts->op_uses, 3);
	assert_true(facts->ops[0].custom && facts->ops[0].count == 2 && facts->ops[1].version == 2);
	assert_string_equal(facts->ops[0].name, "my-accelerator");
	assert_string_equal(facts->arena_unknown, "subgraphs[0].operators[0] is my-accelerator");
	expect_read("hybrid");
	assert_true(facts->hybrid);
	assert_string_equal(facts->hybrid_at, "subgraphs[0].operators[0]");
	expect_read("text");
	assert_string_equal(facts->arena_unknown, "subgraphs[0].tensors[0] is of type string");
	expect_read("branch");
	assert_int_equal(facts->subgraph_count, 3);
	assert_int_equal(facts->op_uses, 5);
}

/* The reference table of the data: what the real interpreter said. */
static const struct {
	const char *name;
	unsigned ops, head, total;
	uint64_t macs;
} real[] = {
	{"hello_world_int8", 3, 32, 1728, 288},
	{"hello_world_float", 3, 128, 1760, 288},
	{"micro_speech_quantized", 4, 5968, 7856, 336000},
	{"trained_lstm_int8", 4, 1536, 4480, 113120},
	{"keyword_scrambled_8bit", 15, 672, 10160, 21056},
	{"kws_ref_model", 13, 16000, 24544, 2656768},
	{"ad01_int8", 10, 768, 3984, 264192},
	{"pretrainedResnet_quant", 16, 49152, 56256, 12501632},
	{"person_detect", 31, 55296, 85568, 7157888},
	{"vww_96_int8", 31, 73728, 103952, 7489664},
};

static bool read_real(const char *name, double *ms, size_t *size)
{
	char path[256];
	snprintf(path, sizeof path, DATA "%s.tflite", name);
	uint8_t *data = load_file(path, size);
	if (data == NULL) return false;
	double best = 1e9;
	for (int i = 0; i < 5; i++) {
		double begin = now_ms();
		enum err error = model_read(data, *size, work, facts, &fault);
		double took = now_ms() - begin;
		if (error != ERR_OK) fail_msg("%s: %s", name, fault.detail);
		if (took < best) best = took;
	}
	*ms = best;
	free(data);
	return true;
}

static void test_real_models(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof real / sizeof real[0]; i++) {
		double ms;
		size_t size;
		if (!read_real(real[i].name, &ms, &size)) skip();
		assert_int_equal(facts->op_uses, real[i].ops);
		assert_true(facts->has_arena && facts->has_macs);
		assert_int_equal(facts->head_bytes, real[i].head);
		assert_int_equal(facts->macs, real[i].macs);
		/* the tail is an estimate from above, but not from far above */
		assert_true(facts->arena_bytes >= real[i].total && facts->arena_bytes <= real[i].total + real[i].total / 5);
		assert_true(ms < 20 * (0.2 + (double)size / 1e6)); /* loose: a busy machine, perhaps with sanitizers */
	}
}

static void test_real_refusals(void **state)
{
	(void)state;
	double ms;
	size_t size;
	if (!read_real("kws_ref_model_float32", &ms, &size)) skip();
	assert_true(facts->hybrid);
	assert_string_equal(facts->hybrid_at, "subgraphs[0].operators[0]");
	assert_string_equal(facts->ops[0].name, "CONV_2D");
	assert_true(read_real("person_detect_vela", &ms, &size));
	assert_int_equal(facts->custom_count, 1);
	assert_string_equal(facts->ops[0].name, "ethos-u");
	assert_false(facts->has_macs);
}

/* ---- what is refused ---- */

/* Positions in a built model: the root, a vector's first element, a table in it. */
static size_t root_of(const struct writer *w)
{
	return (size_t)w_get(w, 0, 4);
}

static size_t follow(const struct writer *w, size_t at)
{
	return at + (size_t)w_get(w, at, 4);
}

static size_t vector_of(const struct writer *w, size_t table, unsigned id)
{
	return follow(w, w_field(w, table, id)) + 4;
}

static size_t graph_of(const struct writer *w)
{
	return follow(w, vector_of(w, root_of(w), 2));
}

static size_t tensor_at(const struct writer *w, unsigned i)
{
	return follow(w, vector_of(w, graph_of(w), 0) + 4 * i);
}

static size_t op_at(const struct writer *w, unsigned i)
{
	return follow(w, vector_of(w, graph_of(w), 3) + 4 * i);
}

static void test_bad_indices(void **state)
{
	(void)state;
	struct writer w = build("conv8");
	w_set(&w, vector_of(&w, op_at(&w, 1), 1), 4, 99);
	expect_refused(&w, ERR_INVALID, "subgraphs[0].operators[1].inputs at byte");
	assert_non_null(strstr(fault.detail, "tensor 99 of 4"));
	w = build("conv8");
	w_set(&w, vector_of(&w, op_at(&w, 0), 2), 4, (uint32_t)-2);
	expect_refused(&w, ERR_INVALID, "subgraphs[0].operators[0].outputs");
	w = build("conv8");
	w_set(&w, w_field(&w, op_at(&w, 0), 0), 4, 7);
	expect_refused(&w, ERR_INVALID, "subgraphs[0].operators[0].opcode_index");
	w = build("conv8");
	w_set(&w, w_field(&w, tensor_at(&w, 1), 2), 4, 5);
	expect_refused(&w, ERR_INVALID, "subgraphs[0].tensors[1].buffer");
	w = build("conv8");
	w_set(&w, vector_of(&w, graph_of(&w), 1), 4, (uint32_t)-1);
	expect_refused(&w, ERR_INVALID, "subgraphs[0].inputs");
	w = build("conv8");
	w_set(&w, w_field(&w, tensor_at(&w, 2), 1), 1, 99);
	expect_refused(&w, ERR_INVALID, "subgraphs[0].tensors[2].type");
	w = build("conv8");
	size_t signature = follow(&w, vector_of(&w, root_of(&w), 7));
	w_set(&w, w_field(&w, follow(&w, vector_of(&w, signature, 0)), 1), 4, 4);
	expect_refused(&w, ERR_INVALID, "signature_defs[0].inputs[0].tensor_index");
}

static void test_bad_offsets(void **state)
{
	(void)state;
	struct writer w = build("conv8");
	w_set(&w, 0, 4, 0x7fffffff);
	expect_refused(&w, ERR_INVALID, "the file at byte 0: offset 2147483647 leads out of the file");
	w = build("conv8");
	w_set(&w, vector_of(&w, graph_of(&w), 0) + 8, 4, 0xfffffff0);
	expect_refused(&w, ERR_INVALID, "subgraphs[0].tensors[2] at byte");
	w = build("conv8");
	w_set(&w, tensor_at(&w, 0), 4, 0x80000000); /* a vtable 2 GiB away */
	expect_refused(&w, ERR_INVALID, "its vtable is not in the file");
	w = build("conv8");
	w_set(&w, tensor_at(&w, 0) - (size_t)w_get(&w, tensor_at(&w, 0), 4), 2, 0xffff);
	expect_refused(&w, ERR_INVALID, "subgraphs[0].tensors[0]");
	w = build("conv8");
	size_t root = root_of(&w);
	w_set(&w, root - (size_t)w_get(&w, root, 4) + 4, 2, 0xfff0); /* the place of its first field */
	expect_refused(&w, ERR_INVALID, "version at byte");
	w = build("conv8");
	w_set(&w, w_field(&w, root_of(&w), 0), 4, 2);
	expect_refused(&w, ERR_INVALID, "schema version 2");
	w = build("conv8");
	memset(w.data + 8, 0, w.len - 8);
	expect_refused(&w, ERR_INVALID, "at byte");
}

static void test_sizes(void **state)
{
	(void)state;
	struct writer w = build("conv8");
	w_set(&w, vector_of(&w, graph_of(&w), 0) - 4, 4, 0x40000000); /* a billion tensors */
	expect_refused(&w, ERR_INVALID, "subgraphs[0].tensors at byte");
	w = build("conv8");
	for (unsigned i = 0; i < 4; i++) w_set(&w, vector_of(&w, tensor_at(&w, 0), 0) + 4 * i, 4, 0x7fffffff);
	expect_refused(&w, ERR_INVALID, "subgraphs[0].tensors[0].shape");
	w = build("conv8");
	w_set(&w, vector_of(&w, tensor_at(&w, 0), 0) + 4, 4, (uint32_t)-5);
	expect_refused(&w, ERR_INVALID, "a dimension of -5");
	w = build("conv8");
	w_set(&w, vector_of(&w, tensor_at(&w, 1), 0), 4, 5); /* one filter more than there are weights */
	expect_refused(&w, ERR_INVALID, "buffer 1 has 72 bytes, the shape asks for 90");
	w = build("conv8");
	w_set(&w, vector_of(&w, tensor_at(&w, 2), 0) + 4, 4, (uint32_t)-1); /* open: read, but not planned */
	assert_int_equal(read_bytes(w.data, w.len), ERR_OK);
	assert_false(facts->has_arena);
	assert_string_equal(facts->arena_unknown, "the shape of subgraphs[0].tensors[2] is open");
	assert_false(facts->has_macs);
	free(w.data);
}

/* Two tensors of which one lies within the other, in bytes that no field of the other takes; and one tensor twice. */
static void test_overlap(void **state)
{
	(void)state;
	struct writer w = build("svdf");
	size_t slots = vector_of(&w, graph_of(&w), 0);
	size_t large = w_table(&w, (const struct cell[]){{1, 1, 0}, {0, 4, 0}, {2, 4, 0}, {5, 1, 1}}, 4);
	size_t vtable = large - (size_t)w_get(&w, large, 4), none = w_put(&w, 4, 4 | 4 << 16);
	w_set(&w, vtable + 4, 2, 0); /* no shape: its 4 bytes are free */
	size_t small = large + 8;
	w_set(&w, small, 4, small - none);
	w_link(&w, slots + 4 * 3, small);
	w_link(&w, slots + 4 * 6, large);
	char why[64];
	snprintf(why, sizeof why, "at byte %zu: this table overlaps the one at byte %zu", small, large);
	expect_refused(&w, ERR_INVALID, why);
	w = build("svdf");
	w_link(&w, slots + 4 * 6, tensor_at(&w, 3));
	assert_int_equal(read_bytes(w.data, w.len), ERR_OK);
	free(w.data);
}

static void test_calls(void **state)
{
	(void)state;
	struct writer w = build("branch");
	size_t options = follow(&w, w_field(&w, op_at(&w, 0), 4));
	w_set(&w, w_field(&w, options, 1), 4, 0); /* else: the main graph itself */
	expect_refused(&w, ERR_INVALID, "subgraph 0 calls itself");
	w = build("branch");
	options = follow(&w, w_field(&w, op_at(&w, 0), 4));
	w_set(&w, w_field(&w, options, 0), 4, 3);
	expect_refused(&w, ERR_INVALID, "then_subgraph_index");
	w = build("branch");
	w_set(&w, w_field(&w, op_at(&w, 0), 3), 1, 1); /* options of another type */
	expect_refused(&w, ERR_INVALID, "an operator that calls subgraphs names none");
}

/* Every subgraph calls the next one twice: 2^16 ways, and more. */
static void test_calls_that_multiply(void **state)
{
	(void)state;
	enum { DEPTH = 18 };
	static struct b_op ops[DEPTH][1];
	static struct b_graph graphs[DEPTH];
	for (int deep = 16; deep <= DEPTH; deep += 2) {
		for (int i = 0; i < deep; i++) {
			bool last = i == deep - 1;
			ops[i][0] = last ? then_ops[0] : (struct b_op){118, 1, NULL, {0}, 1, {1}, 1, 92, 4, {i + 1, i + 1}, 2, {0}, 0};
			graphs[i] = (struct b_graph){then_tensors, 2, ops[i], 1, {0}, 1, {1}, 1};
		}
		struct b_model m = {graphs, deep, NULL, 0, 0};
		struct writer w = b_model(&m);
		double begin = now_ms();
		enum err error = read_bytes(w.data, w.len);
		assert_true(now_ms() - begin < 500);
		assert_int_equal(error, deep <= 17 ? ERR_OK : ERR_TOO_LARGE);
		free(w.data);
	}
	assert_non_null(strstr(fault.detail, "calls deeper than 16"));
}

static void test_offline_plans(void **state)
{
	(void)state;
	int32_t words[] = {1, 0, 3, 512, -1, 0};
	struct b_model m = {plan_graphs, 1, words, 6, 0};
	const struct {
		int at, value;
		bool known;
		uint64_t head;
	} cases[] = {{3, 512, true, 624}, {3, 0, true, 272}, {3, -5, false, 0}, {2, 4, false, 0}, {2, 3, true, 624}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		words[2] = 3;
		words[3] = 512;
		words[cases[i].at] = cases[i].value;
		struct writer w = b_model(&m);
		assert_int_equal(read_bytes(w.data, w.len), ERR_OK);
		assert_int_equal(facts->has_arena, cases[i].known);
		assert_int_equal(facts->head_bytes, cases[i].head);
		free(w.data);
	}
}

/* As many tensors alive at once as are planned, and one more. */
static void test_many_tensors(void **state)
{
	(void)state;
	enum { MOST = 4096 };
	struct b_tensor *tensors = calloc(MOST + 1, sizeof *tensors);
	struct b_op *ops = calloc(MOST, sizeof *ops);
	assert_true(tensors != NULL && ops != NULL);
	for (int count = MOST; count <= MOST + 1; count++) {
		for (int i = 0; i < count; i++)
			tensors[i] = (struct b_tensor){"t", I8, 1, {1 + (i * 7919) % 5000}, 0, 0, 0, 0};
		for (int i = 0; i < count - 1; i++)
			ops[i] = (struct b_op){19, 1, NULL, {i}, 1, {i + 1}, 1, 0, 0, {0}, 0, {0}, 0};
		struct b_graph graph = {tensors, count, ops, 100, {0}, 1, {1}, 1};
		struct b_model m = {&graph, 1, NULL, 0, 0};
		struct writer w = b_model(&m);
		double begin = now_ms();
		assert_int_equal(read_bytes(w.data, w.len), ERR_OK);
		assert_true(now_ms() - begin < 1000);
		assert_int_equal(facts->has_arena, count == MOST);
		if (count > MOST) assert_string_equal(facts->arena_unknown, "more than 4096 tensors to plan");
		free(w.data);
	}
	free(tensors);
	free(ops);
}

/* More inputs, operators, buffers than there is room for; constants in other places than the FlatBuffer. */
static void test_limits(void **state)
{
	(void)state;
	static struct b_op ops[257];
	static char names[257][8];
	for (int i = 0; i < 257; i++) {
		snprintf(names[i], sizeof names[i], "op%d", i);
		ops[i] = (struct b_op){32, 1, names[i], {0}, 1, {1}, 1, 0, 0, {0}, 0, {0}, 0};
	}
	struct b_graph graph = {custom_tensors, 2, ops, 257, {0}, 1, {1}, 1};
	struct b_model m = {&graph, 1, NULL, 0, 0};
	struct writer w = b_model(&m);
	expect_refused(&w, ERR_TOO_LARGE, "subgraphs[0].operators[256] at byte");
	w = build("custom");
	size_t list = w.len; /* 129 times the first tensor */
	w_put(&w, 4, 129);
	for (int i = 0; i < 129; i++) w_put(&w, 4, 0);
	w_link(&w, w_field(&w, graph_of(&w), 1), list);
	expect_refused(&w, ERR_TOO_LARGE, "subgraphs[0].inputs at byte");
	w = build("custom");
	list = w.len;
	w_put(&w, 4, 5000);
	for (int i = 0; i < 5000; i++) w_put(&w, 4, 0);
	w_link(&w, w_field(&w, op_at(&w, 0), 1), list);
	expect_refused(&w, ERR_TOO_LARGE, "subgraphs[0].operators[0].inputs at byte");
	w = build("custom");
	w_set(&w, vector_of(&w, follow(&w, vector_of(&w, root_of(&w), 1)), 1), 1, 0);
	expect_refused(&w, ERR_INVALID, "operator_codes[0].custom_code");
	w = build("custom");
	w_set(&w, w_field(&w, follow(&w, vector_of(&w, root_of(&w), 1)), 3), 4, (uint32_t)-7);
	expect_refused(&w, ERR_INVALID, "operator number -7");
	w = build("custom");
	w_set(&w, w_field(&w, follow(&w, vector_of(&w, root_of(&w), 1)), 3), 4, 4000);
	assert_int_equal(read_bytes(w.data, w.len), ERR_OK); /* an operator newer than this reader */
	assert_string_equal(facts->ops[0].name, "BUILTIN_4000");
	free(w.data);
}

/* Files above 2 GiB keep constants behind the FlatBuffer: buffers say where. */
static void test_outside(void **state)
{
	(void)state;
	for (int past = 0; past <= 1; past++) {
		struct writer w = build("conv8");
		size_t table = w_table(&w, (const struct cell[]){{1, 8, 0}, {2, 8, 72}}, 2);
		w_link(&w, vector_of(&w, root_of(&w), 4) + 4, table);
		size_t offset = w.len;
		for (int i = 0; i < 72; i++) w_put(&w, 1, 1);
		w_set(&w, w_field(&w, table, 1), 8, offset + (size_t)past);
		if (past) {
			expect_refused(&w, ERR_INVALID, "buffers[1].offset at byte");
			continue;
		}
		assert_int_equal(read_bytes(w.data, w.len), ERR_OK);
		assert_int_equal(facts->constant_bytes, 72);
		assert_string_equal(facts->arena_unknown, "constants of subgraphs[0].tensors[1] are outside the FlatBuffer");
		free(w.data);
	}
}

static void test_planned_sizes(void **state)
{
	(void)state;
	struct writer w = build("plan");
	w_set(&w, vector_of(&w, tensor_at(&w, 1), 0) + 4, 4, 0x7fffffff);
	w_set(&w, vector_of(&w, tensor_at(&w, 1), 0), 4, 2);
	assert_int_equal(read_bytes(w.data, w.len), ERR_OK);
	assert_string_equal(facts->arena_unknown, "subgraphs[0].tensors[1] is above 2 GiB");
	w_set(&w, vector_of(&w, tensor_at(&w, 1), 0), 4, 1); /* fits alone, not with the others */
	assert_int_equal(read_bytes(w.data, w.len), ERR_OK);
	assert_string_equal(facts->arena_unknown, "its tensors need more than 2 GiB at once");
	assert_int_equal(facts->head_bytes, 0);
	free(w.data);
	w = build("tconv"); /* the result is small enough, eight bytes for each of it are not */
	w_set(&w, vector_of(&w, tensor_at(&w, 4), 0), 4, 2000000);
	assert_int_equal(read_bytes(w.data, w.len), ERR_OK);
	assert_string_equal(facts->arena_unknown, "subgraphs[0].operators[0] asks for too much scratch memory");
	free(w.data);
	static const struct b_op op = {19, 1, NULL, {0}, 1, {1}, 1, 0, 0, {0}, 0, {2}, 1};
	struct b_graph graph = {plan_tensors, 3, &op, 1, {0}, 1, {1}, 1};
	struct b_model m = {&graph, 1, NULL, 0, 0};
	w = b_model(&m);
	assert_int_equal(read_bytes(w.data, w.len), ERR_OK);
	assert_string_equal(facts->arena_unknown, "subgraphs[0] has an intermediate tensor with a size");
	free(w.data);
}

/* Every cut and every flipped byte of every small model is refused with a place, or read. */
static void test_damage(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
		struct writer w = b_model(&models[i].model);
		for (size_t len = 8; len < w.len; len += 3) {
			enum err error = read_bytes(w.data, len);
			if (error != ERR_OK) assert_non_null(strstr(fault.detail, " at byte "));
		}
		for (size_t at = 8; at < w.len; at += 2) {
			uint8_t kept = w.data[at];
			w.data[at] = (uint8_t)(kept ^ (1u << at % 8));
			enum err error = read_bytes(w.data, w.len);
			if (error != ERR_OK) assert_non_null(strstr(fault.detail, " at byte "));
			w.data[at] = kept;
		}
		free(w.data);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_models),     cmocka_unit_test(test_facts),
		cmocka_unit_test(test_refusable),        cmocka_unit_test(test_real_models),
		cmocka_unit_test(test_real_refusals),    cmocka_unit_test(test_bad_indices),
		cmocka_unit_test(test_bad_offsets),      cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_overlap),
		cmocka_unit_test(test_calls),            cmocka_unit_test(test_calls_that_multiply),
		cmocka_unit_test(test_offline_plans),    cmocka_unit_test(test_many_tensors),
		cmocka_unit_test(test_limits),           cmocka_unit_test(test_outside),
		cmocka_unit_test(test_planned_sizes),    cmocka_unit_test(test_damage),
	};
	return cmocka_run_group_tests(tests, open_room, close_room);
}
