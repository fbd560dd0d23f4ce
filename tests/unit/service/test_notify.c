/* Notices become deliveries: grouped, in order, of what somebody may hear; a storm of a large fleet; failures and a day of them. */
#include "telemetry_world.h"

#include <math.h>

#include "service/notify.h"

static int setup(void **state)
{
	int rc = fleet_setup(state);
	struct fleet *t = *state;
	arena_free(t->w.c.arena);
	t->w.c.arena = arena_new(512u << 20);
	t->w.s.notify = notify_open(&t->w.s, &t->w.fault);
	assert_non_null(t->w.s.notify);
	return rc;
}

static int teardown(void **state)
{
	struct fleet *t = *state;
	notify_close(t->w.s.notify);
	t->w.s.notify = NULL;
	return fleet_teardown(state);
}

static int64_t add(struct fleet *t, const char *name, const char *severity)
{
	struct silence_matcher *m = arena_array(t->w.c.arena, 1, sizeof *m);
	struct receiver r = {.name = name, .type = "webhook", .is_enabled = true, .url = "https://example.com/", .secret = "", .ca_file = "", .user = "",
		.sender = "", .title = "", .text = "", .body = "", .timeout_ms = 1000, .timing = {NOTIFY_WAIT_MS, NOTIFY_INTERVAL_MS, NOTIFY_REPEAT_MS}};
	int64_t id = 0;
	if (severity != NULL) {
		*m = (struct silence_matcher){"severity", severity, false};
		r.matchers = m;
		r.matcher_count = 1;
	}
	DO(&t->w, receiver_create(&t->w.c, &r, &id));
	assert_int_equal(units_commit(&t->w.s, &t->w.fault), ERR_OK);
	return id;
}

static void pass(struct fleet *t, int64_t ms)
{
	bool more = true;
	t->w.c.now_ms += ms;
	while (more) {
		if (notify_tick(&t->w.c, &more) != ERR_OK)
			fail_msg("%s", t->w.fault.detail);
	}
	assert_int_equal(units_commit(&t->w.s, &t->w.fault), ERR_OK);
}

static size_t written(struct fleet *t, int64_t receiver, const char *status)
{
	struct delivery *items;
	size_t count;
	assert_int_equal(deliveries_list(&t->w.c, receiver, status, 0, 1000, &items, &count), ERR_OK);
	return count;
}

static size_t take(struct fleet *t, struct delivery **items)
{
	struct receiver *receivers;
	size_t count;
	assert_int_equal(deliveries_take(&t->w.c, 100, items, &receivers, &count), ERR_OK);
	for (size_t i = 0; i < count; i++)
		assert_int_equal((*items)[i].receiver, receivers[i].id);
	return count;
}

static void end(struct fleet *t, int64_t id, enum notify_outcome outcome, int64_t retry_after_ms)
{
	struct delivery_outcome o = {.outcome = outcome, .reply = 1, .error = outcome == NOTIFY_DELIVERED ? NULL : "why", .retry_after_ms = retry_after_ms};
	assert_int_equal(delivery_ended(&t->w.c, id, &o), ERR_OK);
	assert_int_equal(units_commit(&t->w.s, &t->w.fault), ERR_OK);
}

static const char *body_of(struct fleet *t, int64_t id)
{
	struct delivery d;
	assert_int_equal(delivery_show(&t->w.c, id, &d), ERR_OK);
	return d.body;
}

static void a_group_is_told_once_and_its_end_after_it(void **state)
{
	struct fleet *t = *state;
	struct delivery *items;
	int64_t all = add(t, "all", NULL), critical = add(t, "critical", "critical");
	DO(&t->w, alert_raise(&t->w.c, "gate.verdict", "rollouts/7", ALERT_WARNING, "a \"bad\" one", NULL));
	DO(&t->w, alert_raise(&t->w.c, "gate.verdict", "rollouts/8", ALERT_CRITICAL, "worse", NULL));
	pass(t, 29000);
	assert_int_equal(written(t, 0, NULL), 0);
	pass(t, 31000);
	assert_int_equal(written(t, all, NULL), 2);
	assert_int_equal(written(t, critical, NULL), 1);
	assert_int_equal(take(t, &items), 3);
	assert_non_null(strstr(body_of(t, items[0].id), "a \\\"bad\\\" one"));
	for (int i = 0; i < 3; i++)
		end(t, items[i].id, NOTIFY_DELIVERED, 0);
	DO(&t->w, alert_resolve(&t->w.c, "gate.verdict", "rollouts/8"));
	pass(t, 31000);
	assert_int_equal(written(t, critical, NULL), 1); /* it rests */
	pass(t, NOTIFY_INTERVAL_MS);
	assert_int_equal(take(t, &items), 2);
	assert_non_null(strstr(body_of(t, items[0].id), "\"status\":\"resolved\""));
	assert_int_equal(items[0].seq, 2);
	end(t, items[0].id, NOTIFY_DELIVERED, 0);
	end(t, items[1].id, NOTIFY_DELIVERED, 0);
	pass(t, NOTIFY_REPEAT_MS); /* the other one fires still */
	assert_int_equal(written(t, all, NULL), 4);
	assert_int_equal(written(t, critical, NULL), 2);
}

static void one_of_a_key_at_a_time_and_in_order(void **state)
{
	struct fleet *t = *state;
	struct delivery *items;
	int64_t first;
	add(t, "all", NULL);
	DO(&t->w, alert_raise(&t->w.c, "k", "rollouts/7", ALERT_WARNING, "x", NULL));
	pass(t, 0);
	pass(t, NOTIFY_WAIT_MS);
	DO(&t->w, alert_resolve(&t->w.c, "k", "rollouts/7"));
	pass(t, 0);
	pass(t, NOTIFY_INTERVAL_MS);
	assert_int_equal(written(t, 0, "pending"), 2);
	assert_int_equal(take(t, &items), 1);
	first = items[0].id;
	assert_int_equal(items[0].seq, 1);
	assert_int_equal(take(t, &items), 0);
	end(t, first, NOTIFY_RETRY, 5000);
	t->w.c.now_ms += 4999;
	assert_int_equal(take(t, &items), 0); /* the second waits behind the first */
	t->w.c.now_ms += 1;
	assert_int_equal(take(t, &items), 1);
	assert_int_equal(items[0].id, first);
	end(t, first, NOTIFY_DELIVERED, 0);
	assert_int_equal(take(t, &items), 1);
	assert_int_equal(items[0].seq, 2);
	assert_string_equal(items[0].status, "pending");
	end(t, items[0].id, NOTIFY_REFUSED, 0);
	assert_int_equal(written(t, 0, "dead"), 1);
	assert_int_equal(delivery_resend(&t->w.c, first), ERR_CONFLICT);
	DO(&t->w, delivery_resend(&t->w.c, items[0].id));
	assert_int_equal(take(t, &items), 1);
}

/* A receiver that fails for a day: tried seldom, nothing given up before, all of it after; another one hears everything at once. */
static void a_day_of_failures_ends_in_dead_letters(void **state)
{
	struct fleet *t = *state;
	struct delivery *items;
	int64_t bad = add(t, "bad", NULL), good = add(t, "good", NULL);
	for (int i = 0; i < 20; i++)
		DO(&t->w, alert_raise(&t->w.c, arena_printf(t->w.c.arena, "k%d", i), arena_printf(t->w.c.arena, "rollouts/%d", i), ALERT_WARNING, "x", NULL));
	pass(t, 0);
	pass(t, NOTIFY_WAIT_MS);
	assert_int_equal(written(t, bad, "pending"), 20);
	size_t tries = 0;
	int64_t begun = t->w.c.now_ms;
	while (written(t, bad, "pending") > 0 && t->w.c.now_ms < begun + 2 * NOTIFY_GIVE_UP_MS) {
		arena_reset(t->w.c.arena);
		for (size_t n = take(t, &items), i = 0; i < n; i++) {
			tries += items[i].receiver == bad;
			end(t, items[i].id, items[i].receiver == bad ? NOTIFY_RETRY : NOTIFY_DELIVERED, 0);
		}
		if (t->w.c.now_ms == begun + 20000)
			assert_int_equal(written(t, good, "sent"), 20);
		if (t->w.c.now_ms < begun + NOTIFY_GIVE_UP_MS)
			assert_int_equal(written(t, bad, "dead"), 0);
		t->w.c.now_ms += 1000;
	}
	assert_int_equal(written(t, bad, "dead"), 20);
	assert_in_range(t->w.c.now_ms - begun, NOTIFY_GIVE_UP_MS, NOTIFY_GIVE_UP_MS + NOTIFY_RETRY_CAP_MS + 2000);
	assert_in_range(tries, 288, 700);
}

static void what_is_lost_with_a_commit_is_done_again(void **state)
{
	struct fleet *t = *state;
	struct delivery *items;
	bool more;
	add(t, "all", NULL);
	DO(&t->w, alert_raise(&t->w.c, "k", "rollouts/7", ALERT_WARNING, "x", NULL));
	pass(t, 0);
	t->w.c.now_ms += NOTIFY_WAIT_MS;
	assert_int_equal(notify_tick(&t->w.c, &more), ERR_OK);
	db_rollback(t->w.s.db);
	assert_int_equal(written(t, 0, NULL), 0);
	pass(t, 0);
	assert_int_equal(written(t, 0, NULL), 1);
	assert_int_equal(take(t, &items), 1);
	notify_close(t->w.s.notify); /* killed with one under way: the same again */
	t->w.s.notify = notify_open(&t->w.s, &t->w.fault);
	int64_t id = items[0].id;
	assert_int_equal(take(t, &items), 1);
	assert_int_equal(items[0].id, id);
}

#define STORM 100000
static void a_storm_of_100000_devices_is_at_most_three_notifications(void **state)
{
	struct fleet *t = *state;
	add(t, "all", NULL);
	bool more;
	char resource[32];
	for (int i = 0; i < STORM; i++) {
		if (i % 1000 == 0) {
			arena_reset(t->w.c.arena);
			assert_int_equal(unit_begin(&t->w.s, &t->w.fault), ERR_OK);
		}
		snprintf(resource, sizeof resource, "devices/d%d", i);
		struct alert_signal s = {.kind = "model_corrupt", .resource = resource, .cohort = "pi/kws-1", .severity = ALERT_CRITICAL, .level = ALERT_LEVEL_OVER,
			.value = NAN, .expected = NAN, .score = NAN, .cohort_devices = STORM};
		assert_int_equal(alert_signal(&t->w.c, &s), ERR_OK);
		if (i % 1000 != 999)
			continue;
		assert_int_equal(unit_end(&t->w.s, ERR_OK, &t->w.fault), ERR_OK);
		pass(t, 600);
		assert_int_equal(alerts_tick(&t->w.c, &more), ERR_OK);
	}
	pass(t, 0);
	size_t in_a_minute = written(t, 0, NULL);
	assert_in_range(in_a_minute, 1, 3);
	pass(t, NOTIFY_WAIT_MS);
	pass(t, NOTIFY_INTERVAL_MS);
	assert_in_range(written(t, 0, NULL), in_a_minute, 3);
	assert_int_equal(alerts_firing(t->w.s.alerts), STORM + 1); /* all of them are known, and the cohort's */
	struct delivery *items;
	assert_int_equal(take(t, &items), 1);
	assert_true(strlen(items[0].body) < 200000);
}

/* 30 groups at once and ten a minute: the others wait, in turns; what changes meanwhile is told with it; nothing is lost. */
static void no_more_than_so_many_a_minute_over_all_groups(void **state)
{
	struct fleet *t = *state;
	struct receiver r, *list;
	size_t count;
	int64_t id = add(t, "all", NULL), other = add(t, "unlimited", NULL), begun = t->w.c.now_ms;
	assert_int_equal(receiver_show(&t->w.c, id, &r), ERR_OK);
	r.per_minute = 10;
	DO(&t->w, receiver_change(&t->w.c, &r));
	for (int i = 0; i < 30; i++)
		DO(&t->w, alert_raise(&t->w.c, "k", arena_printf(t->w.c.arena, "rollouts/%d", i), ALERT_WARNING, arena_printf(t->w.c.arena, "number %d.", i), NULL));
	pass(t, 0);
	pass(t, NOTIFY_WAIT_MS);
	assert_int_equal(written(t, id, NULL), 10);
	assert_int_equal(written(t, other, NULL), 30);
	DO(&t->w, alert_resolve(&t->w.c, "k", "rollouts/29"));
	size_t before = 10;
	for (int seconds = 1; seconds <= 240; seconds++) {
		pass(t, 1000);
		size_t now = written(t, id, NULL);
		assert_in_range(now - before, 0, seconds < 60 ? 0 : 2);
		before = now;
	}
	assert_int_equal(written(t, id, NULL), 30); /* not one more: the end of the last was told with its beginning */
	assert_in_range(t->w.c.now_ms - begun, 0, NOTIFY_INTERVAL_MS);
	struct delivery *items, d;
	bool told[30] = {false};
	assert_int_equal(deliveries_list(&t->w.c, id, NULL, 0, 1000, &items, &count), ERR_OK);
	for (size_t k = 0; k < count; k++) {
		assert_int_equal(delivery_show(&t->w.c, items[k].id, &d), ERR_OK);
		for (int i = 0; i < 30; i++)
			told[i] = told[i] || strstr(d.body, arena_printf(t->w.c.arena, "number %d.", i)) != NULL;
	}
	for (int i = 0; i < 30; i++)
		assert_true(told[i]);
	assert_int_equal(receivers_list(&t->w.c, 0, 10, &list, &count), ERR_OK);
	assert_in_range(list[0].delayed, 20, 25);
	assert_int_equal(list[1].delayed, 0);
}

/* What a rule has to say reaches everybody in his own form. */
static void descriptions_reach_receivers_of_all_kinds(void **state)
{
	struct fleet *t = *state;
	int64_t rule, id;
	static const char *const mails[] = {"a@example.com"};
	struct alert_rule r = {.name = "gates", .kind = "gate", .subject = "*", .op = "gt", .filter = "", .severity = "critical", .clear = NAN,
		.summary = "{{kind}} of {{resource}}", .description = "Was: {{summary}}. \"Look\" at {{name}}, {{severity}}."};
	struct receiver manager = {.name = "manager", .type = "alertmanager", .is_enabled = true, .url = "https://example.com/", .secret = "", .ca_file = "",
		.user = "", .sender = "", .title = "", .text = "", .body = "", .timeout_ms = 1000, .timing = {NOTIFY_WAIT_MS, NOTIFY_INTERVAL_MS, NOTIFY_REPEAT_MS}};
	struct receiver mail = manager, body = manager;
	mail.name = "mail", mail.type = "email", mail.url = "smtps://example.com", mail.sender = "b@example.com", mail.recipients = mails, mail.recipient_count = 1;
	body.name = "body", body.type = "webhook", body.body = "{\"said\":\"{{description}}\"}";
	DO(&t->w, alert_rule_create(&t->w.c, &r, &rule));
	add(t, "hook", NULL);
	DO(&t->w, receiver_create(&t->w.c, &manager, &id));
	DO(&t->w, receiver_create(&t->w.c, &mail, &id));
	DO(&t->w, receiver_create(&t->w.c, &body, &id));
	DO(&t->w, alert_raise(&t->w.c, "gate.verdict", "rollouts/7", ALERT_WARNING, "own words", NULL));
	pass(t, 0);
	pass(t, NOTIFY_WAIT_MS);
	static const char *const wanted[] = {
		"\"summary\":\"gate.verdict of rollouts/7\",\"description\":\"Was: own words. \\\"Look\\\" at gates, critical.\"",
		"\"annotations\":{\"summary\":\"gate.verdict of rollouts/7\",\"description\":\"Was: own words. \\\"Look\\\" at gates, critical.\"",
		"gate.verdict of rollouts/7\nWas: own words. \"Look\" at gates, critical.\n",
		"{\"said\":\"Was: own words. \\\"Look\\\" at gates, critical.\"}",
	};
	struct delivery *items;
	assert_int_equal(take(t, &items), 4);
	for (int i = 0; i < 4; i++)
		assert_non_null(strstr(items[i].body, wanted[i]));
}

static void check_plan(void *ctx, const struct statement *statement, const char *line)
{
	if (!statement->scans && strncmp(line, "SCAN ", 5) == 0 && strstr(line, "USING") == NULL && strncmp(line, "SCAN CONSTANT", 13) != 0 &&
	    strstr(line, "SCAN (") == NULL && strstr(line, "SUBQUERY") == NULL) {
		print_message("%s\n%s\n", statement->sql, line);
		*(int *)ctx += 1;
	}
}

static void restart(struct fleet *t)
{
	notify_close(t->w.s.notify);
	t->w.s.notify = notify_open(&t->w.s, &t->w.fault);
	assert_non_null(t->w.s.notify);
}

static void nothing_waits_for_a_clock_that_was_set_back(void **state)
{
	const int64_t day = 86400000;
	struct fleet *t = *state;
	struct delivery *items;
	add(t, "all", NULL);
	for (int restarts = 0; restarts < 2; restarts++) {
		char resource[32];
		/* a group that gathers */
		snprintf(resource, sizeof resource, "rollouts/%d", 7 + restarts);
		DO(&t->w, alert_raise(&t->w.c, "gate.verdict", resource, ALERT_WARNING, "bad", NULL));
		pass(t, 1000);
		t->w.c.now_ms -= day;
		if (restarts > 0)
			restart(t);
		pass(t, 0);
		assert_int_equal(take(t, &items), 0);
		pass(t, NOTIFY_WAIT_MS);
		assert_int_equal(take(t, &items), 1);
		/* a delivery that waits for its next try, behind a receiver that failed thrice */
		for (int i = 0; i < 3; i++) {
			end(t, items[0].id, NOTIFY_RETRY, 0);
			pass(t, NOTIFY_RETRY_CAP_MS);
			assert_int_equal(take(t, &items), 1);
		}
		end(t, items[0].id, NOTIFY_RETRY, 0);
		assert_int_equal(take(t, &items), 0);
		t->w.c.now_ms -= day;
		if (restarts > 0)
			restart(t);
		pass(t, NOTIFY_RETRY_CAP_MS);
		assert_int_equal(take(t, &items), 1);
		assert_true(items[0].expires_at <= t->w.c.now_ms + day);
		end(t, items[0].id, NOTIFY_DELIVERED, 0);
	}
	/* what the receiver asked for stays, over a restart too */
	DO(&t->w, alert_raise(&t->w.c, "gate.verdict", "rollouts/9", ALERT_WARNING, "bad", NULL));
	pass(t, 1000);
	pass(t, NOTIFY_WAIT_MS);
	assert_int_equal(take(t, &items), 1);
	struct delivery_outcome later = {.outcome = NOTIFY_RETRY, .reply = 503, .error = "later", .retry_after_ms = 7200000};
	assert_int_equal(delivery_ended(&t->w.c, items[0].id, &later), ERR_OK);
	restart(t);
	pass(t, 3600000);
	assert_int_equal(take(t, &items), 0);
	pass(t, 3600000);
	assert_int_equal(take(t, &items), 1);
}

static void no_statement_reads_a_whole_table(void **state)
{
	struct fleet *t = *state;
	int scans = 0;
	db_each_plan(t->w.s.db, check_plan, &scans);
	assert_int_equal(scans, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_group_is_told_once_and_its_end_after_it, setup, teardown),
		cmocka_unit_test_setup_teardown(one_of_a_key_at_a_time_and_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(a_day_of_failures_ends_in_dead_letters, setup, teardown),
		cmocka_unit_test_setup_teardown(no_more_than_so_many_a_minute_over_all_groups, setup, teardown),
		cmocka_unit_test_setup_teardown(descriptions_reach_receivers_of_all_kinds, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_lost_with_a_commit_is_done_again, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_waits_for_a_clock_that_was_set_back, setup, teardown),
		cmocka_unit_test_setup_teardown(no_statement_reads_a_whole_table, setup, teardown),
		cmocka_unit_test_setup_teardown(a_storm_of_100000_devices_is_at_most_three_notifications, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
