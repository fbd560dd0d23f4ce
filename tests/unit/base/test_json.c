#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/json.h"

static struct json *parse(const char *text)
{
	struct json *root = NULL;
	struct fault f = {"", ""};
	if (json_parse(text, strlen(text), &root, &f) != ERR_OK) fail_msg("%s: %s", text, f.detail);
	return root;
}

static void refuses_with_the_place(void **state)
{
	(void)state;
	static const struct {
		const char *text, *pointer, *detail;
	} cases[] = {
	    {"", "", "unexpected end at byte 0"},
	    {"{\"a\":1} x", "", "trailing text at byte 8"},
	    {"[1,]", "", "at byte 3"},
	    {"\"\xFF\"", "", "invalid UTF-8 at byte 1"},
	    {"\"\\u0000\"", "", "bad escape"},
	    {"[1e999]", "", "number out of range at byte 1"},
	    {"{\"a\":1,\"a\":2}", "/a", "duplicate member name at byte 7"},
	    {"{\"a\":1,\"\\u0061\":2}", "/a", "duplicate member name at byte 7"},
	    {"{\"x\":{\"k\":1},\"y\":[0,{\"b~/\":1,\"c\":2,\"b~/\":3}]}", "/y/1/b~0~1", "duplicate member name at byte 35"},
	    {"{\"\":1,\"\":1}", "/", "duplicate member name at byte 6"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct json *root;
		struct fault f = {"", ""};
		assert_int_equal(json_parse(cases[i].text, strlen(cases[i].text), &root, &f), ERR_BAD_REQUEST);
		assert_null(root);
		assert_string_equal(f.pointer, cases[i].pointer);
		if (!strstr(f.detail, cases[i].detail)) fail_msg("%s: %s", cases[i].text, f.detail);
		assert_int_equal(json_parse(cases[i].text, strlen(cases[i].text), &root, NULL), ERR_BAD_REQUEST);
	}
	char digits[80];
	struct json *root;
	memset(digits, '1', sizeof digits);
	assert_int_equal(json_parse(digits, 63, &root, NULL), ERR_OK);
	json_free(root);
	assert_int_equal(json_parse(digits, 64, &root, NULL), ERR_BAD_REQUEST);
	assert_int_equal(json_parse("1\0", 2, &root, NULL), ERR_BAD_REQUEST);
}

static void depth(void **state)
{
	(void)state;
	char text[100];
	struct json *root;
	memset(text, '[', 32);
	memset(text + 32, ']', 32);
	assert_int_equal(json_parse(text, 64, &root, NULL), ERR_OK);
	json_free(root);
	memset(text, '[', 33);
	memset(text + 33, ']', 33);
	assert_int_equal(json_parse(text, 66, &root, NULL), ERR_BAD_REQUEST);
}

static void duplicates_among_many(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	struct json *root;
	struct fault f;
	for (int extra = 0; extra < 2; extra++) {
		char key[16];
		buf_clear(&b);
		json_open_object(&b);
		for (int i = 0; i < 20000; i++) {
			snprintf(key, sizeof key, "k%d", i * 7919 % 20000);
			json_int(&b, key, i);
		}
		if (extra) json_int(&b, "k137", 1);
		json_close_object(&b);
		assert_int_equal(json_parse(b.data, b.len, &root, &f), extra ? ERR_BAD_REQUEST : ERR_OK);
		if (extra) assert_string_equal(f.pointer, "/k137");
		json_free(root);
	}
	buf_done(&b);
}

static void walking(void **state)
{
	(void)state;
	struct json *root =
	    parse("{\"s\":\"x\\u00e9\",\"n\":-1.5,\"t\":true,\"f\":false,\"z\":null,\"a\":[1,2,3],\"o\":{}}");
	assert_int_equal(json_type(root), JSON_OBJECT);
	assert_int_equal(json_count(root), 7);
	assert_string_equal(json_text(json_get(root, "s")), "x\xC3\xA9");
	assert_true(json_number(json_get(root, "n")) == -1.5);
	assert_true(json_is_true(json_get(root, "t")) && !json_is_true(json_get(root, "f")) &&
	            !json_is_true(json_get(root, "s")));
	assert_int_equal(json_type(json_get(root, "z")), JSON_NULL);
	assert_null(json_get(root, "S"));
	assert_null(json_get(json_get(root, "a"), "x"));
	assert_null(json_get(NULL, "x"));
	assert_null(json_text(json_get(root, "n")));
	const struct json *c = json_first(json_get(root, "a"));
	assert_true(json_number(json_next(json_next(c))) == 3);
	assert_null(json_next(json_next(json_next(c))));
	assert_string_equal(json_name(json_first(root)), "s");
	assert_null(json_first(json_get(root, "o")));
	json_free(root);
	json_free(NULL);
}

static void integers_end_at_2_to_53(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool good;
		int64_t value;
	} cases[] = {{"9007199254740992", true, 9007199254740992}, {"-9007199254740992", true, -9007199254740992},
	             {"9007199254740994", false, 0}, {"1e3", true, 1000}, {"1.0", true, 1}, {"1.5", false, 0},
	             {"1e300", false, 0},
	             {"-0", true, 0}, {"\"1\"", false, 0}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct json *j = parse(cases[i].text);
		int64_t v = 0;
		assert_int_equal(json_is_integer(j, &v), cases[i].good);
		assert_true(v == cases[i].value);
		json_free(j);
	}
}

static void printing(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	struct json *j =
	    parse(" { \"b\" : [ 1 , 0.1, \"\\u0001\" ] , \"a\" : { \"z\" : null , \"B\" : true } ,"
	          " \"ab\":[],\"a b\":{} } ");
	json_print(j, &b);
	assert_string_equal(b.data, "{\"b\":[1,0.1,\"\\u0001\"],\"a\":{\"z\":null,\"B\":true},\"ab\":[],\"a b\":{}}");
	buf_clear(&b);
	json_print_canonical(j, &b);
	assert_string_equal(b.data, "{\"a\":{\"B\":true,\"z\":null},\"a b\":{},\"ab\":[],\"b\":[1,0.1,\"\\u0001\"]}");
	json_free(j);
	buf_done(&b);
}

struct step {
	int64_t percent;
	bool has_percent;
	const char *note;
};
struct thing {
	const char *name;
	int64_t count;
	double ratio;
	bool on, has_ratio;
	const char *mode;
	struct json_strs tags;
	struct step first;
	struct json_objects stages;
	const char *doc, *any, *secret;
	int64_t id;
};

static const struct field step_fields[] = {
    {.name = "percent", .type = FIELD_INT, .offset = offsetof(struct step, percent),
     .present_offset = offsetof(struct step, has_percent),
     .min = 1, .max = 100, .flags = FIELD_REQUIRED, .doc = "Share."},
    {.name = "note", .type = FIELD_STR, .offset = offsetof(struct step, note), .flags = FIELD_NULLABLE},
    {0}};
static const struct field thing_fields[] = {
    {.name = "name", .type = FIELD_STR, .offset = offsetof(struct thing, name), .min = 2, .max = 5,
     .flags = FIELD_REQUIRED},
    {.name = "count", .type = FIELD_INT, .offset = offsetof(struct thing, count), .flags = FIELD_OMIT_ZERO},
    {.name = "ratio", .type = FIELD_NUM, .offset = offsetof(struct thing, ratio),
     .present_offset = offsetof(struct thing, has_ratio), .min = -1, .max = 1.5},
    {.name = "on", .type = FIELD_BOOL, .offset = offsetof(struct thing, on), .flags = FIELD_OMIT_ZERO},
    {.name = "mode", .type = FIELD_ENUM, .offset = offsetof(struct thing, mode), .choices = "slow fast",
     .flags = FIELD_NULLABLE},
    {.name = "tags", .type = FIELD_STRS, .offset = offsetof(struct thing, tags), .min = 0, .max = 2,
     .flags = FIELD_OMIT_ZERO},
    {.name = "first", .type = FIELD_OBJECT, .offset = offsetof(struct thing, first), .fields = step_fields,
     .flags = FIELD_OMIT_ZERO},
    {.name = "stages", .type = FIELD_OBJECTS, .offset = offsetof(struct thing, stages), .fields = step_fields,
     .item_bytes = sizeof(struct step), .max = 3, .flags = FIELD_OMIT_ZERO},
    {.name = "doc", .type = FIELD_DOC, .offset = offsetof(struct thing, doc), .max = 20},
    {.name = "any", .type = FIELD_ANY, .offset = offsetof(struct thing, any)},
    {.name = "secret", .type = FIELD_STR, .offset = offsetof(struct thing, secret), .flags = FIELD_WRITEONLY},
    {.name = "id", .type = FIELD_INT, .offset = offsetof(struct thing, id), .flags = FIELD_READONLY | FIELD_REQUIRED},
    {0}};

static void binds_everything(void **state)
{
	(void)state;
	struct arena *a = arena_new(100000);
	struct thing t = {.count = 7};
	struct json *j =
	    parse("{\"name\":\"abc\",\"ratio\":0,\"on\":true,\"mode\":\"fast\",\"tags\":[\"x\",\"y\"],"
	          "\"first\":{\"percent\":1},"
	                       "\"stages\":[{\"percent\":5},{\"percent\":100,\"note\":null},"
	                       "{\"percent\":2,\"note\":\"n\"}],"
	                       "\"doc\":{\"a\": [1, 2]},\"any\":[null],\"secret\":\"s\"}");
	assert_int_equal(json_bind(thing_fields, j, &t, a, NULL), ERR_OK);
	json_free(j);
	assert_string_equal(t.name, "abc");
	assert_int_equal(t.count, 7); /* the default stays */
	assert_true(t.has_ratio && t.on && t.first.has_percent);
	assert_string_equal(t.mode, "fast");
	assert_int_equal(t.tags.count, 2);
	assert_string_equal(t.tags.items[1], "y");
	const struct step *stages = t.stages.items;
	assert_int_equal(t.stages.count, 3);
	assert_int_equal(stages[1].percent, 100);
	assert_null(stages[1].note);
	assert_string_equal(stages[2].note, "n");
	assert_string_equal(t.doc, "{\"a\":[1,2]}");
	assert_string_equal(t.any, "[null]");
	struct buf b = BUF_INIT;
	t.id = 9;
	t.count = 0;
	json_encode(thing_fields, &t, &b);
	assert_string_equal(b.data,
	                    "{\"name\":\"abc\",\"ratio\":0,\"on\":true,\"mode\":\"fast\","
	                    "\"tags\":[\"x\",\"y\"],\"first\":{\"percent\":1},"
	                            "\"stages\":[{\"percent\":5},{\"percent\":100},{\"percent\":2,\"note\":\"n\"}],"
	                            "\"doc\":{\"a\":[1,2]},\"any\":[null],\"id\":9}");
	buf_done(&b);
	arena_free(a);
}

static void refuses_with_pointer_and_bounds(void **state)
{
	(void)state;
	static const struct {
		const char *text, *pointer, *detail;
	} cases[] = {
	    {"[]", "", "must be an object"},
	    {"{}", "/name", "is required"},
	    {"{\"name\":\"a\"}", "/name", "must have 2 to 5 bytes"},
	    {"{\"name\":\"abcdef\"}", "/name", "must have 2 to 5 bytes"},
	    {"{\"name\":\"\xC3\xA9\xC3\xA9\xC3\xA9\"}", "/name", "must have 2 to 5 bytes"},
	    {"{\"name\":null}", "/name", "must be a string"},
	    {"{\"name\":\"abc\",\"x/y~z\":1}", "/x~1y~0z", "unknown member"},
	    {"{\"name\":\"abc\",\"count\":1.5}", "/count", "must be an integer"},
	    {"{\"name\":\"abc\",\"count\":9007199254740994}", "/count", "must be an integer"},
	    {"{\"name\":\"abc\",\"ratio\":2}", "/ratio", "must be a number from -1 to 1.5"},
	    {"{\"name\":\"abc\",\"ratio\":\"1\"}", "/ratio", "must be a number from -1 to 1.5"},
	    {"{\"name\":\"abc\",\"on\":1}", "/on", "must be true or false"},
	    {"{\"name\":\"abc\",\"mode\":\"fas\"}", "/mode", "must be one of: slow fast"},
	    {"{\"name\":\"abc\",\"mode\":\"slow fast\"}", "/mode", "must be one of: slow fast"},
	    {"{\"name\":\"abc\",\"mode\":3}", "/mode", "must be one of: slow fast"},
	    {"{\"name\":\"abc\",\"tags\":[\"a\",\"b\",\"c\"]}", "/tags", "must have 0 to 2 items"},
	    {"{\"name\":\"abc\",\"tags\":[\"a\",1]}", "/tags/1", "must be a string"},
	    {"{\"name\":\"abc\",\"first\":[]}", "/first", "must be an object"},
	    {"{\"name\":\"abc\",\"first\":{}}", "/first/percent", "is required"},
	    {"{\"name\":\"abc\",\"stages\":[{\"percent\":1},{\"percent\":101}]}", "/stages/1/percent",
	     "must be an integer from 1 to 100"},
	    {"{\"name\":\"abc\",\"stages\":[{\"percent\":1},{\"percent\":\"1\"}]}", "/stages/1/percent",
	     "must be an integer from 1 to 100"},
	    {"{\"name\":\"abc\",\"stages\":[1]}", "/stages/0", "must be an object"},
	    {"{\"name\":\"abc\",\"doc\":[]}", "/doc", "must be an object"},
	    {"{\"name\":\"abc\",\"doc\":{\"a\":\"0123456789abcdef\"}}", "/doc", "as compact text must have 0 to 20 bytes"},
	    {"{\"name\":\"abc\",\"id\":1}", "/id", "is read-only"},
	};
	struct arena *a = arena_new(100000);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct thing t = {0};
		struct fault f = {"", ""};
		struct json *j = parse(cases[i].text);
		assert_int_equal(json_bind(thing_fields, j, &t, a, &f), ERR_INVALID);
		assert_string_equal(f.pointer, cases[i].pointer);
		assert_string_equal(f.detail, cases[i].detail);
		json_free(j);
	}
	arena_free(a);
}

static void long_texts_without_bounds(void **state)
{
	(void)state;
	struct arena *a = arena_new(100000);
	for (size_t len = 1024; len <= 1025; len++) {
		struct thing t = {0};
		struct fault f = {"", ""};
		struct buf b = BUF_INIT;
		char many[1026];
		memset(many, 'x', len);
		many[len] = '\0';
		json_open_object(&b);
		json_str(&b, "name", "abc");
		json_str(&b, "secret", many);
		json_close_object(&b);
		struct json *j = parse(b.data);
		assert_int_equal(json_bind(thing_fields, j, &t, a, &f), len == 1024 ? ERR_OK : ERR_INVALID);
		assert_string_equal(f.detail, len == 1024 ? "" : "must have 0 to 1024 bytes");
		json_free(j);
		buf_done(&b);
	}
	arena_free(a);
}

static void empty_ones_are_left_out(void **state)
{
	(void)state;
	struct thing t = {.name = "ab"};
	struct buf b = BUF_INIT;
	json_encode(thing_fields, &t, &b);
	assert_string_equal(b.data, "{\"name\":\"ab\",\"ratio\":0,\"first\":{\"percent\":0},\"id\":0}");
	buf_done(&b);
	struct inner {
		const char *x;
	};
	struct outer {
		struct inner in;
		int64_t n;
	} o = {{NULL}, 1};
	static const struct field inner_fields[] = {{.name = "x", .type = FIELD_STR, .offset = offsetof(struct inner, x)},
	                                            {0}};
	static const struct field outer_fields[] = {
	    {.name = "n", .type = FIELD_INT, .offset = offsetof(struct outer, n)},
	    {.name = "in", .type = FIELD_OBJECT, .offset = offsetof(struct outer, in), .fields = inner_fields,
	     .flags = FIELD_OMIT_ZERO},
	    {.name = "m", .type = FIELD_INT, .offset = offsetof(struct outer, n)},
	    {0}};
	json_encode(outer_fields, &o, &b);
	assert_string_equal(b.data, "{\"n\":1,\"m\":1}");
	buf_done(&b);
}

static void schema(void **state)
{
	(void)state;
	struct buf b = BUF_INIT;
	json_schema(step_fields, false, &b);
	assert_string_equal(b.data,
	                    "{\"type\":\"object\",\"properties\":{\"percent\":{\"type\":\"integer\","
	                    "\"minimum\":1,\"maximum\":100,"
	                            "\"description\":\"Share.\"},\"note\":{\"type\":[\"string\","
	                            "\"null\"],\"maxLength\":1024}},"
	                            "\"required\":[\"percent\"],\"additionalProperties\":false}");
	buf_clear(&b);
	json_schema(thing_fields, false, &b);
	struct json *j = parse(b.data);
	const struct json *properties = json_get(j, "properties");
	assert_null(json_get(properties, "id"));
	assert_non_null(json_get(properties, "secret"));
	assert_int_equal(json_count(json_get(j, "required")), 1);
	assert_int_equal(json_count(json_get(json_get(properties, "mode"), "enum")), 3);
	assert_string_equal(json_text(json_get(json_get(json_get(properties, "stages"), "items"), "type")), "object");
	json_free(j);
	buf_clear(&b);
	json_schema(thing_fields, true, &b);
	j = parse(b.data);
	properties = json_get(j, "properties");
	assert_non_null(json_get(properties, "id"));
	assert_null(json_get(properties, "secret"));
	assert_null(json_get(j, "required"));
	assert_int_equal(json_count(json_get(json_get(properties, "mode"), "enum")), 3);
	json_free(j);
	buf_clear(&b);
	json_schema(step_fields, true, &b);
	assert_string_equal(b.data, "{\"type\":\"object\",\"properties\":{\"percent\":{\"type\":\"integer\",\"description\":\"Share.\"},"
	                            "\"note\":{\"type\":[\"string\",\"null\"]}},\"additionalProperties\":false}");
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(refuses_with_the_place), cmocka_unit_test(depth), cmocka_unit_test(duplicates_among_many),
	    cmocka_unit_test(walking), cmocka_unit_test(integers_end_at_2_to_53), cmocka_unit_test(printing),
	    cmocka_unit_test(binds_everything), cmocka_unit_test(refuses_with_pointer_and_bounds),
	    cmocka_unit_test(long_texts_without_bounds), cmocka_unit_test(empty_ones_are_left_out),
	    cmocka_unit_test(schema),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
