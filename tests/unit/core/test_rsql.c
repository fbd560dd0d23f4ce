#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/rsql.h"

enum column { HARDWARE, NAME, ATTRIBUTE, TAG, SLOTS, SEEN, ONLINE };

static const struct rsql_field fields[] = {
	{"hardware", false, RSQL_TEXT, HARDWARE}, {"name", false, RSQL_TEXT, NAME},     {"attribute.", true, RSQL_TEXT, ATTRIBUTE},
	{"tag", false, RSQL_TEXT, TAG},           {"slots", false, RSQL_NUMBER, SLOTS}, {"lastSeen", false, RSQL_TIME, SEEN},
	{"online", false, RSQL_BOOL, ONLINE},
};
enum { FIELDS = sizeof fields / sizeof fields[0] };
#define NOW INT64_C(1700000000000)

static struct rsql q, again;

static enum err parse(const char *text, struct rsql_error *e)
{
	return rsql_parse(&q, text, fields, FIELDS, NOW, e);
}

static void take(const char *text)
{
	struct rsql_error e = {0};
	enum err error = parse(text, &e);
	if (error) print_error("%s: at %zu: %s\n", text, e.at, e.message);
	assert_int_equal(error, ERR_OK);
}

/* A thing to ask about: fixed attributes, two tags. */
static bool get(const void *context, const struct rsql_field *field, struct slice key, unsigned index, struct rsql_operand *out)
{
	static const char *const tags[] = {"beta", "lab"};
	(void)context;
	memset(out, 0, sizeof *out);
	const char *text = NULL;
	switch ((enum column)field->column) {
	case HARDWARE: text = "esp32s3"; break;
	case NAME: text = "Door 7*"; break;
	case ATTRIBUTE: text = slice_equals(key, "region") ? "eu" : slice_equals(key, "empty") ? "" : NULL; break;
	case TAG: text = index < 2 ? tags[index] : NULL; break;
	case SLOTS: out->number = 2.5; return index == 0;
	case SEEN: out->time_ms = NOW - 1800000; return index == 0;
	case ONLINE: out->boolean = true; return index == 0;
	}
	if (text != NULL) out->text = (struct slice){text, strlen(text)};
	return text != NULL && (index == 0 || field->column == TAG);
}
static const struct rsql_subject subject = {get, NULL};

static void answers(void **state)
{
	static const struct {
		const char *text;
		bool matches;
	} table[] = {
		{"hardware==esp32s3", true},
		{"hardware==esp32", false},
		{"hardware!=esp32", true},
		{"hardware==ESP32S3", false}, /* case matters */
		{"hardware==esp*", true},
		{"hardware==*s3", true},
		{"hardware==*32*", true},
		{"hardware==*", true},
		{"hardware==e*2*3", true},
		{"hardware==e*9*", false},
		{"hardware!=esp*", false},
		{"hardware=lt=esp32s4", true},
		{"hardware=lt=esp32s3", false},
		{"hardware<=esp32s3", true},
		{"hardware>=esp32s3", true},
		{"hardware>esp32s", true},
		{"hardware=gt=esp32s3x", false},
		{"hardware=in=(a,esp32s3,b)", true},
		{"hardware=in=(a,b)", false},
		{"hardware=in=esp32s3", true},
		{"hardware=in=(esp*)", false}, /* no wildcards in lists */
		{"hardware=out=(a,b)", true},
		{"hardware=out=(esp32s3)", false},
		{"name=='Door 7\\*'", true},
		{"name==\"Door 7\\*\"", true},
		{"name=='Door \\*'", false},
		{"name=='Door *'", true},
		{"name=='Door 7*'", true},
		{"name=='*\\*'", true},
		{"attribute.region==eu", true},
		{"attribute.region=in=(us,eu)", true},
		{"attribute.other==eu", false},
		{"attribute.other!=eu", true}, /* what is not there is not eu */
		{"attribute.other=out=(eu,us)", true},
		{"attribute.other==*", false},
		{"attribute.region==*", true}, /* it is there */
		{"attribute.empty==''", true},
		{"attribute.region==''", false},
		{"tag==beta", true},
		{"tag==lab", true},
		{"tag==prod", false},
		{"tag!=lab", false}, /* one of them is */
		{"tag!=prod", true},
		{"tag=out=(prod,lab)", false},
		{"slots==2.5", true},
		{"slots!=2.5", false},
		{"slots=gt=2", true},
		{"slots=lt=2.5e0", false},
		{"slots>=-3", true},
		{"slots=in=(1,2.5)", true},
		{"lastSeen=gt=now-1h", true},
		{"lastSeen=gt=now-15m", false},
		{"lastSeen<now", true},
		{"lastSeen<now+1h", true},
		{"lastSeen==1699998200000", true},
		{"lastSeen=ge=2023-11-14T21:43:20Z", true},
		{"lastSeen=gt=2023-11-14T22:43:20+01:00", false},
		{"lastSeen<=2023-11-14T22:43:20+01:00", true},
		{"online==true", true},
		{"online==false", false},
		{"online!=false", true},
		{"hardware==esp32s3;tag==beta", true},
		{"hardware==esp32s3;tag==prod", false},
		{"hardware==x,tag==beta", true},
		{"hardware==x,tag==prod", false},
		{"tag==beta,hardware==x;tag==prod", true}, /* ; binds tighter */
		{"(tag==beta,hardware==x);tag==prod", false},
		{" hardware == esp32s3 and ( tag == prod or tag == beta ) ", true},
		{"hardware==esp32s3 and(tag==prod)", false},
		{"hardware==and or tag==beta", true},
		{"((((tag==beta))))", true},
	};
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		take(table[i].text);
		if (rsql_matches(&q, &subject) != table[i].matches) print_error("%s\n", table[i].text);
		assert_int_equal(rsql_matches(&q, &subject), table[i].matches);
	}
}

static void refusals(void **state)
{
	static const struct {
		const char *text;
		size_t at;
		const char *says;
	} table[] = {
		{"", 0, "expected a field or \"(\", found the end"},
		{"  ", 2, "expected a field"},
		{"nope==1", 0, "there is no field \"nope\""},
		{"attribute.==1", 0, "there is no field \"attribute.\""},
		{"attribute.a+b==1", 0, "there is no field"},
		{"hardware", 8, "expected an operator, found the end"},
		{"hardware=1", 8, "expected an operator, found \"=1\""},
		{"hardware=like=x", 8, "expected an operator"},
		{"hardware==", 10, "expected a value, found the end"},
		{"hardware==;tag==a", 10, "expected a value"},
		{"hardware=='x", 10, "not closed"},
		{"hardware=='x\\", 10, "not closed"},
		{"hardware==(a,b)", 10, "expected a value"},
		{"hardware=in=()", 13, "expected a value"},
		{"hardware=in=(a", 14, "expected \",\" or \")\""},
		{"hardware=in=(a,)", 15, "expected a value"},
		{"hardware=in=(a;b)", 14, "expected \",\""},
		{"(hardware==a", 12, "expected \")\""},
		{"hardware==a)", 11, "or the end"},
		{"hardware==a tag==b", 12, "or the end"},
		{"hardware==a;", 12, "expected a field"},
		{"hardware==a and", 12, "or the end"},
		{"hardware==a and ", 16, "expected a field"},
		{"slots==two", 7, "expected a number, found \"two\""},
		{"slots==1x", 7, "expected a number"},
		{"slots==1e999", 7, "expected a number"},
		{"slots==0x10", 7, "expected a number"},
		{"slots=='1 2'", 7, "expected a number"},
		{"slots==*", 7, "expected a number"},
		{"lastSeen=gt=yesterday", 12, "expected a time"},
		{"lastSeen=gt=now*2", 12, "expected a time"},
		{"lastSeen=gt=now-", 12, "expected a time"},
		{"lastSeen=gt=nowhere", 12, "expected a time"},
		{"lastSeen=gt=1.5", 12, "expected a time"},
		{"online==yes", 8, "expected true or false"},
		{"online=gt=true", 6, "only == and !="},
		{"hardware==\xff", 10, "not a character"},
		{"hardware==a\tb", 11, "not a character"},
		{"hardware==a\x01", 11, "not a character"},
		{"name==\xc3\xa9;x", 9, "there is no field \"x\""},
	};
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct rsql_error e = {99, ""};
		enum err error = parse(table[i].text, &e);
		if (e.at != table[i].at || strstr(e.message, table[i].says) == NULL)
			print_error("%s: at %zu: %s\n", table[i].text, e.at, e.message);
		assert_int_equal(error, ERR_INVALID);
		assert_int_equal(e.at, table[i].at);
		assert_non_null(strstr(e.message, table[i].says));
		assert_int_equal(parse(table[i].text, NULL), ERR_INVALID);
	}
}

/* head, part repeated, tail */
static const char *text_of(const char *head, const char *part, int count, const char *tail)
{
	static char text[2 * RSQL_TEXT_BYTES];
	size_t n = (size_t)snprintf(text, sizeof text, "%s", head);
	for (int i = 0; i < count; i++) n += (size_t)snprintf(text + n, sizeof text - n, "%s", part);
	snprintf(text + n, sizeof text - n, "%s", tail);
	return text;
}

static void limits(void **state)
{
	struct rsql_error e;
	(void)state;
	take(text_of("tag==a", ";tag==a", 62, ""));
	assert_int_equal(q.node_count, 64);
	assert_int_equal(parse(text_of("tag==a", ";tag==a", 63, ""), &e), ERR_TOO_LARGE);
	take(text_of("", "(", 16, "tag==a))))))))))))))))"));
	assert_int_equal(parse(text_of("", "(", 17, "tag==a)))))))))))))))))"), &e), ERR_TOO_LARGE);
	assert_int_equal(e.at, 16);
	take(text_of("tag=in=(a", ",a", 255, ")"));
	assert_int_equal(q.nodes[q.root].value_count, 256);
	assert_int_equal(parse(text_of("tag=in=(a", ",a", 256, ")"), &e), ERR_TOO_LARGE);
	take(text_of("tag==", "a", RSQL_TEXT_BYTES - 5, ""));
	assert_int_equal(q.values[0].len, RSQL_TEXT_BYTES - 5);
	assert_int_equal(parse(text_of("tag==", "a", RSQL_TEXT_BYTES - 4, ""), &e), ERR_TOO_LARGE);
	take(text_of("tag==a", ";tag==a", 40, ",tag==b,(tag==c,tag==d)"));
	assert_int_equal(parse(text_of("tag==a,", "(tag==a;tag==a),", 30, "tag==a"), &e), ERR_TOO_LARGE); /* connectors count */
}

static void trees(void **state)
{
	(void)state;
	take("tag==a;(tag==b;tag==c);hardware==d,(tag==e,slots==7)");
	const struct rsql_node *root = &q.nodes[q.root];
	assert_int_equal(root->op, RSQL_OR);
	const struct rsql_node *child = &q.nodes[root->first];
	assert_int_equal(child->op, RSQL_AND);
	int count = 0;
	for (int at = child->first; at >= 0; at = q.nodes[at].next) {
		assert_int_equal(q.nodes[at].op, RSQL_EQ); /* nested ; was taken in */
		count++;
	}
	assert_int_equal(count, 4);
	child = &q.nodes[child->next];
	assert_int_equal(child->field->column, TAG);
	child = &q.nodes[child->next];
	assert_int_equal(child->field->column, SLOTS);
	assert_true(q.values[child->value_first].number == 7);
	assert_int_equal(child->next, -1);
	take("attribute.region=='e\\'u'");
	assert_string_equal(q.nodes[q.root].key.data, "region");
	assert_string_equal(q.values[0].text, "e'u");
	assert_false(q.values[0].is_pattern);
}

static void canonical_text(void **state)
{
	static const char *const table[][2] = {
		{"hardware==esp32s3", "hardware==esp32s3"},
		{" hardware == a and tag!=b or slots<3 ", "hardware==a;tag!=b,slots=lt=3"},
		{"(hardware==a,tag==b);(slots>3)", "(hardware==a,tag==b);slots=gt=3"},
		{"((hardware==a;tag==b)),tag==c", "hardware==a;tag==b,tag==c"},
		{"tag=in=x", "tag=in=(x)"},
		{"tag=out=( x , 'y z' )", "tag=out=(x,\"y z\")"},
		{"name=='Door *'", "name==\"Door *\""},
		{"name=='7\\*'", "name==\"7\\*\""},
		{"name=='a*b'", "name==a*b"},
		{"name=lt=a*b", "name=lt=a*b"},
		{"name==''", "name==\"\""},
		{"name=='it\\'s \"q\" \\\\'", "name==\"it's \\\"q\\\" \\\\\""},
		{"name==a\\b", "name==a\\b"},
		{"lastSeen>=now-1h", "lastSeen=ge=now-1h"},
		{"attribute.region<=eu", "attribute.region=le=eu"},
	};
	char text[RSQL_PRINT_BYTES], twice[RSQL_PRINT_BYTES];
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		take(table[i][0]);
		assert_int_equal(rsql_print(&q, text, sizeof text), strlen(table[i][1]));
		assert_string_equal(text, table[i][1]);
		assert_int_equal(rsql_print(&q, text, strlen(table[i][1])), -1);
		assert_int_equal(rsql_print(&q, text, 0), -1);
		rsql_print(&q, text, sizeof text);
		assert_int_equal(rsql_parse(&again, text, fields, FIELDS, NOW, NULL), ERR_OK);
		assert_true(rsql_print(&again, twice, sizeof twice) >= 0);
		assert_string_equal(text, twice);
		assert_int_equal(rsql_matches(&q, &subject), rsql_matches(&again, &subject));
	}
}

static void like_patterns(void **state)
{
	char text[32];
	(void)state;
	take("name=='a*100%_\\\\\\*'");
	assert_true(q.values[0].is_pattern);
	assert_int_equal(rsql_like(&q.values[0], text, sizeof text), 12);
	assert_string_equal(text, "a%100\\%\\_\\\\*");
	assert_int_equal(rsql_like(&q.values[0], text, 12), -1);
	assert_int_equal(rsql_like(&q.values[0], text, 13), 12);
}

static bool glob(const char *pattern, const char *text)
{
	char p[64];
	size_t n = strlen(pattern);
	for (size_t i = 0; i <= n; i++) p[i] = pattern[i] == '*' ? RSQL_WILDCARD : pattern[i];
	return rsql_glob(p, n, text, strlen(text));
}

static void globs(void **state)
{
	char many[4001];
	(void)state;
	assert_true(glob("", ""));
	assert_false(glob("", "a"));
	assert_true(glob("*", ""));
	assert_true(glob("**", "ab"));
	assert_true(glob("a*b*c", "aXbYbZc"));
	assert_false(glob("a*b*c", "aXbYbZ"));
	assert_true(glob("*ab", "aab"));
	assert_false(glob("a*", "b"));
	assert_false(glob("abc", "ab"));
	memset(many, 'a', 4000);
	many[4000] = '\0';
	assert_false(glob("*a*a*a*a*a*a*a*a*a*a*b", many)); /* and soon */
}

static void operators_have_texts(void **state)
{
	(void)state;
	assert_string_equal(rsql_op_text(RSQL_EQ), "==");
	assert_string_equal(rsql_op_text(RSQL_OUT), "=out=");
	assert_string_equal(rsql_op_text(RSQL_OR), ",");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),        cmocka_unit_test(refusals),      cmocka_unit_test(limits),
		cmocka_unit_test(trees),          cmocka_unit_test(canonical_text), cmocka_unit_test(like_patterns),
		cmocka_unit_test(globs),          cmocka_unit_test(operators_have_texts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
