/* service/settings: defaults, bounds, what is written and what is undone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "service/access.h"
#include "service/outbox.h"
#include "service/settings.h"
#include "service/unit.h"
#include "store/db.h"

struct world {
	struct services s;
	struct arena *arena;
	struct fault fault;
	struct principal who;
	struct call c;
	struct access_limits limits;
	char dir[64];
	enum setting heard;
	int times;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	strcpy(w->dir, "/tmp/aviary-settings-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->s.state_dir = w->dir;
	w->limits = (struct access_limits){.events_max = 10, .audit_age_ms = 1000, .audit_max = 1000000};
	w->arena = arena_new(1 << 20);
	w->who = (struct principal){"tester", ROLE_ADMIN, 42};
	w->c = (struct call){&w->s, w->arena, &w->fault, &w->who, 1000000};
	assert_int_equal(db_open(":memory:", migrations_fleet, false, &w->s.db, &w->fault), ERR_OK);
	w->s.units = units_new();
	w->s.outbox = outbox_new();
	assert_int_equal(access_open(&w->s, &w->limits, &w->s.access, &w->fault), ERR_OK);
	assert_int_equal(settings_open(&w->s, NULL, &w->s.settings, &w->fault), ERR_OK);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	char command[96];
	settings_close(w->s.settings);
	access_close(w->s.access);
	outbox_free(w->s.outbox);
	units_free(w->s.units);
	db_close(w->s.db);
	arena_free(w->arena);
	strcpy(command, "rm -rf ");
	strcat(command, w->dir);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

static void hear(void *ctx, enum setting which)
{
	struct world *w = ctx;
	w->heard = which;
	w->times++;
}

static void defaults_are_there_without_rows_and_without_a_room(void **state)
{
	struct world *w = *state;
	assert_string_equal(settings_text(NULL, SETTING_POLLING_TIME), "00:05:00");
	assert_true(settings_flag(NULL, SETTING_TARGET_TOKEN) && !settings_flag(w->s.settings, SETTING_GATEWAY_TOKEN));
	assert_int_equal(settings_ms(w->s.settings, SETTING_POLLING_OVERDUE), 300000);
	assert_int_equal(settings_int(w->s.settings, SETTING_MAINTENANCE_POLLS), 3);
	assert_false(settings_is_set(w->s.settings, SETTING_POLLING_TIME));
}

static void the_program_may_have_other_defaults(void **state)
{
	struct world *w = *state;
	const char *standard[SETTINGS] = {[SETTING_POLLING_MIN] = "00:00:05", [SETTING_POLLING_TIME] = "00:00:10"};
	struct settings *st;
	assert_int_equal(settings_open(&w->s, standard, &st, &w->fault), ERR_OK);
	assert_string_equal(settings_text(st, SETTING_POLLING_TIME), "00:00:10");
	settings_close(st);
	standard[SETTING_POLLING_MIN] = NULL; /* below the bound now */
	assert_int_equal(settings_open(&w->s, standard, &st, &w->fault), ERR_INVALID);
}

static void values_are_checked(void **state)
{
	struct world *w = *state;
	static const struct {
		enum setting which;
		const char *value;
		enum err e;
	} rows[] = {
		{SETTING_POLLING_TIME, "00:00:30", ERR_OK}, {SETTING_POLLING_TIME, "23:59:59~99%", ERR_OK}, {SETTING_POLLING_TIME, "00:00:29", ERR_BAD_REQUEST},
		{SETTING_POLLING_TIME, "00:01:00, attribute.x==a;name==b -> 00:00:30~5%, id=in=(a,b) -> 00:02:00", ERR_OK},
		{SETTING_POLLING_TIME, "00:01:00,", ERR_BAD_REQUEST}, {SETTING_POLLING_TIME, "00:01:00, x -> ", ERR_BAD_REQUEST},
		{SETTING_POLLING_TIME, "00:01:00~%", ERR_BAD_REQUEST}, {SETTING_POLLING_TIME, "00:01:00~1a%", ERR_BAD_REQUEST},
		{SETTING_POLLING_OVERDUE, "0:01:00", ERR_BAD_REQUEST}, {SETTING_POLLING_OVERDUE, "00:60:00", ERR_BAD_REQUEST},
		{SETTING_POLLING_OVERDUE, "00:00:00", ERR_OK}, {SETTING_MAINTENANCE_POLLS, "0", ERR_BAD_REQUEST}, {SETTING_MAINTENANCE_POLLS, "7", ERR_OK},
		{SETTING_HEADER, "yes", ERR_BAD_REQUEST}, {SETTING_HEADER, "true", ERR_OK}, {SETTING_GATEWAY_KEY, "\xff", ERR_BAD_REQUEST},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		enum err e = settings_set(&w->c, rows[i].which, rows[i].value);
		if (e != rows[i].e)
			fail_msg("%s: %s", rows[i].value, err_name(e));
		if (e == ERR_OK)
			assert_string_equal(settings_text(w->s.settings, rows[i].which), rows[i].value);
	}
}

static void what_is_undone_is_undone_in_memory(void **state)
{
	struct world *w = *state;
	settings_listen(w->s.settings, hear, w);
	assert_int_equal(settings_set(&w->c, SETTING_POLLING_TIME, "00:01:00"), ERR_OK);
	assert_int_equal(w->heard, SETTING_POLLING_TIME);
	assert_int_equal(units_commit(&w->s, &w->fault), ERR_OK);
	assert_int_equal(unit_begin(&w->s, &w->fault), ERR_OK);
	assert_int_equal(settings_set(&w->c, SETTING_POLLING_TIME, "00:02:00"), ERR_OK);
	assert_string_equal(settings_text(w->s.settings, SETTING_POLLING_TIME), "00:02:00");
	assert_int_equal(unit_end(&w->s, ERR_INVALID, &w->fault), ERR_INVALID);
	assert_string_equal(settings_text(w->s.settings, SETTING_POLLING_TIME), "00:01:00");
	assert_int_equal(w->heard, SETTINGS);
	assert_int_equal(w->times, 3);
	assert_int_equal(settings_set(&w->c, SETTING_POLLING_TIME, NULL), ERR_OK);
	assert_string_equal(settings_text(w->s.settings, SETTING_POLLING_TIME), "00:05:00");
}

static void a_secret_is_not_in_the_books(void **state)
{
	struct world *w = *state;
	struct audit_row *rows;
	struct audit_filter filter = {.resource = "settings/authentication.gatewaytoken.key", .from = 0, .to = INT64_MAX};
	size_t count;
	assert_int_equal(settings_set(&w->c, SETTING_GATEWAY_KEY, "hidden"), ERR_OK);
	assert_int_equal(audit_list(&w->c, &filter, 0, 10, &rows, &count), ERR_OK);
	assert_int_equal(count, 1);
	assert_string_equal(rows[0].after, "{\"is_set\":true}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(defaults_are_there_without_rows_and_without_a_room, setup, teardown),
		cmocka_unit_test_setup_teardown(the_program_may_have_other_defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(values_are_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_undone_is_undone_in_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(a_secret_is_not_in_the_books, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
