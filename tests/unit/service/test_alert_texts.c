/* What rules say of their alerts: known names only, filled with what the alert is, not longer than promised, and said again by /alerts. */
#include "telemetry_world.h"

#include <math.h>

#include "service/alert_texts.h"
#include "service/alerts_inside.h"
#include "service/template.h"

static void only_known_names_and_so_many_bytes(void **state)
{
	(void)state;
	struct fault f;
	static char long_one[ALERT_DESCRIPTION_TEMPLATE + 2];
	memset(long_one, 'x', sizeof long_one - 1);
	assert_int_equal(alert_texts_check("{{device}} } { {{ value", "", &f), ERR_INVALID);
	assert_string_equal(f.pointer, "/summary");
	assert_int_equal(alert_texts_check("{{who}}", "", &f), ERR_INVALID);
	assert_int_equal(alert_texts_check("{{device", "", &f), ERR_INVALID);
	assert_int_equal(alert_texts_check("", "{{}}", &f), ERR_INVALID);
	assert_string_equal(f.pointer, "/description");
	assert_int_equal(alert_texts_check("", long_one, &f), ERR_INVALID);
	long_one[ALERT_DESCRIPTION_TEMPLATE] = '\0';
	assert_int_equal(alert_texts_check("", long_one, &f), ERR_OK);
	assert_int_equal(alert_texts_check(long_one, "", &f), ERR_INVALID);
	assert_int_equal(alert_texts_check("{device} }} {{name}}{{kind}}{{device}}{{resource}}{{cohort}}{{metric}}{{value}}{{threshold}}{{score}}{{severity}}{{summary}}",
	                                   "", &f), ERR_OK);
}

static void filled_with_what_the_alert_is(void **state)
{
	(void)state;
	struct arena *a = arena_new(1 << 20);
	struct alert_rule_row r = {.name = "n", .summary = "", .description = ""};
	struct alert_row row = {.kind = "k", .resource = "devices/d1", .cohort = "h/r", .metric = "m", .severity = "info", .summary = "own", .value = 1.5,
		.expected = NAN, .score = 0.25};
	alert_texts_fill(a, &r, &row);
	assert_string_equal(row.summary, "own");
	assert_null(row.description);
	r.summary = "{{name}} {{kind}} {{device}} {{resource}} {{cohort}} {{metric}} {{value}} [{{threshold}}] {{score}} {{severity}}: {{summary}}";
	r.description = "{{summary}}{{summary}} of {device}";
	alert_texts_fill(a, &r, &row);
	assert_string_equal(row.summary, "n k d1 devices/d1 h/r m 1.5 [] 0.25 info: own");
	assert_string_equal(row.description, "ownown of {device}");
	row.resource = "rollouts/7";
	r.summary = "{{device}}";
	alert_texts_fill(a, &r, &row);
	assert_string_equal(row.summary, "rollouts/7");
	arena_free(a);
}

static void cut_where_a_character_ends(void **state)
{
	(void)state;
	struct arena *a = arena_new(1 << 20);
	char own[800] = "x";
	for (int i = 0; i < 300; i++)
		strcat(own, "\xc3\xa4");
	struct alert_rule_row r = {.name = "n", .summary = "{{summary}}{{summary}}", .description = ""};
	struct alert_row row = {.kind = "k", .resource = "x", .cohort = "", .metric = "", .severity = "info", .summary = own, .value = NAN, .expected = NAN, .score = NAN};
	alert_texts_fill(a, &r, &row);
	assert_int_equal(strlen(row.summary), ALERT_SUMMARY_BYTES); /* 601 bytes, then 1 and whole characters: 1024 is between two */
	row.summary = own + 1;
	r.summary = "x{{summary}}{{summary}}";
	alert_texts_fill(a, &r, &row);
	assert_int_equal(strlen(row.summary), ALERT_SUMMARY_BYTES - 1);
	arena_free(a);
}

static void the_alert_says_it(void **state)
{
	struct fleet *t = *state;
	int64_t id;
	struct buf b = BUF_INIT;
	struct alert_rule r = {.name = "hot", .metric = "x", .op = "gt", .threshold = 10, .filter = "", .severity = "critical", .clear = NAN,
		.summary = "{{device}} shows {{value}}", .description = "more than {{threshold}} on {{cohort}}"};
	world_device(&t->w, "dev-1", "h");
	DO(&t->w, alert_rule_create(&t->w.c, &r, &id));
	world_commit(&t->w);
	bool more;
	assert_int_equal(alerts_tick(&t->w.c, &more), ERR_OK);
	fleet_value(t, "dev-1", 1, "x", 11);
	assert_int_equal(alerts_show(&t->w.c, 1, &b), ERR_OK);
	assert_non_null(strstr(b.data, "\"summary\":\"dev-1 shows 11\",\"description\":\"more than 10 on h/\""));
	t->w.c.now_ms += 61000;
	fleet_value(t, "dev-1", 2, "x", 12);
	b.len = 0;
	assert_int_equal(alerts_show(&t->w.c, 1, &b), ERR_OK);
	assert_non_null(strstr(b.data, "dev-1 shows 12"));
	buf_done(&b);
	world_commit(&t->w);
	fleet_restart(t);
	struct alert_rule again;
	assert_int_equal(alert_rule_show(&t->w.c, id, &again), ERR_OK);
	assert_string_equal(again.description, r.description);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_known_names_and_so_many_bytes),
		cmocka_unit_test(filled_with_what_the_alert_is),
		cmocka_unit_test(cut_where_a_character_ends),
		cmocka_unit_test_setup_teardown(the_alert_says_it, fleet_setup, fleet_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
