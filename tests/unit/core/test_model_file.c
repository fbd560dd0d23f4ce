/* The one entry: which reader, what was declared, and the facts as JSON. */
#include "base/json.h"
#include "model_case.h"

static struct json *facts_of(const char *file)
{
	char path[128];
	size_t size = 0;
	struct buf out = BUF_INIT;
	struct json *root = NULL;
	snprintf(path, sizeof path, "tests/fuzz/corpus/%s", file);
	uint8_t *data = load_file(path, &size);
	assert_non_null(data);
	assert_int_equal(read_bytes(data, size), ERR_OK);
	free(data);
	model_facts_json(facts, &out);
	assert_int_equal(json_parse(out.data, out.len, &root, &fault), ERR_OK);
	buf_done(&out);
	return root;
}

static double number(const struct json *object, const char *key)
{
	const struct json *value = json_get(object, key);
	assert_true(value != NULL && json_type(value) == JSON_NUMBER);
	return json_number(value);
}

static void expect_text(const struct json *object, const char *key, const char *wanted)
{
	const char *text = json_text(json_get(object, key));
	assert_non_null(text);
	assert_string_equal(text, wanted);
}

static bool is_null(const struct json *object, const char *key)
{
	return json_get(object, key) != NULL && json_type(json_get(object, key)) == JSON_NULL;
}

static void test_json_tflite(void **state)
{
	(void)state;
	struct json *root = facts_of("tflite/conv8.tflite");
	expect_text(root, "format", "tflite");
	expect_text(root, "identifier", "TFL3");
	assert_true(number(root, "head_bytes") == 512 && number(root, "macs") == 4608 && number(root, "constant_bytes") == 72);
	assert_true(number(root, "arena_bytes") == number(root, "head_bytes") + number(root, "tail_bytes"));
	assert_true(is_null(root, "arena_unknown") && !json_is_true(json_get(root, "hybrid")) && is_null(root, "hybrid_at"));
	const struct json *in = json_first(json_get(root, "inputs"));
	expect_text(in, "name", "in");
	expect_text(in, "type", "int8");
	assert_int_equal(json_count(json_get(in, "shape")), 4);
	assert_true(json_type(json_first(json_get(in, "shape_signature"))) == JSON_NULL);
	assert_true(number(json_get(in, "quantization"), "zero_point") == -128);
	assert_int_equal(json_count(json_get(root, "operators")), 2);
	const struct json *op = json_first(json_get(root, "operators"));
	expect_text(op, "name", "CONV_2D");
	assert_true(number(op, "version") == 5 && number(op, "count") == 1 && number(op, "macs") == 4608);
	assert_true(is_null(json_next(op), "macs"));
	assert_int_equal(json_count(json_get(root, "custom_operators")), 0);
	json_free(root);
	root = facts_of("tflite/custom.tflite");
	assert_int_equal(json_count(json_get(root, "custom_operators")), 2);
	assert_true(is_null(root, "macs") && is_null(root, "head_bytes"));
	expect_text(root, "arena_unknown", "subgraphs[0].operators[0] is my-accelerator");
	json_free(root);
}

static void test_json_onnx(void **state)
{
	(void)state;
	struct json *root = facts_of("onnx/small.onnx");
	expect_text(root, "format", "onnx");
	assert_true(number(root, "ir_version") == 8 && number(root, "external_bytes") == 36);
	assert_int_equal(json_count(json_get(root, "opset_imports")), 2);
	assert_string_equal(json_text(json_first(json_get(json_first(json_get(root, "inputs")), "shape"))), "batch");
	assert_true(is_null(root, "macs") && is_null(root, "arena_bytes"));
	json_free(root);
	root = facts_of("onnx/nested.onnx");
	assert_true(is_null(json_first(json_get(root, "outputs")), "shape"));
	json_free(root);
	root = facts_of("executorch/plain.pte");
	assert_true(is_null(root, "subgraphs") && is_null(root, "constant_bytes"));
	json_free(root);
}

static void test_per_channel(void **state)
{
	(void)state;
	struct buf out = BUF_INIT;
	memset(facts, 0, sizeof *facts);
	facts->output_count = 1;
	facts->outputs[0].quantisation = (struct model_quantisation){3, 2, 0.5, 1};
	facts->op_count = 1;
	facts->has_macs = true;
	facts->macs = UINT64_MAX; /* more than JSON's numbers hold here */
	model_facts_json(facts, &out);
	assert_non_null(strstr(out.data, "{\"scale\":0.5,\"zero_point\":1,\"scales\":3,\"axis\":2}"));
	assert_non_null(strstr(out.data, "\"macs\":9223372036854775807"));
	assert_non_null(strstr(out.data, "\"version\":null"));
	buf_done(&out);
}

static void test_declared(void **state)
{
	(void)state;
	assert_int_equal(model_check_declared("tflite", MODEL_FORMAT_TFLITE, &fault), ERR_OK);
	assert_int_equal(model_check_declared("my-blob", MODEL_FORMAT_OPAQUE, &fault), ERR_OK);
	assert_int_equal(model_check_declared("tflite", MODEL_FORMAT_ONNX, &fault), ERR_INVALID);
	assert_string_equal(fault.detail, "declared tflite, but the bytes are onnx");
	assert_int_equal(model_check_declared("my-blob", MODEL_FORMAT_TFLITE, &fault), ERR_INVALID);
	assert_string_equal(fault.detail, "declared my-blob, but the bytes are tflite");
	assert_int_equal(model_check_declared("onnx", MODEL_FORMAT_OPAQUE, &fault), ERR_INVALID);
	assert_string_equal(fault.detail, "declared onnx, but the bytes are not of that format");
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(model_format_name(MODEL_FORMAT_EXECUTORCH), "executorch");
	assert_string_equal(model_type_name(MODEL_TYPE_INT4), "int4");
	assert_int_equal(model_type_bits(MODEL_TYPE_BFLOAT16), 16);
	assert_true(model_work_bytes() < 1 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_tflite), cmocka_unit_test(test_json_onnx), cmocka_unit_test(test_per_channel),
		cmocka_unit_test(test_declared),    cmocka_unit_test(test_names),
	};
	return cmocka_run_group_tests(tests, open_room, close_room);
}
